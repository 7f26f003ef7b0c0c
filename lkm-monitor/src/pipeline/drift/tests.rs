use std::{fs, path::PathBuf};

use super::*;
use crate::{
    drift::Settings,
    model::{FileSeen, HostState, ModuleSeen, Predecessor, RunRecord, Severity, Unseen, Window, samples},
};

const HOUR: Duration = Duration::from_secs(3600);

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A host of its own, with one module.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(host.root().join("proc")).unwrap();
        host.list("a 10 0 - Live 0x0\n");
        host
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn list(&self, modules: &str) {
        fs::write(self.root().join("proc/modules"), modules).unwrap();
    }

    fn start(&self) -> Drifting {
        let settings = Settings {
            path: self.0.path().join("state.json"),
            root: self.root(),
            agent_id: "a".to_owned(),
            boot_id: "b".to_owned(),
            kernel_release: "6.1.0".to_owned(),
        };
        let watch = StateWatch { service: Service::start(settings).unwrap(), interval: HOUR };
        let subjects = Subjects {
            folders: Vec::new(),
            files: Vec::new(),
            subject: Arc::new(|_| None),
            selected: Selected::default(),
        };
        let mut drifting = Drifting::new(watch, subjects, crate::inspect::now());
        drifting.know(&Succession { this: RunRecord::default(), before: Predecessor::NotOnRecord });
        drifting
    }
}

/// Steps until it came so far.
fn until(drifting: &mut Drifting, is_quiet: bool, reached: impl Fn(&Stage) -> bool) {
    let end = in_time();
    while !reached(&drifting.stage) {
        assert!(Instant::now() < end, "{:?}", drifting.stage);
        drifting.step(|_| is_quiet, 0);
        std::thread::yield_now();
    }
}

/// Looks once, and tells it; what was found.
fn look(drifting: &mut Drifting) -> Vec<Drifted> {
    until(drifting, true, |stage| matches!(stage, Stage::Telling(_)));
    let Stage::Telling(telling) = &drifting.stage else { unreachable!() };
    let found = telling.drifts.iter().map(|(_, drift, _)| drift.what.clone()).collect();
    drifting.settle();
    assert!(matches!(drifting.stage, Stage::Idle));
    found
}

#[test]
fn a_look_is_compared_when_all_that_happened_before_it_has_come_out_of_the_stages() {
    let host = Host::new();
    let mut drifting = host.start();
    until(&mut drifting, false, |stage| matches!(stage, Stage::Looked { .. }));
    for _ in 0..10 {
        drifting.step(|_| false, 0);
        assert!(matches!(drifting.stage, Stage::Looked { .. }), "something is under way");
    }
    assert_eq!(look(&mut drifting), []);
}

#[test]
fn the_first_comparison_waits_for_what_is_known_of_the_run_before() {
    let host = Host::new();
    let mut drifting = host.start();
    let succession = drifting.succession.take();
    until(&mut drifting, true, |stage| matches!(stage, Stage::Looked { .. }));
    drifting.step(|_| true, 0);
    assert!(matches!(drifting.stage, Stage::Looked { .. }));
    drifting.succession = succession;
    assert_eq!(look(&mut drifting), []);
}

#[test]
fn what_was_asked_for_during_a_look_is_one_more_look() {
    let host = Host::new();
    let mut drifting = host.start();
    until(&mut drifting, true, |stage| matches!(stage, Stage::Looking));
    (0..5).for_each(|_| drifting.ask());
    look(&mut drifting);
    assert!(drifting.next <= Instant::now(), "one more at once");
    look(&mut drifting);
    let left = drifting.next.saturating_duration_since(Instant::now());
    assert!(left > HOUR / 2, "and then no more: {left:?}");
    assert_eq!(drifting.looks, 2);
    drifting.ask();
    assert!(drifting.next <= Instant::now());
}

