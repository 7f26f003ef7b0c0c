//! Databases in every shape that dpkg, or somebody else, may leave.

use std::{fs, os::unix::ffi::OsStrExt as _};

use super::*;
use crate::model::DigestCheck;

const MODULE: &str = "/lib/modules/6.1/kernel/a.ko";

struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(host.path("info")).unwrap();
        host
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join("var/lib/dpkg").join(name)
    }

    /// A package with files, each of which holds its path.
    fn package(&self, stem: &str, files: &[&str]) {
        let sums = files.iter().map(|file| format!("{}  {}\n", md5(file), &file[1..]));
        fs::write(self.path(format!("info/{stem}.md5sums")), sums.collect::<String>()).unwrap();
        self.list(stem, files);
    }

    fn list(&self, stem: &str, files: &[&str]) {
        let lines: String = ["/."].iter().chain(files).map(|file| format!("{file}\n")).collect();
        fs::write(self.path(format!("info/{stem}.list")), lines).unwrap();
    }

    fn found(&self, path: &str) -> Found {
        let mut dpkg = Dpkg::new(self.0.path());
        dpkg.refresh();
        dpkg.owner(&[path.as_bytes().to_vec()]).unwrap()
    }

    /// The package, if there was no problem.
    fn owner(&self, path: &str) -> Option<Owner> {
        let found = self.found(path);
        assert_eq!(found.problems, Problems::default());
        found.owner
    }

    fn owner_name(&self, path: &str) -> Option<String> {
        self.owner(path).map(|owner| String::from_utf8(owner.package).unwrap())
    }
}

