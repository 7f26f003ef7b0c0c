//! States for tests.

use super::{record::Record, seen::Seen};
use crate::model::{
    Drift, Drifted, FileSeen, HostState, KernelSettings, ModuleSeen, Moment, PlaceSeen, PlaceSight, Unseen, Window,
};

/// So many seconds after the boot.
pub(super) fn at(boot_s: u64) -> Moment {
    Moment { boot_ns: boot_s * 1_000_000_000, unix_ms: 1_700_000_000_000 + boot_s as i64 * 1000 }
}

pub(super) fn file(content: &str) -> FileSeen {
    FileSeen {
        subject: "modprobe".to_owned(),
        sha256: Some(content.to_owned()),
        size: content.len() as u64,
        mode: 0o100_644,
        inode: 7,
        modified_ns: Some(1),
        changed_ns: Some(1),
        ..FileSeen::default()
    }
}

pub(super) fn module(size: u64) -> ModuleSeen {
    ModuleSeen { size, taints: String::new(), ..ModuleSeen::default() }
}

pub(super) fn place(sight: PlaceSight) -> PlaceSeen {
    PlaceSeen { sight, mount_point: Some("/".to_owned()), ..PlaceSeen::default() }
}

/// A host with two modules, and a file in one of its two places.
pub(super) fn state(boot_s: u64) -> HostState {
    HostState {
        begun: at(boot_s),
        ended: at(boot_s + 1),
        boot_id: "b".to_owned(),
        agent_id: "agent".to_owned(),
        kernel_release: "6.1.0".to_owned(),
        policy: KernelSettings {
            command_line: Some(vec!["module.sig_enforce=1".to_owned()]),
            lockdown: Some("integrity".to_owned()),
            sig_enforce: Some(true),
            modules_disabled: Some(true),
            modprobe: Some("/sbin/modprobe".to_owned()),
        },
        taints: Some(0b11),
        modules: Some([("a".to_owned(), module(10)), ("b".to_owned(), module(20))].into()),
        modules_of_boot: ["a".to_owned(), "b".to_owned()].into(),
        files: [("/etc/modprobe.d/a.conf".to_owned(), file("aa"))].into(),
        places: [
            ("/etc/modprobe.d".to_owned(), place(PlaceSight::Whole)),
            ("/run/modprobe.d".to_owned(), place(PlaceSight::Whole)),
            ("/etc/modules".to_owned(), place(PlaceSight::Gone)),
        ]
        .into(),
        ..HostState::default()
    }
}

pub(super) fn record() -> Record {
    Record { state: state(100), watched_until: at(160), seen: Seen::default(), later: Vec::new() }
}

pub(super) fn drift(what: Drifted) -> Drift {
    let window = Window { not_before: Some(at(100)), not_after: at(200) };
    Drift { what, window, unseen: Unseen::NotRunning, perhaps_seen: false, provenance: None }
}
