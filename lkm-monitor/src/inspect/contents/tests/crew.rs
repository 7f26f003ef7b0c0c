//! Queues, and threads that take each other's place.

use std::sync::{
    atomic::{AtomicU32, Ordering},
    mpsc,
};

use super::*;
use crate::model::Ids;

fn module_look() -> Look {
    Look { change: Box::new(samples::file_change()), subject: Subject::Module, in_host_namespace: true, of_load: false }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn answers_come_back() {
    let bench = Bench::new();
    fs::write(bench.path("modprobe.d/a.conf"), "blacklist a\n").unwrap();
    let place = bench.path("");
    let baseline = Baseline {
        folders: vec![bench.path("modprobe.d")],
        files: Vec::new(),
        subject: Box::new(move |path| subject(&place, path)),
    };
    let (mut contents, _) = Contents::start(baseline).unwrap();
    assert!(contents.request(7, bench.wanted("modprobe.d/a.conf", FileAction::ModeChanged)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (id, content) = runtime.block_on(contents.answer()).unwrap();
    assert_eq!((id, content.status, content.before.is_some()), (7, ContentStatus::Read, true));
    assert!(contents.request(8, bench.wanted("absent", FileAction::Written)));
    assert_eq!(contents.answer_before(soon()).unwrap().1.status, ContentStatus::Gone);
    assert_eq!(contents.answer_before(Instant::now()), None);
}

/// Who looks waits at each look until something is sent.
fn waiting(patience: Duration) -> (Contents, mpsc::Sender<()>) {
    let (go_on, told) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let make = move || -> Looker {
        let told = Arc::clone(&told);
        Box::new(move |_| {
            let _ = told.lock().unwrap().recv();
            Content { status: ContentStatus::Read, ..Content::default() }
        })
    };
    (Contents::start_with(Arc::new(make), patience).unwrap(), go_on)
}

#[test]
fn full_queues_take_no_more_and_leave_room_for_root() {
    let (contents, go_on) = waiting(Duration::from_secs(600));
    let mut others = module_look();
    others.change.process.caller.ids = Some(Ids { euid: 1000, ..Ids::default() });
    let taken = |look: &Look| (0..10_000).filter(|id| contents.request(*id, look.clone())).count();
    // One is being looked at.
    assert!((ORDINARY..=ORDINARY + 1).contains(&taken(&others)));
    assert!((URGENT..=URGENT + 1).contains(&taken(&module_look())));
    drop(go_on);
}

#[test]
fn what_root_caused_comes_first() {
    let (mut contents, go_on) = waiting(Duration::from_secs(600));
    let mut others = module_look();
    others.change.process.caller.ids = Some(Ids { euid: 1000, ..Ids::default() });
    for id in 0..3 {
        assert!(contents.request(id, others.clone()));
    }
    for id in 3..6 {
        assert!(contents.request(id, module_look()));
    }
    drop(go_on);
    let order: Vec<_> = (0..6).map(|_| contents.answer_before(soon()).unwrap().0).collect();
    let last = order.iter().rposition(|id| *id >= 3).unwrap();
    assert!(last <= 3, "one at the most was begun before: {order:?}");
}

#[test]
fn who_is_stuck_is_replaced_a_few_times() {
    let started = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&started);
    let make = move || -> Looker {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::new(|look: &Look| {
            if look.change.action == FileAction::Written {
                std::thread::sleep(Duration::from_secs(3600));
            }
            Content { status: ContentStatus::Read, ..Content::default() }
        })
    };
    let contents = Contents::start_with(Arc::new(make), Duration::ZERO).unwrap();
    let mut trap = module_look();
    trap.change.action = FileAction::Written;
    let deadline = soon();
    // Without patience everybody is taken for stuck, in the end by right.
    while contents.request(1, trap.clone()) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(contents.crew.lock().unwrap().replaced, REPLACEMENTS);
    assert!(started.load(Ordering::Relaxed) <= 1 + REPLACEMENTS);
    assert!(!contents.request(2, module_look()), "nobody is left");
}

#[test]
fn a_replacement_goes_on_with_the_queue() {
    let (stuck, is_stuck) = mpsc::channel();
    let make = move || -> Looker {
        let stuck = stuck.clone();
        Box::new(move |look: &Look| {
            if look.change.action == FileAction::Written {
                stuck.send(()).unwrap();
                std::thread::sleep(Duration::from_secs(3600));
            }
            Content { status: ContentStatus::Read, ..Content::default() }
        })
    };
    let mut contents = Contents::start_with(Arc::new(make), Duration::from_millis(200)).unwrap();
    let mut trap = module_look();
    trap.change.action = FileAction::Written;
    assert!(contents.request(1, trap));
    is_stuck.recv().unwrap();
    assert!(contents.request(2, module_look()));
    std::thread::sleep(Duration::from_millis(300));
    assert!(contents.request(3, module_look()));
    let ids: Vec<_> = (0..2).map(|_| contents.answer_before(soon()).unwrap().0).collect();
    assert_eq!((ids, contents.crew.lock().unwrap().replaced), (vec![2, 3], 1));
}

#[test]
fn who_panics_is_replaced() {
    let make = || -> Looker {
        Box::new(|look: &Look| {
            assert_ne!(look.change.action, FileAction::Written, "a part of the test");
            Content::default()
        })
    };
    let mut contents = Contents::start_with(Arc::new(make), Duration::from_secs(600)).unwrap();
    let mut trap = module_look();
    trap.change.action = FileAction::Written;
    assert!(contents.request(1, trap));
    let deadline = soon();
    while contents.crew.lock().unwrap().replaced == 0 {
        contents.is_manned();
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(contents.request(2, module_look()));
    assert_eq!(contents.answer_before(soon()).unwrap().0, 2);
}
