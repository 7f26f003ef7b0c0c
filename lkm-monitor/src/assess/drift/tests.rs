use super::*;
use crate::model::{Moment, PlaceSeen, PlaceSight, TargetSeen, Window};

fn at(boot_s: u64, unix_s: i64) -> Moment {
    Moment { boot_ns: boot_s * 1_000_000_000, unix_ms: unix_s * 1000 }
}

fn drift(what: Drifted, unseen: Unseen) -> Drift {
    let window = Window { not_before: Some(at(100, 1_700_000_000)), not_after: at(160, 1_700_000_060) };
    Drift { what, window, unseen, perhaps_seen: false, provenance: None }
}

fn found(drift: &Drift) -> (u16, Severity, String) {
    let verdict = assess_drift(drift);
    let [finding] = verdict.findings.as_slice() else { panic!("{verdict:?}") };
    (finding.rule.code, finding.severity, finding.reason.clone())
}

fn severity(drift: Drift) -> Severity {
    found(&drift).1
}

fn loaded(taints: &str) -> Drifted {
    let now = ModuleSeen { size: 1, taints: taints.to_owned(), ..ModuleSeen::default() };
    Drifted::ModuleLoaded { name: "x".to_owned(), now, before: None, file: None }
}

fn packaged(drift: Drift) -> Drift {
    let provenance = Provenance {
        manager: Manager::Dpkg,
        package: Some(b"kmod".to_vec()),
        version: None,
        architecture: None,
        digest: DigestCheck::Matches,
        problems: Vec::new(),
    };
    Drift { provenance: Some(provenance), ..drift }
}

fn file(subject: Subject) -> FileSeen {
    FileSeen {
        subject: subject.name().to_owned(),
        sha256: Some("aa".to_owned()),
        mode: 0o100_644,
        ..FileSeen::default()
    }
}

fn changed(before: Option<FileSeen>, now: Option<FileSeen>) -> Drifted {
    let boxed = |file: Option<FileSeen>| file.map(Box::new);
    Drifted::File { path: "/etc/modprobe.d/a.conf".to_owned(), before: boxed(before), now: boxed(now) }
}

#[test]
fn a_module_that_nobody_saw_is_told_as_such_and_not_as_an_event() {
    let (code, severity, reason) = found(&drift(loaded(""), Unseen::NotRunning));
    assert_eq!((code, severity), (166, Severity::Medium));
    assert_eq!(
        reason,
        "module x was loaded while nobody watched (the sensor was not running), between 2023-11-14T22:13:20Z and 2023-11-14T22:14:20Z"
    );
    let (_, _, reason) = found(&drift(loaded(""), Unseen::BeforeStart));
    assert!(
        reason.contains("while nobody watched (the host was started, and the sensor was not running yet)"),
        "{reason}"
    );
}

#[test]
fn a_load_is_as_severe_as_what_is_certain_of_it() {
    let of = |taints, unseen| severity(drift(loaded(taints), unseen));
    let of_package = |taints, unseen| severity(packaged(drift(loaded(taints), unseen)));
    for unseen in [Unseen::NotRunning, Unseen::BeforeStart, Unseen::Blind, Unseen::LostEvents] {
        assert_eq!([of("", unseen), of("OE", unseen)], [Severity::Medium, Severity::High]);
        let packaged = [of_package("", unseen), of_package("OE", unseen)];
        assert_eq!(packaged, [Severity::Low, Severity::Medium], "what is out of tree is not that file");
    }
    assert_eq!([of("", Unseen::Unknown), of_package("", Unseen::Unknown)], [Severity::High, Severity::Medium]);
    let perhaps = Drift { perhaps_seen: true, ..drift(loaded("OE"), Unseen::Unknown) };
    assert_eq!(found(&perhaps).1, Severity::High, "an unsigned one is no less severe");
    assert!(found(&perhaps).2.ends_with("it may have been seen live: what was seen is not known whole"));
    let perhaps = Drift { what: loaded(""), ..perhaps };
    assert_eq!(found(&perhaps).1, Severity::Medium);
}

