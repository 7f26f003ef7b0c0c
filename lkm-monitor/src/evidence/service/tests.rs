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
    let (service, worker) = Service::prepare(max_bytes);
    let settings = settings(place);
    (service, move || worker.run(|totals| Store::open_counted(settings, totals)))
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
    assert_eq!((waiting.images(), waiting.bytes()), (0, 0));
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
    assert_eq!([Count::Failed, Count::QueueFull].map(|count| service.totals().get(count)), [1, 10]);
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
fn images_are_taken_while_the_store_is_opened() {
    let place = tempfile::tempdir().unwrap();
    let (opening, opens) = bounded(1);
    let (go, hangs) = bounded::<()>(0);
    let settings = settings(place.path());
    let slowly = move |totals| {
        opening.send(thread::current().name().map(str::to_owned)).unwrap();
        assert_eq!(hangs.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Disconnected), "nobody waits");
        Store::open_counted(settings, totals)
    };
    let service = Service::start_with(MAX_WAITING_BYTES, slowly).unwrap();
    assert_eq!(opens.recv().unwrap().as_deref(), Some("evidence"));
    (0..3).for_each(|seed| service.keep(image(seed, 1000), load(0)).unwrap());
    assert_eq!((service.hangs(Duration::ZERO), service.hangs(Duration::from_secs(3600))), (true, false));
    assert_eq!(service.waiting_images(), 3);
    let totals = service.totals();
    drop(go);
    assert_eq!(service.finish(in_time()), Ok(()));
    assert_eq!((totals.get(Count::Kept), totals.images()), (3, 3));
}

#[test]
fn a_store_that_is_still_being_opened_at_the_end_is_no_loss() {
    let place = tempfile::tempdir().unwrap();
    let (service, _go) = held(place.path(), MAX_WAITING_BYTES);
    assert_eq!(service.finish(Instant::now()), Ok(()), "nothing waits");
}

#[test]
fn of_a_store_that_cannot_be_opened_each_image_is_counted_once() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("evidence"), "").unwrap();
    let service = Service::start(settings(place.path()), u64::MAX).unwrap();
    let (mut handed_over, end) = (1, in_time());
    while service.keep(image(1, 1000), load(0)) != Err(QueueError::Ended) {
        assert!(Instant::now() < end, "they are taken for ever");
        handed_over += 1;
        thread::yield_now();
    }
    let totals = service.totals();
    assert_eq!(service.finish(in_time()), Ok(()));
    assert_eq!(totals.get(Count::Failed) + totals.get(Count::QueueFull), handed_over);
}

#[test]
fn what_came_before_the_store_could_not_be_opened_is_counted() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("evidence"), "").unwrap();
    let (service, go) = held(place.path(), MAX_WAITING_BYTES);
    (0..3).for_each(|seed| service.keep(image(seed, 1000), load(0)).unwrap());
    let (totals, waiting) = (service.totals(), Arc::clone(&service.waiting));
    let thread = thread::spawn(go);
    assert_eq!(service.finish(in_time()), Ok(()));
    thread.join().unwrap();
    assert_eq!((totals.get(Count::Failed), waiting.images(), waiting.bytes()), (3, 0, 0));
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
    assert!(!service.hangs(Duration::ZERO), "nobody has begun");
    service.waiting.begin(Some(Instant::now()));
    assert_eq!((service.hangs(Duration::ZERO), service.waiting_images()), (true, 3));
    assert!(!service.hangs(Duration::from_secs(3600)));
    service.waiting.begin(None);
    assert!(!service.hangs(Duration::ZERO));
}
