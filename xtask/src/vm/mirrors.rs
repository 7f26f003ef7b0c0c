//! The Debian mirrors that the machine's own apt sources name: other suites are fetched from the same place.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{packages, process};

/// Both names of the file are in use: trixie renamed it.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

#[derive(Debug)]
pub(crate) struct Mirrors {
    pub(crate) main: String,
    /// A machine may do without; then the kernels of the point releases have to do.
    pub(crate) security: Option<String>,
    pub(crate) keyring: PathBuf,
}

impl Mirrors {
    pub(crate) fn of_this_machine() -> Result<Self> {
        let mut targets = index_targets()?;
        if find(&targets, "Debian").is_none() {
            // The labels are known only after an update, which a fresh container image has not seen.
            packages::update_lists()?;
            targets = index_targets()?;
        }
        let main = find(&targets, "Debian").context("this machine's apt sources name no Debian mirror")?;
        let security = find(&targets, "Debian-Security").map(String::from);
        let keyring =
            KEYRINGS.iter().map(Path::new).find(|path| path.exists()).context("debian-archive-keyring is missing")?;
        Ok(Self { main: main.to_owned(), security, keyring: keyring.to_owned() })
    }
}

fn index_targets() -> Result<String> {
    let format = ["--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"];
    process::capture_text(Command::new("apt-get").arg("indextargets").args(format))
}

fn find<'a>(targets: &'a str, label: &str) -> Option<&'a str> {
    targets
        .lines()
        .filter_map(|line| line.split_once('|'))
        .find(|(found, _)| *found == label)
        .map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_told_apart_by_label() {
        let targets = "Node Source|https://node.test/\nDebian|http://mirror.test/debian/\nDebian-Security|http://mirror.test/security/\n";
        assert_eq!(find(targets, "Debian"), Some("http://mirror.test/debian/"));
        assert_eq!(find(targets, "Debian-Security"), Some("http://mirror.test/security/"));
        assert_eq!(find("|http://mirror.test/debian/\n", "Debian"), None);
    }
}
