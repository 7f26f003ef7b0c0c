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
    let build = ["test", "--release", "--package", "lkm-monitor", "--lib"];
    let test = "prevalence::fleet::tests::kernel_package::a_whole_package";
    process::run(
        process::cargo(build).args(["--", "--nocapture", "--exact", test]).env("LKM_MONITOR_FLEET_HOSTS", "10000"),
    )
}
