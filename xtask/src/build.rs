//! The daemon, and the two programs that the test machines run.

use anyhow::Result;

use crate::{process, workspace};

pub(crate) fn daemon() -> Result<()> {
    static_binary(workspace::STATIC, &["--package", "lkm-monitor"])
}

pub(crate) fn guest() -> Result<()> {
    static_binary(workspace::STATIC, &["--package", "lkm-monitor-tests", "--bin", "guest"])?;
    static_binary(workspace::STATIC_32_BIT, &["--package", "lkm-monitor-tests", "--bin", "loader32"])
}

pub(crate) fn service_test() -> Result<()> {
    static_binary(workspace::STATIC, &["--package", "lkm-monitor-tests", "--bin", "service"])
}

fn static_binary(triple: &str, what: &[&str]) -> Result<()> {
    println!("build {} for {triple}", what.join(" "));
    process::run(process::cargo(["build", "--release", "--target", triple]).args(what))
}