fn md5(content: &str) -> String {
    use ::md5::Digest as _;
    ::md5::Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(owner: &Owner, content: &str) -> Option<DigestCheck> {
    owner.recorded.as_ref().map(|recorded| recorded.check(content.as_bytes()))
}

#[test]
fn a_package_owns_what_it_lists() {
    let host = Host::new();
    host.package("linux-image-6.1", &[MODULE, "/boot/vmlinuz"]);
    let status = "Package: linux-image-6.1\nArchitecture: amd64\nVersion: 6.1.1-1\n";
    fs::write(host.path("status"), status).unwrap();
    for path in [MODULE, "/boot/vmlinuz"] {
        let owner = host.owner(path).unwrap();
        assert_eq!(owner.manager, Manager::Dpkg);
        assert_eq!(owner.package, b"linux-image-6.1");
        assert_eq!(owner.version.as_deref(), Some(&b"6.1.1-1"[..]));
        assert_eq!(owner.architecture.as_deref(), Some(&b"amd64"[..]));
        assert_eq!(check(&owner, path), Some(DigestCheck::Matches));
        assert_eq!(check(&owner, "other"), Some(DigestCheck::Differs));
    }
    for path in ["/lib/modules/6.1/kernel/b.ko", "/lib/modules/6.1/kernel", "/boot", "/boot/vmlinuz2"] {
        assert_eq!(host.owner(path), None, "{path}");
    }
}

#[test]
fn there_need_not_be_a_database() {
    let root = tempfile::tempdir().unwrap();
    let mut dpkg = Dpkg::new(root.path());
    dpkg.refresh();
    assert_eq!(dpkg.owner(&[MODULE.into()]), None);
}

#[test]
fn packages_of_several_architectures_have_it_in_their_names() {
    let host = Host::new();
    host.package("zfs:amd64", &[MODULE]);
    host.package("zfs:i386", &["/lib/modules/6.1/b.ko"]);
    fs::write(host.path("status"), "Package: zfs\nArchitecture: i386\nVersion: 2\n").unwrap();
    let owner = host.owner(MODULE).unwrap();
    assert_eq!((owner.package.as_slice(), owner.version), (&b"zfs"[..], None));
    assert_eq!(owner.architecture.unwrap(), b"amd64", "as the file's name says");
    assert_eq!(host.owner("/lib/modules/6.1/b.ko").unwrap().version.unwrap(), b"2");
}

#[test]
fn a_package_without_digests_records_none() {
    let host = Host::new();
    host.list("old", &[MODULE, "/usr/bin/old"]);
    assert_eq!(host.owner(MODULE).unwrap().recorded, None);
    assert_eq!(host.owner("/usr/bin/old").unwrap().recorded, None);
    fs::write(host.path("info/old.md5sums"), format!("{}  {}\n", "x".repeat(32), &MODULE[1..])).unwrap();
    assert_eq!(host.owner(MODULE).unwrap().recorded, None, "damaged");
}

#[test]
fn names_are_any_bytes() {
    let host = Host::new();
    let odd = ["/lib/modules/6.1/é  b\\.ko", "/lib/modules/6.1/lib/modules/a.ko", "/srv/ä b"];
    host.package("odd", &odd);
    for path in odd {
        assert_eq!(check(&host.owner(path).unwrap(), path), Some(DigestCheck::Matches), "{path}");
    }
    let stem = std::ffi::OsStr::from_bytes(b"bytes\xff.list");
    fs::write(host.path("info").join(stem), b"/lib/modules/\xfe.ko\n").unwrap();
    let mut dpkg = Dpkg::new(host.0.path());
    dpkg.refresh();
    let owner = dpkg.owner(&[b"/lib/modules/\xfe.ko".to_vec()]).unwrap().owner.unwrap();
    assert_eq!(owner.package, b"bytes\xff");
}

#[test]
fn a_diverted_module_is_where_it_went() {
    let host = Host::new();
    let away = "/lib/modules/6.1/kernel/a.ko.distrib";
    let outside = "/srv/a.ko";
    host.package("linux-image", &[MODULE, outside]);
    host.package("better", &[MODULE]);
    fs::write(host.path("diversions"), format!("{MODULE}\n{away}\nbetter\n{outside}\n{outside}.real\n:\n")).unwrap();
    assert_eq!(host.owner_name(MODULE).unwrap(), "better");
    let owner = host.owner(away).unwrap();
    assert_eq!(owner.package, b"linux-image");
    assert_eq!(check(&owner, MODULE), Some(DigestCheck::Matches), "its digest is recorded for where it was");
    assert_eq!(host.owner(outside), None, "put there by the administrator");
    assert_eq!(host.owner_name("/srv/a.ko.real").unwrap(), "linux-image");
}

#[test]
fn what_cannot_be_read_is_told_with_what_it_leaves_unknown() {
    let host = Host::new();
    host.package("linux-image", &[MODULE]);
    host.package("other", &["/lib/modules/6.1/b.ko"]);
    fs::write(host.path("info/long.list"), "").unwrap();
    fs::File::options()
        .write(true)
        .open(host.path("info/long.list"))
        .unwrap()
        .set_len(index::MAX_LIST_BYTES + 1)
        .unwrap();
    let pipe = host.path("info/other.md5sums");
    fs::remove_file(&pipe).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    fs::write(host.path("diversions"), "/a\n").unwrap();
    let told = |path| {
        let found = host.found(path);
        let names = found.problems.iter().map(|problem| problem.path.file_name().unwrap().to_str().unwrap().to_owned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        (found.owner.is_some(), names.join(" "))
    };
    assert_eq!(told(MODULE), (true, "diversions".to_owned()));
    assert_eq!(told("/lib/modules/6.1/b.ko"), (true, "diversions other.md5sums".to_owned()));
    assert_eq!(told("/lib/modules/6.1/c.ko"), (false, "diversions long.list other.md5sums".to_owned()));
}

#[test]
fn only_what_changed_is_read_again() {
    let host = Host::new();
    host.package("kept", &[MODULE]);
    host.package("changed", &["/lib/modules/6.1/b.ko"]);
    host.package("removed", &["/lib/modules/6.1/c.ko"]);
    let mut dpkg = Dpkg::new(host.0.path());
    dpkg.refresh();
    // dpkg writes both or none.
    fs::write(host.path("info/kept.md5sums"), "").unwrap();
    host.package("changed", &["/lib/modules/6.1/new.ko"]);
    fs::remove_file(host.path("info/removed.list")).unwrap();
    dpkg.refresh();
    let kept = dpkg.owner(&[MODULE.into()]).unwrap().owner.unwrap();
    assert_eq!(check(&kept, MODULE), Some(DigestCheck::Matches));
    let owner = |path: &str| dpkg.owner(&[path.into()]).unwrap().owner.map(|owner| owner.package);
    assert_eq!(owner("/lib/modules/6.1/new.ko").unwrap(), b"changed");
    assert_eq!(owner("/lib/modules/6.1/b.ko"), None);
    assert_eq!(owner("/lib/modules/6.1/c.ko"), None);
}

#[test]
fn a_new_version_is_told() {
    let host = Host::new();
    host.package("a", &[MODULE]);
    let mut dpkg = Dpkg::new(host.0.path());
    for version in ["1", "20"] {
        fs::write(host.path("status"), format!("Package: a\nArchitecture: all\nVersion: {version}\n")).unwrap();
        dpkg.refresh();
        let owner = dpkg.owner(&[MODULE.into()]).unwrap().owner.unwrap();
        assert_eq!(owner.version.unwrap(), version.as_bytes());
    }
}

#[test]
fn thousands_of_packages_are_one_index() {
    let host = Host::new();
    for number in 0..3000 {
        let files = (0..20).map(|file| format!("/usr/share/doc/package{number}/{file}")).collect::<Vec<_>>();
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        host.list(&format!("package{number}"), &files);
    }
    host.package("linux-image", &[MODULE]);
    assert_eq!(host.owner_name(MODULE).unwrap(), "linux-image");
    assert_eq!(host.owner_name("/usr/share/doc/package2999/19").unwrap(), "package2999");
    assert_eq!(host.owner_name("/usr/share/doc/package2999/20"), None);
}