#[test]
fn a_module_that_went_is_severe_where_somebody_watched_or_it_guards_the_host() {
    let gone = |name: &str| Drifted::ModuleGone { name: name.to_owned(), before: ModuleSeen::default() };
    let of = |name, unseen| severity(drift(gone(name), unseen));
    assert_eq!(of("x", Unseen::NotRunning), Severity::Low);
    assert_eq!(of("x", Unseen::LostEvents), Severity::Medium);
    assert_eq!(of("x", Unseen::Unknown), Severity::High);
    assert_eq!(of("falco", Unseen::NotRunning), Severity::High);
    assert_eq!(found(&drift(gone("x"), Unseen::Unknown)).0, 169);
}

#[test]
fn files_are_told_with_what_was_done_to_them() {
    let reason = |before: Option<FileSeen>, now: Option<FileSeen>| {
        let (code, _, reason) = found(&drift(changed(before, now), Unseen::NotRunning));
        assert_eq!(code, 167);
        reason.split(" while nobody").next().unwrap().to_owned()
    };
    let conf = file(Subject::Modprobe);
    let start = "modprobe configuration /etc/modprobe.d/a.conf";
    let with = |change: fn(&mut FileSeen)| {
        let mut now = conf.clone();
        change(&mut now);
        reason(Some(conf.clone()), Some(now))
    };
    assert_eq!(reason(None, Some(conf.clone())), format!("{start} was created"));
    assert_eq!(reason(Some(conf.clone()), None), format!("{start} was removed"));
    assert_eq!(with(|now| now.sha256 = Some("bb".to_owned())), format!("{start} was modified"));
    let both = with(|now| (now.mode, now.uid) = (0o100_666, 7));
    assert_eq!(both, format!("{start} was given the mode 0666 and was given another owner"));
    let target = |says: &str, sha256: &str| {
        Some(TargetSeen { says: says.to_owned(), sha256: Some(sha256.to_owned()), unread: None })
    };
    let link = |says, sha256| Some(FileSeen { target: target(says, sha256), sha256: None, ..conf.clone() });
    assert_eq!(reason(link("a", "x"), link("b", "x")), format!("{start} was made to lead to b"));
    assert_eq!(reason(link("a", "x"), link("a", "y")), format!("{start} leads to a file that was changed"));
}

#[test]
fn a_file_is_as_severe_as_what_it_decides() {
    let of = |subject, unseen| severity(drift(changed(Some(file(subject)), Some(file(subject))), unseen));
    assert_eq!(of(Subject::Modprobe, Unseen::NotRunning), Severity::Medium);
    assert_eq!(of(Subject::Pam, Unseen::NotRunning), Severity::High);
    assert_eq!(of(Subject::Sensor, Unseen::NotRunning), Severity::Medium);
    assert_eq!(of(Subject::Sensor, Unseen::Unknown), Severity::High);
    let perhaps = |subject| {
        let drift = drift(changed(Some(file(subject)), Some(file(subject))), Unseen::NotRunning);
        severity(Drift { perhaps_seen: true, ..drift })
    };
    let of_each = [Subject::Modprobe, Subject::Sensor, Subject::Pam].map(perhaps);
    assert_eq!(of_each, [Severity::Low, Severity::Medium, Severity::High]);
    let of_package = packaged(drift(changed(None, Some(file(Subject::Pam))), Unseen::NotRunning));
    assert_eq!(found(&of_package).1, Severity::Low);
    assert!(found(&of_package).2.ends_with("; it is as dpkg kmod has it"));
}

