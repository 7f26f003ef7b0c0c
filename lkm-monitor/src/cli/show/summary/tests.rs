//! Summaries as people read them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const PLAIN: Palette = Palette { colored: false };

fn alert() -> Value {
    json!({
        "@timestamp": "2023-11-14T22:30:00.000000Z",
        "message": "Kernel module loaded from a non-standard path",
        "event": {
            "kind": "alert",
            "severity": 73,
            "outcome": "success",
            "reason": "module foo was loaded from /tmp/foo.ko, outside /lib/modules, by /usr/bin/kmod run by root",
        },
        "file": { "path": "/tmp/foo.ko", "directory": "/tmp", "size": 8192, "owner": "alice", "mode": "0644" },
        "process": { "name": "insmod", "pid": 901, "command_line": "insmod foo.ko", "user": { "id": "0", "name": "root" } },
        "lkm_monitor": {
            "module": { "name": "foo", "taint_flags": "OE" },
            "file": { "fs_type": "ext4" },
            "syscall": { "name": "finit_module", "abi": "x86_64" },
            "load": { "stage": "live", "source": "file" },
            "audit": { "loginuid": 1000, "login_user": "alice" },
            "ancestors": [
                { "name": "bash", "pid": 812 },
                { "name": "sshd", "pid": 700 },
                { "name": "systemd", "pid": 1 },
            ],
            "findings": [
                { "name": "Kernel module loaded from a non-standard path", "severity": 73 },
                { "name": "Tainting kernel module loaded", "severity": 47 },
            ],
        },
    })
}

