//! A disk that is full, read-only or broken at any step, and a daemon that dies there.

use rustix::io::Errno;

use super::{
    super::super::step::{Step, faults},
    *,
};

/// More steps than anything here takes.
const ALL: usize = 1000;

/// A store with room for one image, in which there is one that was loaded twice.
fn store(place: &Path) -> Store {
    let mut store = limited(place, Limits { max_images: 1, ..Limits::default() });
    (0..2).for_each(|second| {
        store.keep(&image(0, 300_000), &load(second)).unwrap();
    });
    store
}

/// Steps that it takes to keep an image for which another one has to go.
fn steps() -> Vec<Step> {
    let place = tempfile::tempdir().unwrap();
    let mut store = store(place.path());
    faults::mend();
    store.keep(&image(1, 300_000), &load(5)).unwrap();
    faults::mend()
}

/// Whole files or none, and nothing that the store does not know of.
fn assert_sound(place: &Path, store: &Store) {
    assert_eq!(problems(place), Vec::<String>::new());
    assert_eq!(store.totals().bytes(), disk_bytes(place));
    assert!(names(place).iter().all(|name| !name.ends_with(".new")), "{:?}", names(place));
}

#[test]
fn each_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_the_next_one() {
    let mut steps = steps();
    steps.dedup();
    let file = [Step::Remove, Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncFolder];
    assert_eq!(steps, [file.as_slice(), &file, &[Step::Remove, Step::SyncFolder]].concat());
}

#[test]
fn a_step_that_fails_is_an_error_and_the_next_attempt_is_as_the_first() {
    for (number, step) in steps().into_iter().enumerate() {
        for error in [Errno::NOSPC, Errno::ROFS, Errno::IO] {
            let place = tempfile::tempdir().unwrap();
            let mut store = store(place.path());
            faults::fail(number..number + 1, error);
            let kept = store.keep(&image(1, 300_000), &load(5));
            faults::mend();
            assert!(disk_bytes(place.path()) <= store.totals().bytes(), "{step:?}: bytes that nobody knows of");
            match kept {
                Ok(kept) => assert_eq!(kept, Kept::New),
                Err(EvidenceError::Folder(FolderError::File { source, .. })) => {
                    assert_eq!(source.raw_os_error(), Some(error.raw_os_error()));
                    assert_eq!(store.totals().get(Count::Failed), 1);
                }
                Err(error) => panic!("{step:?}: {error}"),
            }
            store.keep(&image(1, 300_000), &load(6)).unwrap();
            assert_sound(place.path(), &store);
            assert_eq!(store.totals().images(), 1, "{step:?}");
            let (_, content, record) = read(place.path(), &image(1, 300_000));
            assert_eq!(*content, *image(1, 300_000).content);
            assert_eq!(record.last_seen.as_second(), 6, "{step:?}");
        }
    }
}

#[test]
fn a_disk_that_takes_nothing_any_more_leaves_what_is_there() {
    for number in 0..steps().len() {
        let place = tempfile::tempdir().unwrap();
        let mut store = store(place.path());
        faults::fail(number..ALL, Errno::NOSPC);
        let kept = (0..3).filter(|seed| store.keep(&image(seed + 1, 300_000), &load(5)).is_ok()).count();
        faults::mend();
        drop(store);
        let archive = Archive::open(&place.path().join("evidence")).unwrap();
        let whole = |seed| archive.image(&digest(&image(seed, 300_000)), &mut io::sink()).is_ok();
        // The old one goes only when the new one is there.
        assert!(whole(0) || whole(1), "at step {number}");
        assert!(kept == 0 || whole(1), "at step {number}");
    }
}

#[test]
fn wherever_the_daemon_dies_the_next_one_finds_whole_files_and_goes_on() {
    for (number, step) in steps().into_iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        let mut before = store(place.path());
        faults::fail(number..ALL, Errno::IO);
        let kept = before.keep(&image(1, 300_000), &load(5));
        drop(before);
        faults::mend();
        // Nothing goes here, so that all is seen that was left.
        let mut after = Store::open(settings(place.path())).unwrap();
        assert_sound(place.path(), &after);
        let new = after.archive.record(&digest(&image(1, 300_000)));
        match &new {
            Ok(record) => assert!(record.loads <= 1, "{step:?}"),
            Err(_) => assert_eq!(read(place.path(), &image(0, 300_000)).2.loads, 2, "{step:?}"),
        }
        assert!(kept.is_err() || new.is_ok(), "what was said to be kept is there: {step:?}");
        after.keep(&image(1, 300_000), &load(6)).unwrap();
        assert_sound(place.path(), &after);
    }
}

#[test]
fn the_clock_survives_a_crash_but_for_an_hour() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    store.pass(4000).unwrap();
    store.pass(3000).unwrap();
    faults::fail(0..ALL, Errno::ROFS);
    assert!(store.pass(3600).is_err());
    assert!(store.save_clock().is_err());
    faults::mend();
    drop(store);
    assert_eq!(Store::open(settings(place.path())).unwrap().clock.now_s, 4000);
    std::fs::write(place.path().join("evidence/clock.json"), "{\"version\":1").unwrap();
    assert_eq!(Store::open(settings(place.path())).unwrap().clock.now_s, 0);
}

#[test]
fn what_cannot_be_removed_does_not_stop_the_clock() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    store.keep(&image(1, 100), &load(0)).unwrap();
    faults::fail(0..1, Errno::PERM);
    let error = store.pass(91 * DAY_S).unwrap_err().to_string();
    assert_eq!(faults::mend()[0], Step::Remove);
    assert!(error.contains("cannot remove"), "{error}");
    drop(store);
    assert_eq!(Store::open(settings(place.path())).unwrap().clock.now_s, 91 * DAY_S);
}

#[test]
fn an_image_that_a_crash_left_alone_goes_after_what_never_ran() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    store.keep(&image(1, 100), &load(0)).unwrap();
    drop(store);
    fs::remove_file(place.path().join("evidence").join(Name::Record(digest(&image(1, 100))).text())).unwrap();
    let mut store = limited(place.path(), Limits { max_images: 2, ..Limits::default() });
    assert!(read(place.path(), &image(1, 100)).2.ran);
    (2..5).for_each(|seed| {
        store.keep(&image(seed, 100), &KeptLoad { ran: false, ..load(0) }).unwrap();
    });
    let held: Vec<_> = (1..5).filter(|seed| store.holdings.has(&digest(&image(*seed, 100)))).collect();
    assert_eq!(held, [1, 4]);
}

#[test]
fn what_cannot_be_removed_is_removed_later() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    store.keep(&image(1, 100), &load(0)).unwrap();
    faults::fail(0..ALL, Errno::ROFS);
    assert!(store.pass(91 * DAY_S).is_err());
    assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (1, 0));
    faults::mend();
    store.pass(1).unwrap();
    assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (0, 1));
    assert_eq!(names(place.path()), ["clock.json"]);
}
