//! Somebody who is root on the host, too, and knows of the folder.

use std::os::unix::fs::symlink;

use super::{
    super::super::step::{Step, faults},
    *,
};

fn path(place: &Path, name: Name) -> PathBuf {
    place.join("evidence").join(name.text())
}

#[test]
fn what_was_tampered_with_is_written_anew() {
    type Tamper = fn(&Path);
    let tampers: [Tamper; 6] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "").unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[1000] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            symlink("/dev/zero", path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        },
        // Whole, but that of another image.
        |path| {
            let other = image(2, 3000);
            let header =
                Header { sha256: digest(&other), size: 3000, kept_bytes: 3000, captured: jiff::Timestamp::UNIX_EPOCH };
            let mut file = Vec::new();
            file::write(&header, &other.content, &mut file).unwrap();
            fs::write(path, file).unwrap();
        },
    ];
    for tamper in tampers {
        let place = tempfile::tempdir().unwrap();
        let mut store = Store::open(settings(place.path())).unwrap();
        store.keep(&image(1, 2000), &load(0)).unwrap();
        tamper(&path(place.path(), Name::Image(digest(&image(1, 2000)))));
        assert_eq!(problems(place.path()).len(), 1);
        assert_eq!(store.keep(&image(1, 2000), &load(1)).unwrap(), Kept::Restored);
        assert_eq!(store.keep(&image(1, 2000), &load(2)).unwrap(), Kept::Known);
        let (_, content, record) = read(place.path(), &image(1, 2000));
        assert_eq!((*content == *image(1, 2000).content, record.loads), (true, 3));
        assert_eq!(store.totals().get(Count::Restored), 1);
        assert_eq!(store.totals().bytes(), disk_bytes(place.path()));
    }
}

#[test]
fn a_record_that_is_damaged_or_gone_is_begun_anew() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    for second in 0..4 {
        store.keep(&image(1, 100), &load(second)).unwrap();
        let path = path(place.path(), Name::Record(digest(&image(1, 100))));
        assert_eq!(read(place.path(), &image(1, 100)).2.loads, 1);
        if second % 2 == 0 { fs::write(path, "{}").unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

#[test]
fn that_an_image_ran_outlives_its_record() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let harmless = KeptLoad { ran: false, ..load(1) };
    store.keep(&image(1, 100), &load(0)).unwrap();
    store.keep(&image(2, 100), &harmless).unwrap();
    for (seed, ran) in [(1, true), (2, false)] {
        let digest = digest(&image(seed, 100));
        fs::write(path(place.path(), Name::Record(digest)), "{}").unwrap();
        store.keep(&image(seed, 100), &harmless).unwrap();
        let record = read(place.path(), &image(seed, 100)).2;
        assert_eq!((record.loads, record.ran, store.holdings.ran(&digest)), (1, ran, ran));
    }
}

#[test]
fn no_more_images_without_a_record_are_adopted_than_are_kept() {
    const PLANTED: u64 = 9;
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let of = |seed| digest(&image(seed, 100));
    (0..PLANTED).for_each(|seed| {
        store.keep(&image(seed, 100), &load(0)).unwrap();
        fs::remove_file(path(place.path(), Name::Record(of(seed)))).unwrap();
    });
    drop(store);
    faults::mend();
    let store = limited(place.path(), Limits { max_images: 4, ..Limits::default() });
    let steps = faults::mend();
    let taken = |step| steps.iter().filter(|taken| **taken == step).count();
    assert_eq!((taken(Step::SyncFile), taken(Step::SyncFolder)), (4, 2), "for all at once, and for what went");
    let mut planted: Vec<_> = (0..PLANTED).map(of).collect();
    planted.sort_unstable();
    assert!(planted.iter().take(4).all(|digest| store.holdings.has(digest)), "those of which something is known");
    assert_eq!((store.totals().images(), store.totals().get(Count::EvictedForNumber)), (4, PLANTED - 4));
    assert_eq!(store.totals().bytes(), disk_bytes(place.path()));
    assert_eq!(problems(place.path()), Vec::<String>::new());
}

#[test]
fn links_and_folders_in_the_place_of_files_lead_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let target = place.path().join("shadow");
    fs::write(&target, "secret").unwrap();
    let name = Name::Image(digest(&image(1, 100)));
    let folder = place.path().join("evidence");
    symlink(&target, folder.join(name.new_text())).unwrap();
    symlink(&target, folder.join(name.text())).unwrap();
    symlink(&target, folder.join(Name::Record(digest(&image(1, 100))).new_text())).unwrap();
    store.keep(&image(1, 100), &load(0)).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"secret");
    assert_eq!(problems(place.path()), Vec::<String>::new());

    fs::create_dir(folder.join(Name::Image(digest(&image(2, 100))).text())).unwrap();
    assert!(matches!(store.keep(&image(2, 100), &load(0)), Err(EvidenceError::Folder(_))));
    assert!(names(place.path()).iter().all(|name| !name.ends_with(".new")));
    assert_eq!(store.keep(&image(3, 100), &load(0)).unwrap(), Kept::New);
}

