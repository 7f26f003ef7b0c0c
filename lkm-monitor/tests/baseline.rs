//! Baselines as they are carried from one host to another.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use lkm_monitor::{
    model::Kind,
    prevalence::{
        groups::KeyNames,
        name::GroupName,
        store::{Expiry, Limits, Store},
        tally::Window,
    },
};

fn store_of(path: &Path, groups: &[&str]) {
    let mut store = Store::open(path, Limits { window: Window { days: 30 }, max_groups: 10_000 }).unwrap();
    store.name_keys(&KeyNames::default()).unwrap();
    let now_s = jiff::Timestamp::now().as_second() as u64;
    let events: Vec<_> = groups.iter().map(|text| (GroupName::new(Kind::Tool, [*text, "1"]), true)).collect();
    store.count(&events, now_s).unwrap();
    assert!(store.write(now_s, Expiry::WhenFull).unwrap());
}

fn baseline(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lkm-monitor"));
    fs::write(folder.join("config.toml"), "").unwrap();
    command.current_dir(folder).arg("baseline").args(arguments).args(["--config", "config.toml"]).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Private and public half.
fn keys(folder: &Path, name: &str) {
    let made = |arguments: &[&str]| {
        assert!(Command::new("openssl").current_dir(folder).args(arguments).output().unwrap().status.success());
    };
    made(&["genpkey", "-algorithm", "ed25519", "-out", &format!("{name}.pem")]);
    made(&["pkey", "-in", &format!("{name}.pem"), "-pubout", "-out", &format!("{name}.pub.pem")]);
}

fn known(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    lkm_monitor::prevalence::store::read_all(path, |_, name, tally| {
        assert!(tally.baseline_day.is_some());
        names.push(name.parts()[0].clone());
    })
    .unwrap();
    names
}

#[test]
fn what_one_host_knows_another_one_learns() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of(&folder.join("old.redb"), &["modprobe a", "modprobe b"]);
    keys(folder, "ours");
    fs::write(folder.join("normal"), "an older one").unwrap();
    fs::set_permissions(folder.join("normal"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = baseline(folder, &["export", "--store", "old.redb", "--output", "normal", "--sign-with", "ours.pem"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::metadata(folder.join("normal")).unwrap().permissions().mode() & 0o777, 0o600);

    let output = baseline(folder, &["import", "normal", "--store", "new/x.redb", "--signed-by", "ours.pub.pem"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(known(&folder.join("new/x.redb")), ["modprobe a", "modprobe b"]);
}

#[test]
fn nothing_of_a_file_that_is_refused_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of(&folder.join("old.redb"), &["modprobe a"]);
    keys(folder, "ours");
    keys(folder, "theirs");
    for (output, key) in [("good", "ours.pem"), ("foreign", "theirs.pem")] {
        let made = baseline(folder, &["export", "--store", "old.redb", "--output", output, "--sign-with", key]);
        assert!(made.status.success(), "{}", said(&made));
    }
    let good = fs::read_to_string(folder.join("good")).unwrap();
    fs::write(folder.join("changed"), good.replace("modprobe a", "modprobe z")).unwrap();
    fs::write(folder.join("unsigned"), good.lines().take(2).map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    fs::write(folder.join("other-keys"), good.replace("\"args_count\"", "\"user\"")).unwrap();
    for (bad, why) in [
        ("changed", "its signature is bad"),
        ("foreign", "not the one that was named"),
        ("unsigned", "it is not signed"),
        ("missing", "cannot open missing"),
    ] {
        // One that is good goes before it.
        let output = baseline(folder, &["import", "good", bad, "--store", "new.redb", "--signed-by", "ours.pub.pem"]);
        assert!(!output.status.success() && said(&output).contains(why), "{bad}: {}", said(&output));
        assert!(!folder.join("new.redb").exists(), "{bad}: nothing is made");
    }
    let output = baseline(folder, &["import", "changed", "--store", "new.redb"]);
    assert!(said(&output).contains("its signature is bad"), "also where no key is named: {}", said(&output));
    let output = baseline(folder, &["import", "other-keys", "--store", "new.redb"]);
    assert!(!output.status.success(), "{}", said(&output));
}

#[test]
fn a_store_that_is_missing_costs_no_older_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("normal"), "an older one").unwrap();
    let output = baseline(folder, &["export", "--store", "missing.redb", "--output", "normal"]);
    assert!(!output.status.success() && said(&output).contains("missing.redb"), "{}", said(&output));
    assert_eq!(fs::read_to_string(folder.join("normal")).unwrap(), "an older one");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "nothing else is left");
}
