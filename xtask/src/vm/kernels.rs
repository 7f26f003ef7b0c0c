//! Debian's kernels for the test machines: resolved, fetched and unpacked below `target/kernels`, never installed.
//!
//! A line that was fetched once, with the records of its packages, is never looked up again: delete its folder to get a newer kernel.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    apt::{self, Apt},
    apt_index, package,
};
use crate::{process, workspace};

/// One of the kernel lines that the daemon is tested on.
#[derive(Debug)]
pub(crate) struct KernelLine {
    pub(crate) name: &'static str,
    version_prefix: &'static str,
    pub(super) suite: &'static str,
    /// Backports have no suite of their own for security updates.
    pub(super) security_suite: Option<&'static str>,
}

impl KernelLine {
    /// The Debian release that it belongs to.
    pub(crate) fn debian(&self) -> &'static str {
        self.suite.trim_end_matches("-backports")
    }
}

/// From the oldest kernel that the daemon supports to the newest that Debian stable offers.
pub(crate) static LINES: [KernelLine; 4] = [
    KernelLine { name: "5.10", version_prefix: "5.10.", suite: "bullseye", security_suite: Some("bullseye-security") },
    KernelLine { name: "6.1", version_prefix: "6.1.", suite: "bookworm", security_suite: Some("bookworm-security") },
    KernelLine { name: "6.12", version_prefix: "6.12.", suite: "trixie", security_suite: Some("trixie-security") },
    KernelLine { name: "7.x", version_prefix: "7.", suite: "trixie-backports", security_suite: None },
];

/// The line of Debian stable. What any kernel can show is shown with it.
pub(crate) const STABLE: &str = "6.12";

/// The machines are cloud guests; this flavour has every driver they need and a small image.
const PACKAGE: &str = "linux-image-cloud-amd64";
const FLAVOUR_PREFIX: &str = "linux-image-";
/// Names the unpacked release. It is written last, and the folder is moved into place afterwards.
const STAMP: &str = "release";

/// An unpacked kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) line: &'static str,
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// Holds `kernel/` and the `modules.*` lists.
    pub(crate) modules: PathBuf,
    /// What dpkg would have on record of the packages that it is from.
    pub(crate) records: PathBuf,
}

impl Kernel {
    /// The file that says how it was built.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        let config = self.image.with_file_name(format!("config-{}", self.release));
        config.exists().then_some(config)
    }

    /// Whether it is that of Debian stable.
    pub(crate) fn is_stables(&self) -> bool {
        self.line == STABLE
    }
}

/// For the command line.
pub(crate) fn parse_line(name: &str) -> Result<&'static KernelLine> {
    let known = || LINES.iter().map(|line| line.name).collect::<Vec<_>>().join(", ");
    LINES.iter().find(|line| line.name == name).ok_or_else(|| anyhow!("no such kernel line; there are {}", known()))
}

/// Unpacks the line's newest kernel unless that was done before.
pub(crate) fn fetch(line: &'static KernelLine) -> Result<Kernel> {
    let folder = workspace::kernels().join(line.name);
    if !folder.join(STAMP).exists() || !package::has_records(&folder) {
        process::step(&format!("kernel {}", line.name), || download(line, &folder))?;
    }
    unpacked(line)
}

pub(crate) fn unpacked(line: &'static KernelLine) -> Result<Kernel> {
    let folder = workspace::kernels().join(line.name);
    let stamp = folder.join(STAMP);
    let release = fs::read_to_string(&stamp).with_context(|| format!("kernel {} is not unpacked", line.name))?;
    let release = release.trim_end().to_owned();
    let modules = first_existing([
        folder.join("usr/lib/modules").join(&release),
        folder.join("lib/modules").join(&release), // packages from before the /usr merge
    ])?;
    let image = first_existing([folder.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")])?;
    Ok(Kernel { line: line.name, release, image, modules, records: package::records(&folder) })
}

fn first_existing(candidates: [PathBuf; 2]) -> Result<PathBuf> {
    let names = format!("neither {} nor {} exists", candidates[0].display(), candidates[1].display());
    candidates.into_iter().find(|path| path.exists()).ok_or_else(|| anyhow!(names))
}

fn download(line: &KernelLine, folder: &Path) -> Result<()> {
    let partial = folder.with_extension("partial");
    remove_folder(&partial)?;
    let root = partial.join("root");
    fs::create_dir_all(&root)?;

    let apt = Apt::of(line, partial.join("apt"))?;
    let (release, packages) = resolve(line, &apt)?;
    package::record(apt.unpack(&packages, &root)?, &root)?;
    fs::write(root.join(STAMP), format!("{release}\n"))?;
    put_in_place(&root, folder, &partial)
}

/// Moves a finished folder to its place and removes what was left of making it. An earlier one stays until this one is there.
pub(super) fn put_in_place(root: &Path, folder: &Path, partial: &Path) -> Result<()> {
    let earlier = partial.join("earlier");
    if folder.exists() {
        fs::rename(folder, &earlier)?;
    }
    fs::rename(root, folder)?;
    remove_folder(partial)
}

pub(super) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The release and the `name=version` packages that hold its image and modules. From 7.x on these are two packages
/// behind the `linux-image` one, before that it is the `linux-image` package itself.
fn resolve(line: &KernelLine, apt: &Apt) -> Result<(String, Vec<String>)> {
    let text = apt.show(PACKAGE)?;
    let stanzas = apt_index::stanzas(&text);
    let newest = apt_index::newest(&stanzas, line.version_prefix)
        .with_context(|| format!("{} has no {PACKAGE} {}*", line.suite, line.version_prefix))?;
    let pinned = newest.exact_dependencies();
    let image = pinned
        .iter()
        .find(|package| package.name.starts_with(FLAVOUR_PREFIX))
        .with_context(|| format!("{PACKAGE} {} names no kernel image", newest.version()))?;
    let release = image.name.trim_start_matches(FLAVOUR_PREFIX);

    let image_specification = format!("{}={}", image.name, image.version);
    let text = apt.show(&image_specification)?;
    let parts: Vec<String> = apt::only(&text, &image_specification)?
        .exact_dependencies()
        .iter()
        .filter(|part| ["linux-binary-", "linux-modules-"].iter().any(|kind| part.name == format!("{kind}{release}")))
        .map(|part| format!("{}={}", part.name, part.version))
        .collect();
    let packages = if parts.is_empty() { vec![image_specification] } else { parts };
    Ok((release.to_owned(), packages))
}
