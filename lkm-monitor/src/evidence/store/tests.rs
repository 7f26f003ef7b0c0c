mod crash;
mod hostile;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::{
    super::samples::{digest, image, load, part, settings},
    *,
};

const DAY_S: u64 = 86_400;

/// Names in the folder.
fn names(place: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(place.join("evidence"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What can be read of an image and its record.
fn read(place: &Path, image: &KeptImage) -> (Header, Vec<u8>, Record) {
    let archive = Archive::open(&place.join("evidence")).unwrap();
    let mut content = Vec::new();
    let header = archive.image(&digest(image), &mut content).unwrap();
    (header, content, archive.record(&digest(image)).unwrap())
}

fn problems(place: &Path) -> Vec<String> {
    let archive = Archive::open(&place.join("evidence")).unwrap();
    let mut problems = Vec::new();
    archive.verify(&archive.digests().unwrap(), |_, problem| problems.push(problem.to_string()));
    problems
}

fn disk_bytes(place: &Path) -> u64 {
    let sizes = names(place).into_iter().filter(|name| name != "clock.json");
    sizes.map(|name| fs::metadata(place.join("evidence").join(name)).unwrap().len()).sum()
}

#[test]
fn an_image_is_kept_once_and_each_load_is_told() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let evil = image(1, 5000);
    assert_eq!(store.keep(&evil, &load(10)).unwrap(), Kept::New);
    let hash = hex(&digest(&evil));
    assert_eq!(names(place.path()), [format!("{hash}.evidence"), format!("{hash}.json")]);
    let path = place.path().join(format!("evidence/{hash}.evidence"));
    let written = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
    for name in names(place.path()) {
        let mode = fs::metadata(place.path().join("evidence").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
    for magic in [b"\x7fELF".as_slice(), b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"] {
        assert!(!written.1.starts_with(magic));
    }

    assert_eq!(store.keep(&evil, &load(20)).unwrap(), Kept::Known);
    assert_eq!((fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap()), written, "it is not written again");
    let (header, content, record) = read(place.path(), &evil);
    assert_eq!(*content, *evil.content);
    assert_eq!((header.size, header.kept_bytes, header.captured.as_second()), (5000, 5000, 10));
    assert_eq!((record.first_seen.as_second(), record.last_seen.as_second(), record.loads), (10, 20, 2));
    let totals = store.totals();
    assert_eq!([Count::Kept, Count::Known, Count::Restored].map(|count| totals.get(count)), [1, 1, 0]);
    assert_eq!((totals.images(), totals.bytes()), (1, disk_bytes(place.path())));
    assert_eq!(problems(place.path()), Vec::<String>::new());
}

#[test]
fn another_daemon_goes_on_where_the_first_one_ended() {
    let place = tempfile::tempdir().unwrap();
    for second in 0..3 {
        let mut store = Store::open(settings(place.path())).unwrap();
        let expected = if second == 0 { Kept::New } else { Kept::Known };
        assert_eq!(store.keep(&image(1, 100), &load(second)).unwrap(), expected);
        assert_eq!(store.totals().bytes(), disk_bytes(place.path()));
    }
    assert_eq!(read(place.path(), &image(1, 100)).2.loads, 3);
}

#[test]
fn a_whole_image_that_a_longer_one_begins_with_does_not_stand_for_that() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let short = image(1, 100);
    store.keep(&short, &load(1)).unwrap();
    store.keep(&part(&short, 150), &load(2)).unwrap();
    store.keep(&short, &load(3)).unwrap();
    let (header, _, record) = read(place.path(), &short);
    assert_eq!((header.size, header.is_whole(), record.size), (150, false, 150));
    let sizes: Vec<_> = record.shown_loads.iter().map(|load| load.image_bytes).collect();
    assert_eq!(sizes, [100, 150, 100]);
}

#[test]
fn a_folder_that_is_not_in_its_place_takes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let folder = place.path().join("evidence");
    fs::rename(&folder, place.path().join("elsewhere")).unwrap();
    for is_there in [false, true] {
        let error = store.keep(&image(1, 100), &load(1)).unwrap_err();
        assert!(error.to_string().contains("renamed"), "{error}");
        if !is_there {
            fs::create_dir(&folder).unwrap();
        }
    }
    assert_eq!(store.totals().get(Count::Failed), 2);
    fs::remove_dir(&folder).unwrap();
    fs::rename(place.path().join("elsewhere"), &folder).unwrap();
    assert_eq!(store.keep(&image(1, 100), &load(1)).unwrap(), Kept::New);
}

#[test]
fn the_first_part_of_an_image_says_so() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let evil = part(&image(1, 100), 70 << 20);
    store.keep(&evil, &load(1)).unwrap();
    let (header, content, record) = read(place.path(), &evil);
    assert_eq!((header.size, header.kept_bytes, header.is_whole()), (70 << 20, 100, false));
    assert_eq!((content.len(), record.size, record.kept_bytes), (100, 70 << 20, 100));
}

fn limited(place: &Path, limits: Limits) -> Store {
    Store::open(Settings { limits, ..settings(place) }).unwrap()
}

#[test]
fn bytes_are_bounded_and_the_oldest_goes() {
    let place = tempfile::tempdir().unwrap();
    let mut store = limited(place.path(), Limits { max_bytes: 40_000, ..Limits::default() });
    for seed in 0..6 {
        // The wall clock goes backwards, and does not decide.
        store.keep(&image(seed, 10_000), &load(-(seed as i64))).unwrap();
        assert!(disk_bytes(place.path()) <= 40_000);
        assert_eq!(store.totals().bytes(), disk_bytes(place.path()));
        if seed == 2 {
            store.keep(&image(0, 10_000), &load(0)).unwrap();
        }
    }
    let held: Vec<_> = (0..6).filter(|seed| store.holdings.has(&digest(&image(*seed, 10_000)))).collect();
    assert_eq!(held, [3, 4, 5], "the first one was seen again, before the fourth");
    assert_eq!(store.totals().get(Count::EvictedForBytes), 3);
    assert_eq!(problems(place.path()), Vec::<String>::new());
}

#[test]
fn the_number_is_bounded() {
    let place = tempfile::tempdir().unwrap();
    let mut store = limited(place.path(), Limits { max_images: 2, ..Limits::default() });
    (0..5).for_each(|seed| {
        store.keep(&image(seed, 100), &load(0)).unwrap();
    });
    assert_eq!((names(place.path()).len(), store.totals().images()), (4, 2));
    assert_eq!(store.totals().get(Count::EvictedForNumber), 3);
    // A bound that is lower in the next run holds from its start.
    drop(store);
    let store = limited(place.path(), Limits { max_images: 1, ..Limits::default() });
    assert_eq!((names(place.path()).len(), store.totals().get(Count::EvictedForNumber)), (2, 1));
    assert!(store.holdings.has(&digest(&image(4, 100))));
}

#[test]
fn what_is_not_seen_for_long_expires_over_many_runs() {
    let place = tempfile::tempdir().unwrap();
    let (old, seen) = (image(1, 100), image(2, 100));
    for month in 0..3 {
        let mut store = Store::open(settings(place.path())).unwrap();
        if month == 0 {
            store.keep(&old, &load(0)).unwrap();
        }
        store.keep(&seen, &load(0)).unwrap();
        store.pass(30 * DAY_S).unwrap();
        assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (2, 0));
    }
    let mut store = Store::open(settings(place.path())).unwrap();
    assert_eq!(store.totals().images(), 2, "ninety days are not too long");
    store.pass(1).unwrap();
    assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (1, 1));
    assert!(store.holdings.has(&digest(&seen)));
}

