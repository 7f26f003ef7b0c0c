//! What the machine's kernel unpacks first: drivers of the disk, and what the test puts on it at each boot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    vm::{cpio::Archive, fixtures, kernels::Kernel},
    workspace,
};

const BUSYBOX: &str = "/bin/busybox";
/// Of these, a kernel has some built in.
const DRIVERS: [&str; 4] = ["virtio_pci", "crc32c_generic", "ext4", "virtio_blk"];

/// The disk is there as soon as its driver is.
const INIT: &str = "\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for driver in /drivers/*; do /bin/busybox insmod $driver; done
/bin/busybox mount -t ext4 /dev/vda /disk
/bin/busybox cp -a /for-disk/. /disk/
exec /bin/busybox switch_root /disk /sbin/init
";

/// The test, which goes on after a reboot of its own.
const UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
ExecStart=/usr/local/bin/service-test
StandardOutput=file:/dev/console
StandardError=inherit
[Install]
WantedBy=multi-user.target
";

/// Writes the archive and returns its path.
pub(super) fn write(kernel: &Kernel, package: &Path, folder: &Path) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for folder in ["/bin", "/dev", "/disk", "/drivers", "/for-disk"] {
        archive.directory(folder, 0o755);
    }
    archive.file("/init", 0o755, INIT.as_bytes());
    archive.file(BUSYBOX, 0o755, &read(Path::new(BUSYBOX))?);
    for (number, driver) in fixtures::in_load_order(kernel, &DRIVERS)?.iter().enumerate() {
        archive.file(&format!("/drivers/{number:02}-{}.ko", driver.name), 0o644, &driver.image);
    }
    let test = workspace::release_binary(workspace::STATIC, "service");
    for (path, mode, content) in [
        ("/root/lkm-monitor.deb", 0o644, read(package)?),
        ("/usr/local/bin/service-test", 0o755, read(&test)?),
        ("/etc/systemd/system/service-test.service", 0o644, UNIT.into()),
    ] {
        for folder in Path::new(path).ancestors().skip(1).collect::<Vec<_>>().iter().rev().skip(1) {
            archive.directory(&format!("/for-disk{}", folder.display()), 0o755);
        }
        archive.file(&format!("/for-disk{path}"), mode, &content);
    }
    let wants = "/for-disk/etc/systemd/system/multi-user.target.wants";
    archive.directory(wants, 0o755);
    archive.symlink(&format!("{wants}/service-test.service"), "../service-test.service");
    let path = folder.join("initramfs.cpio");
    fs::write(&path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
