use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::model::samples;

/// Longer than any machine needs.
const LONG: Duration = Duration::from_secs(60);

/// Looks follow changes and findings at once, and nothing else.
const SOON: Pace = Pace {
    interval: Duration::from_secs(3600),
    quiet: Duration::ZERO,
    patience: Duration::ZERO,
    apart: Duration::ZERO,
    confirm: Duration::ZERO,
};

/// A look that says in its time how many modules the history had.
fn looked(history: &ModuleHistory, again: Option<Duration>) -> Looked {
    let look = KernelLook { boot_ns: history.loaded.len() as u64, ..samples::kernel_look() };
    Looked { report: KernelReport { look, confirmed: Vec::new() }, again }
}

fn history(modules: usize) -> ModuleHistory {
    ModuleHistory { loaded: vec![("a".to_owned(), 1); modules], ..ModuleHistory::default() }
}

fn modules_at(watch: &IntegrityWatch) -> u64 {
    watch.reports.recv_timeout(LONG).unwrap().look.boot_ns
}

#[test]
fn the_first_look_is_at_once_and_others_follow_changes() {
    let mut watch = IntegrityWatch::start_with(SOON, |history| looked(history, None)).unwrap();
    assert_eq!(modules_at(&watch), 0);
    for modules in [3, 1] {
        watch.hand_on(Some(history(modules)));
        assert_eq!(modules_at(&watch), modules as u64);
    }
    assert!(watch.take_reports().is_empty(), "nothing changed, and an hour is long");
}

#[test]
fn what_was_found_is_looked_at_again() {
    let mut left = 3;
    let watch = IntegrityWatch::start_with(SOON, move |history| {
        left -= 1;
        looked(history, (left > 0).then_some(Duration::ZERO))
    })
    .unwrap();
    let looks: Vec<_> = (0..3).map(|_| modules_at(&watch)).collect();
    assert_eq!(looks, [0, 0, 0]);
}

/// The main loop hands on and takes, whatever the thread does; and the next look has the last word of the kernel.
#[test]
fn nobody_waits_for_a_look_that_takes_long() {
    let (began, begins) = bounded(0);
    let (go_on, gate) = bounded::<()>(0);
    let mut watch = IntegrityWatch::start_with(SOON, move |history| {
        began.send(()).unwrap();
        gate.recv().unwrap();
        looked(history, None)
    })
    .unwrap();
    begins.recv_timeout(LONG).unwrap();
    for modules in 1..=9 {
        watch.hand_on(Some(history(modules)));
        assert!(watch.take_reports().is_empty());
    }
    assert!(begins.try_recv().is_err(), "there is one look at a time");
    go_on.send(()).unwrap();
    assert_eq!(modules_at(&watch), 0);
    // The first one that had waited may be looked at by itself, the last one is looked at in any case.
    let mut last = 0;
    while last != 9 {
        watch.hand_on(None);
        if begins.try_recv().is_ok() {
            go_on.send(()).unwrap();
            last = modules_at(&watch);
        }
        std::thread::yield_now();
    }
    drop((go_on, begins));
}

#[test]
fn the_end_waits_for_the_look_that_is_under_way_and_takes_what_it_found() {
    let (began, begins) = bounded(0);
    let (go_on, gate) = bounded::<()>(0);
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = Arc::clone(&ended);
    let mut watch = IntegrityWatch::start_with(SOON, move |history| {
        began.send(()).unwrap();
        gate.recv().unwrap();
        has_ended.store(true, Ordering::SeqCst);
        looked(history, None)
    })
    .unwrap();
    begins.recv_timeout(LONG).unwrap();
    let release = std::thread::spawn(move || go_on.send(()));
    let mut told = Vec::new();
    watch.end(|report| told.push(report.look.boot_ns));
    assert!(ended.load(Ordering::SeqCst), "hooks are detached after this");
    assert_eq!(told, [0]);
    release.join().unwrap().unwrap();
    assert!(watch.take_reports().is_empty(), "an end that was asked for is no death");
}

#[test]
fn a_thread_that_dies_is_told_once() {
    let mut watch = IntegrityWatch::start_with(SOON, |_| panic!("a look that fails")).unwrap();
    assert!(watch.reports.recv_timeout(LONG).is_err());
    let reports = watch.take_reports();
    let is_unavailable = |report: &KernelReport| {
        report.look.views.iter().all(|(_, sight)| *sight == Sight::Unavailable { why: "who looks has died".to_owned() })
    };
    assert!(reports.len() == 2 && reports.iter().all(is_unavailable), "{reports:?}");
    watch.hand_on(Some(history(1)));
    assert!(watch.take_reports().is_empty());
}

#[test]
fn a_look_that_does_not_end_is_told_once() {
    let (go_on, gate) = bounded::<()>(0);
    let (entered, begun) = bounded(1);
    let mut watch = IntegrityWatch::start_with(SOON, move |history| {
        entered.send(()).unwrap();
        gate.recv().unwrap();
        looked(history, None)
    })
    .unwrap();
    begun.recv_timeout(LONG).unwrap();
    assert!(watch.miss(LONG).is_empty(), "it has only begun");
    let told = watch.miss(Duration::ZERO);
    assert_eq!(told.len(), 2);
    assert!(
        told.iter().all(|report| report
            .look
            .views
            .iter()
            .all(|(_, sight)| sight.why() == Some("the look does not end")))
    );
    assert!(watch.miss(Duration::ZERO).is_empty(), "it is the same one");
    go_on.send(()).unwrap();
    modules_at(&watch);
}
