//! Packages that rpmbuild builds, in a database that rpm writes. `LKM_MONITOR_RPM` is the folder below which rpm is: `/`, or where
//! its package was unpacked.

use std::{env, fs, path::PathBuf, process::Command};

use super::*;

const VARIABLE: &str = "LKM_MONITOR_RPM";
const MODULES: &str = "/lib/modules/6.1.0/extra";

struct Rpm {
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl Rpm {
    /// `None`, said aloud, where there is none.
    #[allow(clippy::print_stderr)]
    fn find() -> Option<Self> {
        let Some(programs) = env::var_os(VARIABLE).map(PathBuf::from) else {
            eprintln!("SKIPPED: {VARIABLE} is not set, so nothing is tested with a real rpm");
            return None;
        };
        Some(Self { programs, folder: tempfile::tempdir().unwrap() })
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let folder = |name: &str| self.folder.path().join(name).display().to_string();
        let (top, database) = (folder("build"), folder("root/var/lib/rpm"));
        let output = Command::new(self.programs.join("usr/bin").join(program))
            .env("LD_LIBRARY_PATH", self.programs.join("usr/lib/x86_64-linux-gnu"))
            .env("RPM_CONFIGDIR", self.programs.join("usr/lib/rpm"))
            .env("HOME", self.folder.path())
            .args(["--define", &format!("_topdir {top}"), "--define", &format!("_dbpath {database}")])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Builds a package with a module and a ghost, and writes it into the database without installing its files.
    fn install(&self, name: &str, algorithm: u32, database: &str) {
        let spec = format!(
            "Name: {name}\nVersion: 1.2\nRelease: 3\nEpoch: 4\nSummary: Test\nLicense: none\n%description\nTest\n\
             %install\nmkdir -p %{{buildroot}}{MODULES}\nprintf content > %{{buildroot}}{MODULES}/{name}.ko\n\
             touch %{{buildroot}}{MODULES}/{name}-ghost.ko\n\
             %files\n{MODULES}/{name}.ko\n%ghost {MODULES}/{name}-ghost.ko\n"
        );
        let path = self.folder.path().join(format!("{name}.spec"));
        fs::write(&path, spec).unwrap();
        let digest = format!("_binary_filedigest_algorithm {algorithm}");
        self.run("rpmbuild", &["-bb", "--quiet", "--target", "x86_64", "--define", &digest, path.to_str().unwrap()]);
        let package = self.folder.path().join(format!("build/RPMS/x86_64/{name}-1.2-3.x86_64.rpm"));
        self.rpm(
            &["--install", "--justdb", "--nodeps", "--noscripts", "--force-debian", package.to_str().unwrap()],
            database,
        );
    }

    fn rpm(&self, arguments: &[&str], database: &str) {
        self.run("rpm", &[&["--define", &format!("_db_backend {database}")], arguments].concat());
    }
}

#[test]
fn what_rpm_wrote_is_read() {
    let Some(rpm) = Rpm::find() else { return };
    for (name, algorithm) in [("md5", 1), ("sha256", 8), ("sha512", 10)] {
        rpm.install(name, algorithm, "sqlite");
    }
    assert!(rpm.root().join("var/lib/rpm/rpmdb.sqlite").exists());
    let mut packages = Packages::new(&rpm.root());
    for name in ["md5", "sha256", "sha512"] {
        let path = format!("{MODULES}/{name}.ko");
        let expected = Provenance {
            manager: Manager::Rpm,
            package: Some(name.into()),
            version: Some(b"4:1.2-3".to_vec()),
            architecture: Some(b"x86_64".to_vec()),
            digest: DigestCheck::Matches,
            problems: Vec::new(),
        };
        assert_eq!(packages.owner(path.as_bytes(), b"content"), expected);
        assert_eq!(ask(&mut packages, &path, "changed"), (Manager::Rpm, name.to_owned(), DigestCheck::Differs));
        let ghost = format!("{MODULES}/{name}-ghost.ko");
        assert_eq!(ask(&mut packages, &ghost, ""), (Manager::Rpm, name.to_owned(), DigestCheck::NotRecorded));
    }
    assert_eq!(ask(&mut packages, "/lib/modules/6.1.0/md5.ko", ""), nobody(Manager::None));
    rpm.rpm(&["--erase", "--justdb", "--nodeps", "--noscripts", "md5"], "sqlite");
    assert_eq!(ask(&mut packages, &format!("{MODULES}/md5.ko"), ""), nobody(Manager::None));
    assert_eq!(ask(&mut packages, &format!("{MODULES}/sha256.ko"), "").0, Manager::Rpm);
}
