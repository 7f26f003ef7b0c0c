use std::path::Path;

use super::{
    super::{
        archive::Archive,
        samples::{digest, image, load, settings},
    },
    *,
};

const MAX_WAITING_BYTES: u64 = 1 << 20;

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A service whose thread works only when the other end says so.
fn held(place: &Path, max_bytes: u64) -> (Service, impl FnOnce() + use<>) {
    let store = Store::open(settings(place)).unwrap();
    let totals = store.totals();
    let waiting = Arc::new(Waiting::new(max_bytes));
    let (queue, images) = bounded(QUEUE);
    let (life, alive) = bounded(0);
    let service = Service { queue, waiting: Arc::clone(&waiting), totals, alive };
    let go = move || {
        let _life: Sender<()> = life;
        work(store, &images, &waiting, Instant::now());
    };
    (service, go)
}

#[test]
fn all_that_waits_is_kept_at_the_end() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(settings(place.path()), MAX_WAITING_BYTES).unwrap();
    for round in 0..20 {
        service.keep(image(round % 5, 10_000), load(round as i64)).unwrap();
    }
    let totals = Arc::clone(&service.totals);
    assert_eq!(service.finish(in_time()), Ok(()));
    assert_eq!([Count::Kept, Count::Known, Count::QueueFull].map(|count| totals.get(count)), [5, 15, 0]);
    let archive = Archive::open(&place.path().join("evidence")).unwrap();
    assert_eq!(archive.digests().unwrap().len(), 5);
    assert_eq!(archive.record(&digest(&image(3, 10_000))).unwrap().loads, 4);
}

#[test]
fn what_has_no_room_is_handed_back_and_counted() {
    let place = tempfile::tempdir().unwrap();
    let (service, go) = held(place.path(), 25_000);
    for expected in [Ok(()), Ok(()), Err(QueueError::Full)] {
        assert_eq!(service.keep(image(1, 10_000), load(0)), expected);
    }
    assert_eq!(service.keep(image(2, 5_000), load(0)), Ok(()), "a smaller one has room");
    assert_eq!(service.waiting_bytes(), 25_000);
    assert_eq!(service.totals().get(Count::QueueFull), 1);
    let totals = Arc::clone(&service.totals);
    let waiting = Arc::clone(&service.waiting);
    let thread = thread::spawn(go);
    assert_eq!(service.finish(in_time()), Ok(()));
    thread.join().unwrap();
    assert_eq!((totals.get(Count::Kept), totals.get(Count::Known)), (2, 1));
    assert_eq!(waiting.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn many_small_ones_are_bounded_too() {
    let place = tempfile::tempdir().unwrap();
    let (service, go) = held(place.path(), MAX_WAITING_BYTES);
    let small = image(1, 8);
    let queued = (0..QUEUE + 10).filter(|_| service.keep(small.clone(), load(0)).is_ok()).count();
    assert_eq!((queued, service.totals().get(Count::QueueFull)), (QUEUE, 10));
    assert_eq!(service.waiting_bytes(), 8 * QUEUE as u64);
    drop(go);
    assert_eq!(service.keep(small, load(0)), Err(QueueError::Ended));
}

#[test]
fn the_end_is_in_time_and_what_waits_then_is_told() {
    let place = tempfile::tempdir().unwrap();
    let (service, go) = held(place.path(), MAX_WAITING_BYTES);
    (0..3).for_each(|seed| service.keep(image(seed, 1000), load(0)).unwrap());
    let totals = Arc::clone(&service.totals);
    let soon = Instant::now() + Duration::from_millis(20);
    assert_eq!(service.finish(soon), Err(ServiceError::Stuck { waiting_images: 3, waiting_bytes: 3000 }));
    go();
    assert_eq!(totals.get(Count::Kept), 0, "it is given up");
}

#[test]
fn a_store_that_cannot_be_opened_is_told_at_once() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("evidence"), "").unwrap();
    assert!(matches!(Service::start(settings(place.path()), 1), Err(EvidenceError::Folder(_))));
}

#[test]
fn how_long_it_ran_is_on_record_at_the_end() {
    let place = tempfile::tempdir().unwrap();
    let service = Service::start(settings(place.path()), MAX_WAITING_BYTES).unwrap();
    thread::sleep(Duration::from_millis(1100));
    service.finish(in_time()).unwrap();
    let clock = std::fs::read_to_string(place.path().join("evidence/clock.json")).unwrap();
    assert!(clock.starts_with(r#"{"version":1,"ran_s":"#) && !clock.contains(":0}"), "{clock}");
}

#[test]
fn what_waits_behind_a_disk_that_hangs_is_overdue() {
    let place = tempfile::tempdir().unwrap();
    let (service, _go) = held(place.path(), MAX_WAITING_BYTES);
    (0..3).for_each(|seed| service.keep(image(seed, 1000), load(0)).unwrap());
    assert_eq!(service.overdue(Duration::ZERO), 0, "nobody has begun");
    service.waiting.begin(Some(Instant::now()));
    assert_eq!(service.overdue(Duration::ZERO), 3);
    assert_eq!(service.overdue(Duration::from_secs(3600)), 0);
    service.waiting.begin(None);
    assert_eq!(service.overdue(Duration::ZERO), 0);
}
