//! The packages that a kernel is from, as dpkg has them on record when they are installed: kept beside the unpacked kernel, and put into the
//! guest with a module as they have it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{apt_index, cpio::Archive, kernels::Kernel};
use crate::process;

/// dpkg's folder, below the root of a system or of an unpacked kernel.
const DATABASE: &str = "var/lib/dpkg";
const STATUS: &str = "status";
const INFO: &str = "info";
/// Most scenarios are about a machine without packages. The others put the records where dpkg has them.
const IN_GUEST: &str = "/fixtures/dpkg";
/// No other scenario loads it. modprobe does not know it.
const MODULE: &str = "kernel/fs/nls/nls_cp866.ko";

/// The records of an unpacked kernel's packages.
pub(super) fn records(root: &Path) -> PathBuf {
    root.join(DATABASE)
}

/// Whether there are any. Kernels that were unpacked before somebody needed them have none.
pub(super) fn has_records(root: &Path) -> bool {
    records(root).join(STATUS).exists()
}

/// Records the package files in one folder below another, as if they were installed there.
pub(super) fn record(packages: &Path, root: &Path) -> Result<()> {
    let records = records(root);
    let info = records.join(INFO);
    fs::create_dir_all(&info)?;
    let entries: Vec<_> = fs::read_dir(packages)?.collect::<Result<_, _>>()?;
    let files: BTreeSet<_> = entries.iter().map(fs::DirEntry::path).filter(|path| is_package(path)).collect();
    let (mut status, mut modules) = (String::new(), 0);
    for file in &files {
        let control = part(file, "control")?;
        let stem = stem(&control).with_context(|| file.display().to_string())?;
        let (list, md5sums) = (list(file)?, part(file, "md5sums")?);
        modules += recorded_modules(&list, &md5sums).with_context(|| file.display().to_string())?;
        fs::write(info.join(format!("{stem}.list")), list)?;
        fs::write(info.join(format!("{stem}.md5sums")), md5sums)?;
        status.push_str(&installed(&control)?);
    }
    ensure!(modules > 0, "no package in {} has modules", packages.display());
    // What is there last tells that everything is.
    Ok(fs::write(records.join(STATUS), status)?)
}

/// The records, and a module with the bytes and at the place that they tell.
pub(super) fn put(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    for folder in [IN_GUEST.to_owned(), format!("{IN_GUEST}/{INFO}")] {
        archive.directory(&folder, 0o755);
    }
    let entries: Vec<_> = fs::read_dir(kernel.records.join(INFO))
        .with_context(|| format!("kernel {} has no records of its packages", kernel.line))?
        .collect::<Result<_, _>>()?;
    let names: BTreeSet<_> = entries.iter().map(|entry| Path::new(INFO).join(entry.file_name())).collect();
    for name in names.iter().map(PathBuf::as_path).chain([Path::new(STATUS)]) {
        archive.file(&Path::new(IN_GUEST).join(name).to_string_lossy(), 0o644, &fs::read(kernel.records.join(name))?);
    }
    let packed = format!("{MODULE}.xz");
    let Some(module) = [MODULE, &packed].into_iter().find(|path| kernel.modules.join(path).exists()) else {
        bail!("kernel {} has no {MODULE}", kernel.line);
    };
    // Its folder is there: others of it are fixtures.
    let path = Path::new("/usr/lib/modules").join(&kernel.release).join(module);
    archive.file(&path.to_string_lossy(), 0o644, &fs::read(kernel.modules.join(module))?);
    Ok(())
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "deb")
}

/// A file from among those that tell dpkg of the package.
fn part(package: &Path, name: &str) -> Result<String> {
    process::capture_text(Command::new("dpkg-deb").arg("--info").arg(package).arg(name))
}

/// How the names of the package's records begin.
fn stem(control: &str) -> Result<String> {
    let stanzas = apt_index::stanzas(control);
    let field = |name| stanzas.first().and_then(|stanza| stanza.field(name));
    let package = field("Package").context("it does not tell its name")?;
    match (field("Multi-Arch"), field("Architecture")) {
        (Some("same"), Some(architecture)) => Ok(format!("{package}:{architecture}")),
        _ => Ok(package.to_owned()),
    }
}