#[test]
fn a_wall_clock_that_jumps_removes_nothing_and_keeps_nothing_for_ever() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let century_s = 100 * 365 * DAY_S as i64;
    store.keep(&image(1, 100), &load(0)).unwrap();
    store.keep(&image(2, 100), &load(century_s)).unwrap();
    store.keep(&image(3, 100), &load(-century_s)).unwrap();
    store.pass(90 * DAY_S).unwrap();
    drop(store);
    let mut store = Store::open(settings(place.path())).unwrap();
    assert_eq!(store.totals().images(), 3);
    store.keep(&image(3, 100), &load(century_s)).unwrap();
    store.pass(1).unwrap();
    assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (1, 2));
}

#[test]
fn what_is_larger_than_the_bound_is_refused_and_counted() {
    let place = tempfile::tempdir().unwrap();
    let mut store = limited(place.path(), Limits { max_bytes: 10_000, ..Limits::default() });
    store.keep(&image(1, 1000), &load(0)).unwrap();
    let before = names(place.path());
    // The last one fits without its record.
    for bytes in [20_000, 10_001, 9_900] {
        let error = store.keep(&image(2, bytes), &load(0)).unwrap_err();
        assert!(matches!(error, EvidenceError::TooLarge { max_bytes: 10_000, .. }), "{error}");
    }
    assert_eq!(store.totals().get(Count::Refused), 3);
    store.settings.limits.max_bytes = u64::MAX;
    let huge = KeptImage { content: vec![0; MAX_IMAGE_BYTES as usize + 1].into(), size: 0 };
    assert!(matches!(store.keep(&huge, &load(0)), Err(EvidenceError::TooLarge { max_bytes: MAX_IMAGE_BYTES, .. })));
    assert_eq!(names(place.path()), before, "nothing went for it");
}

#[test]
fn room_stays_free_on_the_disk() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    store.keep(&image(1, 1000), &load(0)).unwrap();
    store.settings.min_free_bytes = u64::MAX;
    for seed in [1, 2] {
        let error = store.keep(&image(seed, 1000), &load(1)).unwrap_err();
        assert!(matches!(error, EvidenceError::NoRoom { .. }), "{error}");
    }
    assert_eq!((store.totals().get(Count::Failed), store.totals().images()), (2, 1));
    assert_eq!(read(place.path(), &image(1, 1000)).2.loads, 1, "what was there stays");
    store.settings.min_free_bytes = 0;
    assert_eq!(store.keep(&image(2, 1000), &load(2)).unwrap(), Kept::New);
}
