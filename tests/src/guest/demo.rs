//! A short attack, told step by step, with the alerts as they appear.

use std::{
    fs::{self, File},
    io::Write as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::{
    document::Document,
    module_file::{Image, fixture},
    process::{Ended, forked, program},
    sensor::{self, Sensor},
    suite::Tally,
};

const BUSYBOX: &str = "/usr/bin/busybox";
/// For the person who reads along.
const READING_PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn run() -> Tally {
    println!("# lkm-monitor run --stdout | lkm-monitor show");
    let mut show = Command::new(sensor::PROGRAM)
        .args(["show", "--color", "always"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start the display");
    let mut sensor = Sensor::start_for_show(show.stdin.take().expect("piped"));

    step("modprobe dummy      (an ordinary load, but the first one here: it is rare)");
    let modprobe = program("/sbin/modprobe", ["dummy"]).succeeded();
    alert(&sensor, &modprobe, Document::is_load);

    step("modprobe -r dummy, modprobe dummy      (known by now: the removal is all there is to report)");
    let _ = program("/sbin/modprobe", ["-r", "dummy"]).succeeded();
    let _ = program("/sbin/modprobe", ["dummy"]).succeeded();
    thread::sleep(READING_PAUSE);

    step("cp ifb.ko /tmp/rootkit.ko");
    let module = fixture("ifb");
    let copy = program(BUSYBOX, ["cp", module.to_str().expect("plain path"), "/tmp/rootkit.ko"]).succeeded();
    alert(&sensor, &copy, |document| document.text("event.action") == "created-kernel-module-file");

    step("insmod /tmp/rootkit.ko");
    let insmod = program("/sbin/insmod", ["/tmp/rootkit.ko"]).succeeded();
    alert(&sensor, &insmod, Document::is_load);

    step("a program loads a module from its own memory");
    let image = Image::of("nls_ascii").0;
    let loader = forked(|| rustix::system::init_module(&image, c"")).succeeded();
    alert(&sensor, &loader, Document::is_load);

    step("a program loads a module from a file that exists in memory only");
    let mut memfd = File::from(memfd_create("systemd", MemfdFlags::CLOEXEC).expect("make a memfd"));
    memfd.write_all(&Image::of("nls_utf8").0).expect("fill the memfd");
    let loader = forked(|| rustix::system::finit_module(&memfd, c"", 0)).succeeded();
    alert(&sensor, &loader, Document::is_load);

    step("a line that runs a program whenever somebody wants the module usb-storage");
    let line = "echo 'install usb-storage /tmp/.x' > /etc/modprobe.d/usb.conf";
    let shell = program(BUSYBOX, ["sh", "-c", line]).succeeded();
    alert(&sensor, &shell, |document| document.text("event.action").ends_with("-module-configuration"));

    fs::copy("/usr/bin/kmod", "/tmp/sshd").expect("copy the tool");
    step("a copy of kmod by the name of sshd, that removes a module");
    let removal = program(BUSYBOX, ["sh", "-c", "exec -a rmmod /tmp/sshd ifb"]).succeeded();
    alert(&sensor, &removal, Document::is_unload);
    alert(&sensor, &removal, |document| document.text("event.action") == "ran-module-tool");

    sensor.stop();
    // The display's input ends with the daemon's output, whose reader holds the other end.
    drop(sensor);
    let status = show.wait().expect("wait for the display");
    assert!(status.success(), "the display ended with {status}");
    Tally { passed: 1, failed: 0 }
}

fn step(what: &str) {
    println!("\n# {what}");
}

/// Waits for the alert on what this process did, and for the reader.
fn alert(sensor: &Sensor, process: &Ended, kind: fn(&Document) -> bool) {
    sensor.expect("the alert", |document| document.is_alert() && kind(document) && document.is_by(process.pid));
    thread::sleep(READING_PAUSE);
}