#[test]
fn a_load_that_was_seen_explains_what_the_next_look_finds() {
    let host = Host::new();
    let mut drifting = host.start();
    look(&mut drifting);
    host.list("a 10 0 - Live 0x0\nfoo 20 0 - Live 0x0\nrootkit 30 0 - Live 0x0\n");
    let mut call = samples::load();
    call.module.name = Some(crate::model::Bytes::whole("foo"));
    call.boot_ns = crate::pipeline::boot_ns();
    drifting.note(&Observation::Call(Box::new(call)));
    assert!(drifting.unkept);
    drifting.ask();
    let now = ModuleSeen { size: 30, taints: String::new(), ..ModuleSeen::default() };
    let rootkit = Drifted::ModuleLoaded { name: "rootkit".to_owned(), now, before: None, file: None };
    assert_eq!(look(&mut drifting), [rootkit]);
    assert_eq!(drifting.metrics().map(|metric| metric.value), [2, 1, 0, 0]);
    drifting.ask();
    assert_eq!(look(&mut drifting), [], "it was told");
}

#[test]
fn a_look_that_comes_to_no_end_is_told_once() {
    let host = Host::new();
    let mut drifting = host.start();
    until(&mut drifting, true, |stage| matches!(stage, Stage::Looking));
    drifting.overdue.after = Duration::ZERO;
    (0..3).for_each(|_| drifting.overdue.check());
    assert_eq!((drifting.overdue.count, drifting.overdue.is_untold), (1, true));
    let Drift { what, window, .. } = drifting.no_end();
    assert_eq!((what, window.not_before), (Drifted::NoEnd, Some(drifting.since)));
    assert_eq!(look(&mut drifting), []);
    assert_eq!(drifting.overdue.count, 2, "the comparison was another order");
}

#[test]
fn what_an_event_left_unknown_is_looked_at_soon() {
    let host = Host::new();
    let mut drifting = host.start();
    look(&mut drifting);
    let mut call = samples::load();
    call.module.name = Some(crate::model::Bytes::whole("foo"));
    call.boot_ns = crate::pipeline::boot_ns();
    drifting.note(&Observation::Call(Box::new(call)));
    drifting.kept = Instant::now().checked_sub(KEEP).unwrap();
    drifting.step(|_| true, 0);
    assert!(!drifting.unkept && drifting.next <= Instant::now() + 2 * SOON, "{drifting:?}");
}

#[test]
fn what_was_seen_live_is_on_record_at_the_end() {
    let host = Host::new();
    let mut drifting = host.start();
    look(&mut drifting);
    host.list("a 10 0 - Live 0x0\nfoo 20 0 - Live 0x0\n");
    let mut call = samples::load();
    call.module.name = Some(crate::model::Bytes::whole("foo"));
    call.boot_ns = crate::pipeline::boot_ns();
    drifting.note(&Observation::Call(Box::new(call)));
    drifting.stop(in_time());
    assert_eq!(look(&mut host.start()), []);
}

#[test]
fn the_most_severe_are_told_first_and_the_rest_is_counted() {
    let drift = |what| Drift {
        what,
        window: Window::default(),
        unseen: Unseen::NotRunning,
        perhaps_seen: false,
        provenance: None,
    };
    let file =
        |number| Drifted::File { path: format!("/{number}"), before: None, now: Some(Box::new(FileSeen::default())) };
    let mut drifts: Vec<_> = (0..300).map(file).map(drift).collect();
    drifts.push(drift(Drifted::TaintLost { lost: 1, before: 1, now: 0 }));
    let report = StateReport { state: HostState::default(), drifts, is_first: false, explained: 0, cpu_ns: 0 };
    let told = Telling::of(report).drifts;
    assert_eq!(told.len(), MAX_TOLD + 1);
    let (number, first, verdict) = &told[0];
    assert_eq!((*number, verdict.lead().unwrap().severity), (0, Severity::High));
    assert!(matches!(first.what, Drifted::TaintLost { .. }));
    let (number, last, _) = &told[MAX_TOLD];
    assert_eq!((*number as usize, &last.what), (MAX_TOLD, &Drifted::More(301 - MAX_TOLD as u64)));
}
