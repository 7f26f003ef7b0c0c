//! What a host with several databases answers, and what it answers after they changed.

mod real_rpm;

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use proptest::prelude::*;

use super::{
    rpm::fixture::{File, create, insert, package},
    *,
};

/// MD5 and SHA-256 of `content`.
const MD5: &str = "9a0364b9e99bb480dd25e1f0284c8555";
const SHA256: &str = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";

struct Host(tempfile::TempDir);

impl Host {
    /// With /lib merged into /usr.
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(host.path("usr/lib")).unwrap();
        symlink("usr/lib", host.path("lib")).unwrap();
        host
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn write(&self, below: &str, content: &str) {
        fs::create_dir_all(self.path(below).parent().unwrap()).unwrap();
        fs::write(self.path(below), content).unwrap();
    }

    fn dpkg(&self, package: &str, module: &str) {
        self.write(&format!("var/lib/dpkg/info/{package}.list"), &format!("/.\n{module}\n"));
        self.write(&format!("var/lib/dpkg/info/{package}.md5sums"), &format!("{MD5}  {}\n", &module[1..]));
        self.write("var/lib/dpkg/status", &format!("Package: {package}\nArchitecture: amd64\nVersion: 1\n"));
    }

    fn rpm(&self, name: &str, folder: &str, module: &str) {
        let database = self.path("var/lib/rpm/rpmdb.sqlite");
        let connection =
            if database.exists() { rusqlite::Connection::open(database).unwrap() } else { create(&database) };
        let header = package(name, &[File { folder, name: module, digest: SHA256 }]).build();
        insert(&connection, &header, &[module.as_bytes()]);
    }

    fn packages(&self) -> Packages {
        Packages::new(self.0.path())
    }
}

/// Who, which package, and whether it is what it should be.
fn told(provenance: &Provenance) -> (Manager, String, DigestCheck) {
    let package = provenance.package.clone().unwrap_or_default();
    (provenance.manager, String::from_utf8(package).unwrap(), provenance.digest)
}

fn ask(packages: &mut Packages, path: &str, content: &str) -> (Manager, String, DigestCheck) {
    told(&packages.owner(path.as_bytes(), content.as_bytes()))
}

fn nobody(manager: Manager) -> (Manager, String, DigestCheck) {
    (manager, String::new(), DigestCheck::NotRecorded)
}

#[test]
fn a_file_has_either_name_where_usr_is_merged() {
    for listed in ["/lib/modules/6.1/", "/usr/lib/modules/6.1/"] {
        let host = Host::new();
        host.dpkg("linux-image", &format!("{listed}a.ko"));
        host.rpm("kernel-core", listed, "b.ko");
        let mut packages = host.packages();
        for asked in ["/lib/modules/6.1/", "/usr/lib/modules/6.1/"] {
            let mut ask = |name: &str, content| ask(&mut packages, &format!("{asked}{name}"), content);
            let (dpkg, rpm) = ((Manager::Dpkg, "linux-image".to_owned()), (Manager::Rpm, "kernel-core".to_owned()));
            assert_eq!(ask("a.ko", "content"), (dpkg.0, dpkg.1.clone(), DigestCheck::Matches));
            assert_eq!(ask("a.ko", "changed"), (dpkg.0, dpkg.1, DigestCheck::Differs));
            assert_eq!(ask("b.ko", "content"), (rpm.0, rpm.1.clone(), DigestCheck::Matches));
            assert_eq!(ask("b.ko", "changed"), (rpm.0, rpm.1, DigestCheck::Differs));
            assert_eq!(ask("c.ko", "content"), nobody(Manager::None));
        }
    }
}

#[test]
fn folders_that_are_not_merged_hold_other_files() {
    let host = Host(tempfile::tempdir().unwrap());
    host.dpkg("linux-image", "/lib/modules/6.1/a.ko");
    let mut packages = host.packages();
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/a.ko", "").0, Manager::Dpkg);
    assert_eq!(ask(&mut packages, "/usr/lib/modules/6.1/a.ko", ""), nobody(Manager::None));
}

#[test]
fn all_facts_of_a_package_are_told() {
    let host = Host::new();
    host.dpkg("linux-image", "/lib/modules/6.1/a.ko");
    host.rpm("kernel-core", "/lib/modules/6.1/", "b.ko");
    let mut packages = host.packages();
    let of = |manager, package: &str, version: &str, architecture: &str| Provenance {
        manager,
        package: Some(package.into()),
        version: Some(version.into()),
        architecture: Some(architecture.into()),
        digest: DigestCheck::Matches,
        problems: Vec::new(),
    };
    let dpkg = packages.owner(b"/lib/modules/6.1/a.ko", b"content");
    assert_eq!(dpkg, of(Manager::Dpkg, "linux-image", "1", "amd64"));
    let rpm = packages.owner(b"/lib/modules/6.1/b.ko", b"content");
    assert_eq!(rpm, of(Manager::Rpm, "kernel-core", "1.2-3", "x86_64"));
}

