//! Ordinary modules, which all views show, and what everybody can see of one that hides.

use std::{fs, path::Path};

use super::{by_hand, is_finding, wait_for_looks};
use crate::{
    hiding::{Hiding, NAME},
    machine,
    process::program,
    stage::{LOOKING_SOCKET, Stage},
};

/// Of a module that is not the kernel's and that nobody signed: `TAINT_OOT_MODULE`, `TAINT_UNSIGNED_MODULE` of include/linux/panic.h.
pub(super) const TAINTS: u64 = 1 << 12 | 1 << 13;

pub(in super::super) fn agree(stage: &mut Stage) {
    let sensor = stage.looking();
    program("/sbin/modprobe", ["l2tp_core"]).succeeded();
    program("/sbin/modprobe", ["loop"]).succeeded();
    by_hand().found_nothing().saw(machine::loaded_modules().len());
    wait_for_looks(LOOKING_SOCKET, 2);
    sensor.expect_none("an alert", is_finding);
}

/// What the other scenarios rest on: the module hides from what it says, from nothing else, and comes back.
pub(in super::super) fn of_a_module_that_hides(_: &mut Stage) {
    let is_seen = || {
        let listed = machine::loaded_modules().iter().any(|name| name == NAME);
        let text = fs::read_to_string("/proc/sys/kernel/tainted").expect("read the kernel's taints");
        let taints: u64 = text.trim_end().parse().expect("a number");
        (listed, Path::new("/sys/module").join(NAME).exists(), taints & TAINTS == TAINTS)
    };
    let hiding = Hiding::load();
    for (deed, seen) in [
        ("list", (false, true, true)),
        ("sysfs", (true, false, true)),
        ("proc", (false, true, true)),
        ("tree", (true, true, true)),
        ("taint", (true, true, false)),
        ("syscall", (true, true, true)),
        ("ftrace", (true, true, true)),
        ("kprobe", (true, true, true)),
    ] {
        hiding.does(&[deed]);
        assert_eq!(is_seen(), seen, "(listed, in sysfs, tainted) behind {deed}");
        hiding.undoes_everything();
        assert_eq!(is_seen(), (true, true, true), "(listed, in sysfs, tainted) when {deed} is undone");
    }
}