#[test]
fn alert_in_a_few_lines() {
    insta::assert_snapshot!(summary(&alert(), PLAIN), @r"
    HIGH     2023-11-14T22:30:00.000000Z Kernel module loaded from a non-standard path
      module foo was loaded from /tmp/foo.ko, outside /lib/modules, by /usr/bin/kmod run by root
      module    foo, taints OE
      file      /tmp/foo.ko, bytes 8192, owner alice, mode 0644, on ext4
      process   insmod foo.ko, pid 901, user root, login user alice
      ancestry  systemd(1) > sshd(700) > bash(812) > insmod(901)
      call      finit_module, success, stage live, from file, abi x86_64
      also      Tainting kernel module loaded (medium)
    ");
}

#[test]
fn what_was_loaded_in_a_few_lines() {
    let mut alert = alert();
    alert["file"]["code_signature"] = json!({ "status": "valid", "subject_name": "Machine owner", "trusted": false });
    let symbol = |symbol, capability| json!({ "symbol": symbol, "capability": capability });
    let own = alert["lkm_monitor"].as_object_mut().unwrap();
    own["module"]["license"] = json!("GPL");
    own["module"]["intree"] = json!(false);
    own.insert("modinfo".to_owned(), json!({ "name": "bar" }));
    own.insert("package".to_owned(), json!({ "manager": "dpkg", "owner": "foo-dkms", "digest_ok": false }));
    let signature = json!({ "key": { "path": "/etc/keys/a.der" }, "kernel": { "enforces_signatures": false } });
    own.insert("signature".to_owned(), signature);
    let image = json!({
        "extent": "whole", "captured_bytes": 8192, "sha256": "ab12", "kept": true,
        "uses": [symbol("kallsyms_lookup_name", "symbol-lookup"), symbol("register_kprobe", "kernel-probe")],
    });
    own.insert("image".to_owned(), image);
    insta::assert_snapshot!(summary(&alert, PLAIN), @r"
    HIGH     2023-11-14T22:30:00.000000Z Kernel module loaded from a non-standard path
      module foo was loaded from /tmp/foo.ko, outside /lib/modules, by /usr/bin/kmod run by root
      module    foo, taints OE
      file      /tmp/foo.ko, bytes 8192, owner alice, mode 0644, on ext4
      image     whole, bytes 8192, sha256 ab12
      modinfo   name bar, license GPL, intree false
      signature valid, by Machine owner, trusted false, certificate in /etc/keys/a.der, kernel enforces false
      package   dpkg, foo-dkms, has these bytes false
      uses      kallsyms_lookup_name (symbol-lookup), register_kprobe (kernel-probe)
      evidence  lkm-monitor evidence export ab12 --to FILE
      process   insmod foo.ko, pid 901, user root, login user alice
      ancestry  systemd(1) > sshd(700) > bash(812) > insmod(901)
      call      finit_module, success, stage live, from file, abi x86_64
      also      Tainting kernel module loaded (medium)
    ");
    alert["lkm_monitor"]["image"] = json!({ "extent": "first-part", "captured_bytes": 4096, "kept": true });
    let told = summary(&alert, PLAIN);
    assert!(told.contains("\n  evidence  kept in part: lkm-monitor evidence list"), "{told}");
}

#[test]
fn what_hides_in_a_few_lines() {
    let alert = json!({
        "@timestamp": "2023-11-14T22:30:00.000000Z",
        "message": "Kernel module hidden",
        "event": { "kind": "alert", "severity": 99, "reason": "module `a` is in /sys/module, but not in /proc/modules" },
        "lkm_monitor": {
            "module": { "name": "a", "taint_flags": "OE" },
            "kernel": {
                "seen_in": ["sys-module", "kernel-kset"],
                "missing_from": ["proc-modules"],
                "module": { "state": "live", "memory": [{ "address": "0xffffffffc0a3c000", "bytes": 16384 }] },
                "views": [
                    { "name": "proc-modules", "status": "whole", "count": 1 },
                    { "name": "history", "status": "unavailable", "reason": "loads are not seen" },
                ],
            },
        },
    });
    insta::assert_snapshot!(summary(&alert, PLAIN), @r"
    CRITICAL 2023-11-14T22:30:00.000000Z Kernel module hidden
      module `a` is in /sys/module, but not in /proc/modules
      module    a, taints OE
      seen in   sys-module, kernel-kset
      not in    proc-modules
      memory    0xffffffffc0a3c000, bytes 16384, state live
      unseen    history unavailable: loads are not seen
    ");
}

#[test]
fn state_and_loss_in_two_lines() {
    let state = json!({
        "@timestamp": "t", "message": "Kernel module sensor started", "event": { "kind": "state" },
        "lkm_monitor": { "sensor": {
            "status": "partial", "syscall_hooks": "fentry",
            "probes": [{ "attached": true }, { "attached": false }], "blind": ["One.", "Two."],
        } },
    });
    insta::assert_snapshot!(summary(&state, PLAIN), @r"
    STATE    t Kernel module sensor started
      sensor    partial, hooks fentry, 1 of 2 probes attached
      blind     One. Two.
    ");
    let loss = json!({
        "@timestamp": "t", "message": "Kernel module events lost", "event": { "kind": "metric" },
        "lkm_monitor": { "loss": { "stage": "kernel", "reason": "ring_full", "count": 3, "total": 10 } },
    });
    insta::assert_snapshot!(summary(&loss, PLAIN), @r"
    LOSS     t Kernel module events lost
      lost      3, in the kernel, ring_full, in all 10
    ");
}

#[test]
fn colours_on_demand_only() {
    assert!(!summary(&alert(), PLAIN).contains('\x1b'));
    assert!(summary(&alert(), Palette { colored: true }).starts_with("\x1b[1;31mHIGH    \x1b[0m "));
}

#[test]
fn what_foreign_files_say_stays_text() {
    let document = json!({ "message": "a\u{1b}[2Jb\nc\u{202e}d", "process": { "pid": [1] }, "lkm_monitor": 7 });
    assert_eq!(summary(&document, PLAIN), "EVENT    - a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
}

/// Documents in which any field may be anything.
fn any_document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "event",
        "severity",
        "kind",
        "message",
        "process",
        "pid",
        "name",
        "lkm_monitor",
        "ancestors",
        "findings",
        "sensor",
        "probes",
        "blind",
        "loss",
        "@timestamp",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_has_a_harmless_summary(document in any_document()) {
        let summary = summary(&document, PLAIN);
        prop_assert!(!summary.chars().any(|character| character.is_control() && character != '\n'));
    }
}
