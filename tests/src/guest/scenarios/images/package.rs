//! A small database of dpkg in the guest, which has none.

use std::{fs, path::Path};

use md5::{Digest as _, Md5};

const DATABASE: &str = "/var/lib/dpkg";
pub(super) const NAME: &str = "linux-image-test";
pub(super) const VERSION: &str = "6.6.6-1";

/// A package with one file, as long as this lives.
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
        let digest: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        // As dpkg does: the list is exchanged last.
        for (kind, text) in [
            ("md5sums", format!("{digest}  {}\n", &listed[1..])),
            ("list", format!("/.\n/lib\n/lib/modules\n{listed}\n")),
        ] {
            let file = format!("{DATABASE}/info/{NAME}.{kind}");
            fs::write(format!("{file}.new"), text).expect("write what the package has");
            fs::rename(format!("{file}.new"), file).expect("put it in its place");
        }
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(DATABASE);
    }
}
