//! Packages of the daemon: a tar archive, a .deb and an .rpm of one and the same tree, their checksums, and what is in the binary.
//!
//! The same commit gives the same bytes: all times are those of the commit, and the packers are told so by `SOURCE_DATE_EPOCH`.

mod deb;
mod rpm;
mod sbom;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{build, packages, process, setup, workspace};

const NAME: &str = "lkm-monitor";

/// What the packers pack.
struct Release {
    version: String,
    /// Seconds since 1970 of the commit.
    commit_s: String,
    /// Files as they lie on a host.
    tree: PathBuf,
}

impl Release {
    /// A packer that takes the time of the commit for its own.
    fn packer(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SOURCE_DATE_EPOCH", &self.commit_s).env("LC_ALL", "C");
        command
    }
}

/// Makes everything in `target/dist`.
pub(crate) fn dist() -> Result<()> {
    setup::setup(&[])?;
    packages::ensure(&[packages::DIST])?;
    build::daemon()?;
    let folder = empty_folder()?;
    let release = release()?;
    let mut made = [
        process::step("tar archive", || archive(&release))?,
        process::step("Debian package", || deb::pack(&release))?,
        process::step("RPM package", || rpm::pack(&release))?,
        process::step("list of components", || sbom::write_components(&release))?,
    ];
    made.sort();
    let names = made.iter().filter_map(|path| path.file_name());
    let sums = process::capture(Command::new("sha256sum").args(names).current_dir(&folder))?;
    fs::write(folder.join("SHA256SUMS"), sums)?;
    made.iter().for_each(|path| println!("  {}", workspace::display(path)));
    Ok(())
}

/// The Debian package alone, for machines that install it.
pub(crate) fn debian_package() -> Result<PathBuf> {
    empty_folder()?;
    deb::pack(&release()?)
}

fn empty_folder() -> Result<PathBuf> {
    let folder = workspace::dist();
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn release() -> Result<Release> {
    let commit = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(workspace::root()).output();
    let commit = commit.context("cannot start git")?.stdout;
    let commit_s = String::from_utf8_lossy(&commit).trim().to_owned();
    anyhow::ensure!(!commit_s.is_empty(), "this is no work tree of git: there is no commit to date the packages by");
    let tree = workspace::dist().join("tree");
    tree::write_all(&tree)?;
    Ok(Release { version: env!("CARGO_PKG_VERSION").to_owned(), commit_s, tree })
}

fn archive(release: &Release) -> Result<PathBuf> {
    let folder = format!("{NAME}-{}", release.version);
    let path = workspace::dist().join(format!("{folder}-x86_64.tar.gz"));
    let tar = release
        .packer("tar")
        .arg("--create")
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--use-compress-program=gzip -n"])
        .arg(format!("--mtime=@{}", release.commit_s))
        .arg(format!("--transform=s,^\\.,{folder},"))
        .arg("--file")
        .arg(&path)
        .arg("--directory")
        .arg(&release.tree)
        .arg(".")
        .output();
    anyhow::ensure!(tar.context("cannot start tar")?.status.success(), "tar failed");
    Ok(path)
}

/// What a maintainer's script is called in `dist/package`.
fn script(name: &str) -> PathBuf {
    workspace::root().join("dist/package").join(name)
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
