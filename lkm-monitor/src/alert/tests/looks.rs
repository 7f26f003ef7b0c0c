//! What looks at the host found.

use std::collections::BTreeMap;

use serde_json::json;

use super::{CLOCK, SECOND_NS, parse, pretty, renderer};
use crate::{
    assess,
    model::{
        DigestCheck, Drift, Drifted, FileSeen, HostState, KernelSettings, Manager, ModuleSeen, Moment, PlaceSeen,
        PlaceSight, Provenance, RecordLoss, Setting, StateReport, TargetSeen, Unseen, Weight, Window,
    },
};

fn at(seconds: u64) -> Moment {
    let unix_ms = CLOCK.realtime_ns(seconds * SECOND_NS) / 1_000_000;
    Moment { boot_ns: seconds * SECOND_NS, unix_ms: i64::try_from(unix_ms).unwrap() }
}

fn file(sha256: &str) -> FileSeen {
    FileSeen {
        subject: "modprobe".to_owned(),
        sha256: Some(sha256.repeat(32)),
        unread: None,
        size: 7,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        inode: 77,
        modified_ns: Some(1_700_000_000_000_000_000),
        changed_ns: Some(1_700_000_000_000_000_000),
        target: None,
    }
}

/// A link, and a file that was not read: they have what an ordinary file has not.
fn odd_files() -> [FileSeen; 2] {
    let target = TargetSeen { says: "../x".to_owned(), sha256: Some("cd".repeat(32)), unread: Some("gone".to_owned()) };
    [
        FileSeen { target: Some(target), ..file("ab") },
        FileSeen { unread: Some("too-large".to_owned()), sha256: None, ..file("ab") },
    ]
}

pub(super) fn drifts() -> Vec<Drift> {
    let module = |taints: &str| ModuleSeen { size: 16_384, taints: taints.to_owned(), ..ModuleSeen::default() };
    let path = || "/etc/modprobe.d/a.conf".to_owned();
    let place = |leads_to: Option<&str>| PlaceSeen {
        sight: PlaceSight::Whole,
        leads_to: leads_to.map(str::to_owned),
        mount_point: Some("/".to_owned()),
        unread: 0,
        was_known: false,
    };
    let file = |sha256| Box::new(file(sha256));
    let [link, unread] = odd_files().map(Box::new);
    let policy = Drifted::Policy {
        setting: Setting::Lockdown,
        before: "integrity".to_owned(),
        now: "none".to_owned(),
        weight: Weight::Impossible,
    };
    let drifted = [
        Drifted::ModuleLoaded {
            name: "rootkit".to_owned(),
            now: module("OE"),
            before: Some(module("")),
            file: Some("/lib/modules/6.1.0/kernel/rootkit.ko".to_owned()),
        },
        Drifted::ModuleGone { name: "falco".to_owned(), before: module("OE") },
        Drifted::File { path: path(), before: Some(file("ab")), now: Some(file("cd")) },
        Drifted::File { path: path(), before: None, now: Some(file("cd")) },
        Drifted::File { path: path(), before: Some(file("ab")), now: None },
        Drifted::File { path: path(), before: Some(link.clone()), now: Some(unread.clone()) },
        Drifted::File { path: path(), before: Some(unread), now: Some(link) },
        Drifted::Place {
            path: "/etc/modprobe.d".to_owned(),
            before: place(Some("/opt/x")),
            now: place(Some("/opt/y")),
        },
        Drifted::More(300),
        Drifted::NoEnd,
        policy,
        Drifted::TaintLost { lost: 1 << 13, before: 3 << 12, now: 1 << 12 },
        Drifted::Record(RecordLoss::Gone { kept_one: true }),
        Drifted::Record(RecordLoss::Damaged("torn".to_owned())),
        Drifted::Record(RecordLoss::OtherHost("a0000000-0000-8000-8000-000000000000".to_owned())),
    ];
    let provenance = Provenance {
        manager: Manager::Dpkg,
        package: Some(b"kmod".to_vec()),
        version: Some(b"30".to_vec()),
        architecture: Some(b"amd64".to_vec()),
        digest: DigestCheck::Differs,
        problems: Vec::new(),
    };
    let window = Window { not_before: Some(at(5)), not_after: at(95) };
    let drift = |what| Drift {
        what,
        window,
        unseen: Unseen::NotRunning,
        perhaps_seen: true,
        provenance: Some(provenance.clone()),
    };
    drifted.map(drift).to_vec()
}

pub(super) fn report() -> StateReport {
    let hidden = |sight, unread| PlaceSeen { sight, unread, ..PlaceSeen::default() };
    let state = HostState {
        begun: at(95),
        ended: at(96),
        boot_id: "b".to_owned(),
        agent_id: "a".to_owned(),
        kernel_release: "6.1.0".to_owned(),
        policy: KernelSettings {
            command_line: Some(vec!["lockdown=integrity".to_owned()]),
            lockdown: Some("integrity".to_owned()),
            sig_enforce: Some(true),
            modules_disabled: Some(false),
            modprobe: Some("/sbin/modprobe".to_owned()),
        },
        taints: Some(1 << 12),
        taints_lost: 1 << 13,
        modules: Some([("a".to_owned(), ModuleSeen::default())].into()),
        files: [("/etc/modprobe.d/a.conf".to_owned(), file("ab"))].into(),
        places: BTreeMap::from([
            ("/etc/modprobe.d".to_owned(), hidden(PlaceSight::Whole, 0)),
            ("/etc/modules".to_owned(), hidden(PlaceSight::Gone, 0)),
            ("/lib/security".to_owned(), hidden(PlaceSight::TooManyFiles, 3)),
            ("/mnt/x".to_owned(), hidden(PlaceSight::SlowFileSystem, 0)),
        ]),
        ..HostState::default()
    };
    StateReport { state, drifts: Vec::new(), is_first: true, explained: 2, cpu_ns: 12_345_678 }
}

#[test]
fn modules_that_nobody_saw_are_told_with_when_that_can_have_been() {
    let drift = &drifts()[0];
    let document = parse(&renderer().render_drift(drift, 0, 96 * SECOND_NS, &assess::assess_drift(drift)));
    insta::assert_snapshot!("module_loaded_while_nobody_watched", pretty(&document));
}

#[test]
fn the_state_of_the_host_is_no_alert() {
    let document = parse(&renderer().render_host_state(&report()));
    insta::assert_snapshot!("state_of_the_host", pretty(&document));
}

#[test]
fn differences_of_one_look_are_documents_of_their_own() {
    let mut renderer = renderer();
    let drift = &drifts()[2];
    let mut id = |number| renderer.render_drift(drift, number, SECOND_NS, &assess::assess_drift(drift)).id;
    assert_ne!(id(0), id(1));
    assert_eq!(id(1), id(1));
}

#[test]
fn what_a_record_says_gets_into_no_document_as_it_is() {
    let mut drift = drifts()[2].clone();
    drift.what = Drifted::File { path: "/etc/\u{1b}[2J".to_owned(), before: None, now: Some(Box::new(file("ab"))) };
    let document = parse(&renderer().render_drift(&drift, 0, SECOND_NS, &assess::assess_drift(&drift)));
    assert_eq!(document["file"]["path"], "/etc/\\x1b[2J");
    assert_eq!(document["lkm_monitor"]["drift"]["before"], json!(null));
}