#[test]
fn a_folder_that_is_exchanged_does_not_lead_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    let (folder, moved, theirs) =
        (place.path().join("evidence"), place.path().join("moved"), place.path().join("theirs"));
    fs::create_dir(&theirs).unwrap();
    fs::rename(&folder, &moved).unwrap();
    symlink(&theirs, &folder).unwrap();
    assert!(matches!(store.keep(&image(1, 100), &load(0)), Err(EvidenceError::Folder(FolderError::Moved { .. }))));
    store.pass(3600).unwrap();
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&moved).unwrap().count(), 1, "the clock");
}

#[test]
fn what_a_crash_left_goes_and_what_is_not_ours_stays() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("evidence");
    drop(Store::open(settings(place.path())).unwrap());
    let digits = "ab".repeat(32);
    for left in [format!("{digits}.evidence.new"), format!("{digits}.json.new"), "clock.json.new".to_owned()] {
        fs::write(folder.join(left), "half").unwrap();
    }
    let strange = ["\u{1b}[2J", "notes.txt", "x.new"];
    strange.iter().for_each(|name| fs::write(folder.join(name), "theirs").unwrap());
    fs::create_dir(folder.join("z")).unwrap();
    let mut store = limited(place.path(), Limits { max_bytes: 3000, max_age_s: 1, max_images: 1 });
    store.keep(&image(1, 100), &load(0)).unwrap();
    store.pass(2).unwrap();
    assert_eq!(names(place.path()), ["\u{1b}[2J", "notes.txt", "x.new", "z"]);
}

#[test]
fn records_and_images_that_are_alone_are_held_within_the_bounds() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    (1..4).for_each(|seed| {
        store.keep(&image(seed, 1000), &load(seed as i64)).unwrap();
    });
    drop(store);
    let of = |seed| digest(&image(seed, 1000));
    fs::remove_file(path(place.path(), Name::Image(of(1)))).unwrap();
    fs::remove_file(path(place.path(), Name::Record(of(2)))).unwrap();
    fs::remove_file(path(place.path(), Name::Record(of(3)))).unwrap();
    fs::write(path(place.path(), Name::Image(of(3))), "damaged").unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    assert_eq!((store.totals().images(), store.totals().bytes()), (3, disk_bytes(place.path())));
    let (header, _, record) = read(place.path(), &image(2, 1000));
    assert_eq!((record.loads, record.first_seen, record.size), (0, header.captured, 1000));
    assert!(store.archive.record(&of(3)).is_err(), "nothing is known of what is damaged");
    store.pass(91 * DAY_S).unwrap();
    assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (0, 3));
}

#[test]
fn times_that_are_made_up_neither_remove_others_nor_keep_for_ever() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    (1..3).for_each(|seed| {
        store.keep(&image(seed, 1000), &load(0)).unwrap();
    });
    store.pass(7200).unwrap();
    drop(store);
    let path = path(place.path(), Name::Record(digest(&image(1, 1000))));
    let json = fs::read_to_string(&path).unwrap();
    fs::write(&path, json.replace("\"seen_s\":0", &format!("\"seen_s\":{}", u64::MAX))).unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    assert_eq!(store.totals().images(), 2);
    store.pass(90 * DAY_S).unwrap();
    assert_eq!(store.totals().images(), 1);
    store.pass(1).unwrap();
    assert_eq!(store.totals().images(), 0);
}

#[test]
fn what_cannot_be_removed_does_not_hinder_the_rest() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    (1..4).for_each(|seed| {
        store.keep(&image(seed, 1000), &load(0)).unwrap();
    });
    let oldest = path(place.path(), Name::Image(digest(&image(1, 1000))));
    fs::remove_file(&oldest).unwrap();
    fs::create_dir(&oldest).unwrap();
    assert!(store.pass(91 * DAY_S).is_err());
    assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (1, 2));
    fs::remove_dir(&oldest).unwrap();
    store.pass(1).unwrap();
    assert_eq!((store.totals().images(), store.totals().get(Count::Expired)), (0, 3));
}