#[test]
fn places_are_told_with_what_became_of_them() {
    let (code, severity, reason) = found(&drift(Drifted::NoEnd, Unseen::Unknown));
    assert_eq!((code, severity), (167, Severity::Medium));
    assert!(reason.starts_with("the look at the host comes to no end"), "{reason}");
    let place = |sight| PlaceSeen { sight, ..PlaceSeen::default() };
    let reason = |before, now| {
        found(&drift(Drifted::Place { path: "/etc/modprobe.d".to_owned(), before, now }, Unseen::Unknown)).2
    };
    let lost = reason(place(PlaceSight::Whole), place(PlaceSight::SlowFileSystem));
    assert!(
        lost.starts_with("watched place /etc/modprobe.d lies on a file system that could make who looks wait, which"),
        "{lost}"
    );
    let link = PlaceSeen { leads_to: Some("/opt/x".to_owned()), ..place(PlaceSight::Whole) };
    assert!(reason(place(PlaceSight::Whole), link.clone()).contains("was made to lead to /opt/x"));
    assert!(reason(link, place(PlaceSight::Whole)).contains("was put in the place of a link"));
    let mount = PlaceSeen { mount_point: Some("/etc/modprobe.d".to_owned()), ..place(PlaceSight::Whole) };
    assert!(reason(place(PlaceSight::Whole), mount).contains("was hidden by another mount"));
}

#[test]
fn policy_is_severe_where_the_kernel_allows_no_such_change() {
    let of = |setting, now: &str, weight| {
        let what = Drifted::Policy { setting, before: "before".to_owned(), now: now.to_owned(), weight };
        let (code, severity, _) = found(&drift(what, Unseen::NotRunning));
        assert_eq!(code, 168);
        severity
    };
    assert_eq!(of(Setting::Lockdown, "none", Weight::Impossible), Severity::High);
    assert_eq!(of(Setting::Lockdown, "none", Weight::Weaker), Severity::Medium);
    assert_eq!(of(Setting::ModulesDisabled, "0", Weight::Other), Severity::Low);
    assert_eq!(of(Setting::Modprobe, "/tmp/x", Weight::Weaker), Severity::High);
    assert_eq!(of(Setting::Modprobe, "/sbin/modprobe", Weight::Weaker), Severity::Low);
    assert_eq!(of(Setting::Modprobe, "", Weight::Weaker), Severity::Medium);
}

#[test]
fn taints_and_records() {
    let (code, severity, reason) = found(&drift(Drifted::TaintLost { lost: 2, before: 3, now: 1 }, Unseen::Unknown));
    assert_eq!((code, severity), (170, Severity::High));
    assert!(reason.starts_with("the kernel's taint mask was 3 and is 1: bits 0x2 were cleared, between"), "{reason}");
    let of = |loss| {
        let (code, severity, _) = found(&drift(Drifted::Record(loss), Unseen::NotRunning));
        (code, severity)
    };
    assert_eq!(of(RecordLoss::Gone { kept_one: true }), (212, Severity::Medium));
    assert_eq!(of(RecordLoss::Gone { kept_one: false }), (212, Severity::Low));
    assert_eq!(of(RecordLoss::Damaged("torn".to_owned())), (212, Severity::Medium));
    assert_eq!(of(RecordLoss::OtherHost("x".to_owned())), (212, Severity::Low));
}

#[test]
fn a_clock_that_was_set_back_is_not_taken_at_its_word() {
    let reason = |not_before, not_after| {
        let window = Window { not_before, not_after };
        let reason = found(&Drift { window, ..drift(loaded(""), Unseen::Unknown) }).2;
        reason.split("no event told of it), ").nth(1).unwrap().to_owned()
    };
    let end = "2023-11-14T22:13:20Z";
    let set_back = reason(Some(at(100, 1_800_000_000)), at(160, 1_700_000_000));
    assert_eq!(set_back, format!("in the 60 s before {end}, by the clock since the boot"));
    let other_boot = reason(Some(at(200, 1_800_000_000)), at(160, 1_700_000_000));
    assert_eq!(other_boot, format!("at a time before {end} that is not known"));
    assert_eq!(reason(None, at(160, 1_700_000_000)), other_boot);
}

#[test]
fn what_a_record_says_does_no_harm_in_a_sentence() {
    let what = Drifted::ModuleGone { name: format!("\u{1b}[2J{}", "x".repeat(4000)), before: ModuleSeen::default() };
    let (.., reason) = found(&drift(what, Unseen::Unknown));
    assert!(!reason.chars().any(char::is_control) && reason.len() < 500, "{reason}");
}
