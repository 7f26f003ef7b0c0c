//! What counting costs: this host's disk, and the server of a fleet.

use anyhow::Result;

use crate::{packages, process, setup};

/// Fails where the store costs more than it may.
pub(crate) fn store() -> Result<()> {
    setup::setup(&[])?;
    process::run(&mut process::cargo(["bench", "--package", "lkm-monitor", "--bench", "prevalence"]))
}

/// Fails where the server needs more memory than it may, or others than the first three hosts alert.
pub(crate) fn fleet() -> Result<()> {
    setup::setup(&[])?;
    packages::ensure(&[packages::TESTS])?;
    let test = "prevalence::fleet::tests::kernel_package::a_whole_package_on_ten_thousand_hosts";
    let build = ["test", "--release", "--package", "lkm-monitor", "--lib"];
    process::run(process::cargo(build).args(["--", "--ignored", "--nocapture", "--exact", test]))
}