/// The package's paragraph among those that are installed.
fn installed(control: &str) -> Result<String> {
    let (package, rest) = control.split_once('\n').context("it tells nothing of itself")?;
    ensure!(package.starts_with("Package: "), "it begins with {package:?}, and not with its name");
    Ok(format!("{package}\nStatus: install ok installed\n{}\n\n", rest.trim_end()))
}

/// What the package brings, as dpkg lists it.
fn list(package: &Path) -> Result<String> {
    let mut unpacked = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let content = unpacked.stdout.take().context("dpkg-deb has no output")?;
    let listed = Command::new("tar")
        .args(["--list", "--quoting-style=literal"])
        .stdin(content)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start tar")?;
    ensure!(unpacked.wait()?.success() && listed.status.success(), "cannot list what is in {}", package.display());
    let names = String::from_utf8(listed.stdout).context("a name is not UTF-8")?;
    names.lines().map(listed_path).collect()
}

/// `./usr/lib/` of an archive is `/usr/lib` in a list, and the root is `/.`.
fn listed_path(name: &str) -> Result<String> {
    let below = name.strip_prefix("./").with_context(|| format!("{name:?} is not below the root"))?;
    let path = if below.is_empty() { "." } else { below.trim_end_matches('/') };
    Ok(format!("/{path}\n"))
}

/// How many modules a package has. The digests have to be its own: those that were made here would say nothing.
fn recorded_modules(list: &str, md5sums: &str) -> Result<usize> {
    let recorded: BTreeSet<&str> =
        md5sums.lines().filter_map(|line| line.split_once("  ").map(|(_, path)| path)).collect();
    let is_module = |path: &&str| path.contains("/lib/modules/") && (path.ends_with(".ko") || path.contains(".ko."));
    let modules = list.lines().filter(is_module);
    if let Some(path) = modules.clone().find(|path| !recorded.contains(path.trim_start_matches('/'))) {
        bail!("the package records no digest of {path}");
    }
    Ok(modules.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "\
Package: linux-modules-7.3
Architecture: amd64
Version: 7.3.4-1
Description: Linux
 with modules
";

    #[test]
    fn names_of_an_archive_become_those_of_a_list() {
        let list: Result<String> =
            ["./", "./usr/", "./usr/lib/a b", "./boot/vmlinuz"].map(listed_path).into_iter().collect();
        assert_eq!(list.unwrap(), "/.\n/usr\n/usr/lib/a b\n/boot/vmlinuz\n");
        assert!(listed_path("usr/").is_err());
    }

    #[test]
    fn an_installed_package_has_its_status_behind_its_name() {
        assert_eq!(
            installed(CONTROL).unwrap(),
            "Package: linux-modules-7.3\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.3.4-1\n\
             Description: Linux\n with modules\n\n"
        );
        assert!(installed("Architecture: amd64\nPackage: a\n").is_err());
    }

    #[test]
    fn records_have_the_name_of_the_package() {
        assert_eq!(stem(CONTROL).unwrap(), "linux-modules-7.3");
        assert_eq!(stem(&CONTROL.replace("Version", "Multi-Arch: same\nVersion")).unwrap(), "linux-modules-7.3:amd64");
        assert!(stem("Version: 1\n").is_err());
    }

    #[test]
    fn a_module_without_a_digest_is_an_error() {
        let list =
            "/.\n/lib/modules/6/a.ko\n/usr/lib/modules/6/b.ko.xz\n/usr/lib/modules/6/modules.order\n/usr/share/c.ko\n";
        let md5sums = "0123  lib/modules/6/a.ko\n4567  usr/lib/modules/6/b.ko.xz\n";
        assert_eq!(recorded_modules(list, md5sums).unwrap(), 2);
        let error = recorded_modules(list, "0123  lib/modules/6/a.ko\n").unwrap_err();
        assert_eq!(error.to_string(), "the package records no digest of /usr/lib/modules/6/b.ko.xz");
        assert_eq!(recorded_modules("/.\n/boot\n", "").unwrap(), 0);
    }
}