#[test]
fn nobody_owns_a_file_only_if_everything_was_read() {
    let host = Host::new();
    let path = "/lib/modules/6.1/a.ko";
    let none = host.packages().owner(path.as_bytes(), b"");
    assert_eq!(none.manager, Manager::Unknown);
    assert_eq!(none.problems[0].reason, "neither dpkg nor rpm has a database here");
    assert_eq!(none.problems[0].path, Path::new("/"));

    host.dpkg("other", "/lib/modules/6.1/b.ko");
    assert_eq!(ask(&mut host.packages(), path, ""), nobody(Manager::None));

    host.write("var/lib/rpm/Packages", "");
    let unknown = host.packages().owner(path.as_bytes(), b"");
    assert_eq!(told(&unknown), nobody(Manager::Unknown));
    assert_eq!(unknown.problems[0].path, Path::new("/var/lib/rpm/Packages"), "as the host names it");
    let known = host.packages().owner(b"/lib/modules/6.1/b.ko", b"");
    assert_eq!((known.manager, known.problems), (Manager::Dpkg, Vec::new()), "the other database does not matter");
}

#[test]
fn what_is_built_is_told_only_of_what_no_package_owns() {
    let host = Host::new();
    host.dpkg("linux-image", "/lib/modules/6.1/a.ko");
    for name in ["a.ko", "b.ko"] {
        host.write(&format!("var/lib/dkms/zfs/2.1/6.1/x86_64/module/{name}"), "content");
    }
    for name in ["c.mod", "Module.symvers"] {
        host.write(&format!("home/me/driver/{name}"), "");
    }
    let mut packages = host.packages();
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/a.ko", "").0, Manager::Dpkg);
    let built = packages.owner(b"/usr/lib/modules/6.1/updates/dkms/b.ko", b"content");
    assert_eq!(told(&built), (Manager::Dkms, "zfs".to_owned(), DigestCheck::Matches));
    assert_eq!((built.version, built.architecture), (Some(b"2.1".to_vec()), Some(b"x86_64".to_vec())));
    let tree = (Manager::KernelBuild, "/home/me/driver".to_owned(), DigestCheck::NotRecorded);
    assert_eq!(ask(&mut packages, "/home/me/driver/c.ko", ""), tree);
}

#[test]
fn a_change_of_a_database_changes_the_answer() {
    let host = Host::new();
    host.dpkg("first", "/lib/modules/6.1/a.ko");
    host.rpm("kernel", "/lib/modules/6.1/", "b.ko");
    let mut packages = host.packages();
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/c.ko", ""), nobody(Manager::None));
    host.dpkg("second", "/lib/modules/6.1/c.ko");
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/c.ko", "").1, "second");
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/d.ko", ""), nobody(Manager::None));
    host.rpm("third", "/lib/modules/6.1/", "d.ko");
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/d.ko", "").1, "third");
    fs::remove_file(host.path("var/lib/dpkg/info/second.list")).unwrap();
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/c.ko", ""), nobody(Manager::None));
}

#[test]
fn an_answer_is_kept_while_nothing_changes() {
    let host = Host::new();
    host.dpkg("linux-image", "/lib/modules/6.1/a.ko");
    let mut packages = host.packages();
    ask(&mut packages, "/lib/modules/6.1/a.ko", "");
    // As if all had happened some time ago.
    packages.read.as_mut().unwrap().settle();
    // In place, which no package manager does, and so unseen.
    host.write("var/lib/dpkg/info/linux-image.list", "");
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/a.ko", "").0, Manager::Dpkg);
}

#[test]
fn the_first_question_finds_the_databases_read() {
    let host = Host::new();
    host.dpkg("linux-image", "/lib/modules/6.1/a.ko");
    let mut packages = host.packages();
    packages.read();
    // As if all had happened some time ago; then a change in place, and so unseen.
    packages.read.as_mut().unwrap().settle();
    host.write("var/lib/dpkg/info/linux-image.list", "");
    assert_eq!(ask(&mut packages, "/lib/modules/6.1/a.ko", "").0, Manager::Dpkg);
}

#[test]
fn what_is_no_path_of_a_file_is_not_looked_for() {
    let host = Host::new();
    host.dpkg("linux-image", "/lib/modules/6.1/a.ko");
    for path in ["", "/", "a.ko", "/lib/../a.ko", "/lib//a.ko", "/lib/./a.ko", "/lib/a.ko/", "/lib/a\0.ko"] {
        let answer = host.packages().owner(path.as_bytes(), b"");
        assert_eq!(told(&answer), nobody(Manager::Unknown), "{path:?}");
        assert_eq!(answer.problems[0].reason, "not the absolute path of a file");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_path_is_a_panic(path: Vec<u8>, content: Vec<u8>, below: Vec<u8>) {
        let host = Host::new();
        host.dpkg("linux-image", "/lib/modules/6.1/a.ko");
        host.rpm("kernel", "/lib/modules/6.1/", "b.ko");
        let mut packages = host.packages();
        packages.owner(&path, &content);
        packages.owner(&[b"/usr/lib/modules/".as_slice(), &below].concat(), &content);
    }
}
