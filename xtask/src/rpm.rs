//! rpm, which makes databases to read in tests: it is unpacked below `target/tools/rpm`.

use anyhow::Result;

use crate::{unpacked, workspace};

/// Where rpm is installed already, its libraries are, and its macros are fetched all the same.
const PACKAGES: [&str; 2] = ["rpm", "rpm-common"];

pub(crate) fn fetch() -> Result<()> {
    let packages = || unpacked::to_be_installed(&PACKAGES);
    unpacked::fetch("rpm, unpacked", &workspace::tools().join("rpm"), packages)
}
