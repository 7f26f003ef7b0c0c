//! An apt world of its own for each kernel line: the machine's package lists and status stay untouched.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{apt_index, kernels::KernelLine, mirrors::Mirrors};
use crate::{process, unpacked};

/// One suite, with what belongs to it, and nothing installed.
pub(super) struct Apt {
    folder: PathBuf,
    configuration: PathBuf,
}

impl Apt {
    /// Fetches the lists of the line's suite into a folder.
    pub(super) fn of(line: &KernelLine, folder: PathBuf) -> Result<Self> {
        let configuration = write_configuration(line, &folder)?;
        let apt = Self { folder, configuration };
        process::capture(apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// What is known of a package, all its versions.
    pub(super) fn show(&self, package: &str) -> Result<String> {
        process::capture_text(self.command("apt-cache").arg("show").arg(package))
    }

    /// What would be installed on a machine that has nothing, as `name=version`.
    pub(super) fn with_what_they_need(&self, packages: &[&str]) -> Result<Vec<String>> {
        unpacked::would_be_installed(&mut self.command("apt-get"), packages)
    }

    /// Fetches packages, by name or as `name=version`, and unpacks them below `root`. The package files stay in the returned folder.
    pub(super) fn unpack(&self, packages: &[String], root: &Path) -> Result<&Path> {
        process::capture(self.command("apt-get").arg("download").args(packages).current_dir(&self.folder))?;
        unpacked::unpack(&self.folder, root)?;
        Ok(&self.folder)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.configuration);
        command
    }
}

/// The only version in what is shown of `name=version`.
pub(super) fn only<'a>(shown: &'a str, specification: &str) -> Result<apt_index::Stanza<'a>> {
    let Some(stanza) = apt_index::stanzas(shown).into_iter().next() else {
        bail!("no {specification} in the package index")
    };
    Ok(stanza)
}

/// Package indexes only.
fn write_configuration(line: &KernelLine, apt: &Path) -> Result<PathBuf> {
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder)).with_context(|| format!("cannot make {}", apt.display()))?;
    }
    let mirrors = Mirrors::of_this_machine()?;
    let options = format!("[arch=amd64 target=Packages signed-by={}]", mirrors.keyring.display());
    let mut sources = format!("deb {options} {} {} main\n", mirrors.main, line.suite);
    if line.debian() != line.suite {
        // What is in backports needs packages of the release.
        writeln!(sources, "deb {options} {} {} main", mirrors.main, line.debian())?;
    }
    if let (Some(mirror), Some(suite)) = (&mirrors.security, line.security_suite) {
        writeln!(sources, "deb {options} {mirror} {suite} main")?;
    }
    fs::write(apt.join("sources.list"), sources)?;

    let folder = apt.display();
    let configuration = format!(
        r##"Dir::State::lists "{folder}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
// A suite past its end of life keeps its last, expired release file.
Acquire::Check-Valid-Until "false";
// Hooks of the machine are meant for its own lists.
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"##
    );
    let path = apt.join("apt.conf");
    fs::write(&path, configuration)?;
    Ok(path)
}
