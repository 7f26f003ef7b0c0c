//! syslog-ng, to send to in tests. Debian does not install it beside rsyslog: it is unpacked below `target/tools/syslog-ng`.

use anyhow::Result;

use crate::{unpacked, workspace};

pub(crate) fn fetch() -> Result<()> {
    let packages = || unpacked::to_be_installed(&["syslog-ng-core"]);
    unpacked::fetch("syslog-ng, unpacked beside rsyslog", &workspace::tools().join("syslog-ng"), packages)
}
