//! Databases of dpkg in the guest, which otherwise has none: that of the kernel's own packages, and one that is invented.

use std::{
    fs,
    path::{Path, PathBuf},
};

use md5::{Digest as _, Md5};
use serde_json::{Value, json};

use crate::machine;

const DATABASE: &str = "/var/lib/dpkg";
/// What is in Debian's packages of this kernel for dpkg.
const RECORDS: &str = "/fixtures/dpkg";
pub(super) const NAME: &str = "linux-image-test";
const VERSION: &str = "6.6.6-1";

/// Debian's own records, as long as this lives.
pub(super) struct Records(());

/// What they say of a file.
pub(super) struct Owner {
    pub(super) package: String,
    pub(super) md5: String,
    version: String,
    architecture: String,
}

impl Records {
    pub(super) fn put() -> Self {
        fs::rename(RECORDS, DATABASE).expect("put the records where dpkg has them");
        Self(())
    }

    /// Who brought a file of the system.
    pub(super) fn owner(&self, path: &Path) -> Owner {
        let path = path.to_str().expect("plain path");
        // Debian's packages of before the /usr merge list modules below /lib.
        let spellings = [path, path.strip_prefix("/usr").expect("a file of the system")];
        let info = fs::read_dir(format!("{DATABASE}/info")).expect("list the records");
        let mut lists = info.map(|entry| entry.expect("list the records").path()).filter(|path| ends_in(path, "list"));
        let found = lists.find_map(|list| {
            let content = fs::read_to_string(&list).expect("read what a package has");
            let listed = content.lines().find(|line| spellings.contains(line))?;
            Some((list, listed.to_owned()))
        });
        let (list, listed) = found.unwrap_or_else(|| panic!("{path} is of no package"));
        let digests = fs::read_to_string(list.with_extension("md5sums")).expect("read the package's digests");
        let digest = digests.lines().find_map(|line| line.strip_suffix(&listed[1..])?.strip_suffix("  "));
        let package = list.file_stem().and_then(|stem| stem.to_str()).expect("the name of a package");
        let status = fs::read_to_string(format!("{DATABASE}/status")).expect("read the status of packages");
        let named = format!("Package: {package}\n");
        let paragraph = status.split("\n\n").find(|paragraph| paragraph.starts_with(&named)).expect("it is installed");
        let field = |name: &str| {
            let value = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_else(|| panic!("{package} has no {name}")).to_owned()
        };
        Owner {
            package: package.to_owned(),
            md5: digest.unwrap_or_else(|| panic!("{package} has no digest of {listed}")).to_owned(),
            version: field("Version"),
            architecture: field("Architecture"),
        }
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        let _ = fs::rename(DATABASE, RECORDS);
    }
}

impl Owner {
    /// What documents say of a file of this package, whose bytes are the package's or others.
    pub(super) fn in_documents(&self, digest_ok: bool) -> Value {
        owned(&self.package, &self.version, &self.architecture, digest_ok)
    }
}

/// A module that lies where this kernel's package brought it, packed if the package has it so.
pub(super) fn module_of_the_package() -> PathBuf {
    let folder = Path::new("/usr/lib/modules").join(machine::kernel_release()).join("kernel/fs/nls");
    let names = ["nls_cp866.ko", "nls_cp866.ko.xz"].map(|name| folder.join(name));
    names.into_iter().find(|path| path.exists()).expect("a module as its package has it")
}

pub(super) fn ends_in(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

pub(super) fn md5(content: &[u8]) -> String {
    Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn owned(package: &str, version: &str, architecture: &str, digest_ok: bool) -> Value {
    json!({ "lkm_monitor": { "package": {
        "manager": "dpkg", "owner": package, "version": version, "architecture": architecture,
        "digest_ok": digest_ok, "problems": null,
    } } })
}

/// An invented package with one file, as long as this lives.
pub(super) struct Package(());

impl Package {
    /// That of a file with this content. Debian's packages of before the /usr merge list modules below /lib.
    pub(super) fn of(path: &Path, content: &[u8]) -> Self {
        let package = Self(());
        fs::create_dir_all(format!("{DATABASE}/info")).expect("make a database");
        let status = format!(
            "Package: {NAME}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {VERSION}\nDescription: a kernel\n"
        );
        fs::write(format!("{DATABASE}/status"), status).expect("write the status of packages");
        package.record(path, content);
        package
    }

    /// From now on the file of this path, and no other, has this content.
    pub(super) fn record(&self, path: &Path, content: &[u8]) {
        let path = path.to_str().expect("plain path");
        let listed = path.strip_prefix("/usr").expect("a file of the system");
        // As dpkg does: the list is exchanged last.
        for (kind, text) in [
            ("md5sums", format!("{}  {}\n", md5(content), &listed[1..])),
            ("list", format!("/.\n/lib\n/lib/modules\n{listed}\n")),
        ] {
            let file = format!("{DATABASE}/info/{NAME}.{kind}");
            fs::write(format!("{file}.new"), text).expect("write what the package has");
            fs::rename(format!("{file}.new"), file).expect("put it in its place");
        }
    }

    /// What documents say of its file.
    pub(super) fn in_documents(&self, digest_ok: bool) -> Value {
        owned(NAME, VERSION, "amd64", digest_ok)
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(DATABASE);
    }
}
