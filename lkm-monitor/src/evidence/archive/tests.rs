use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use super::{
    super::{
        retention::Limits,
        samples::{digest, image, load, settings},
        store::{Settings, Store},
    },
    *,
};

fn kept(place: &Path, seeds: std::ops::Range<u64>) -> PathBuf {
    let mut store = Store::open(settings(place)).unwrap();
    seeds.for_each(|seed| {
        store.keep(&image(seed, 1000), &load(0)).unwrap();
    });
    place.join("evidence")
}

fn problems(archive: &Archive) -> Vec<String> {
    let mut problems = Vec::new();
    let digests = archive.digests().unwrap();
    archive.verify(&digests, |digest, problem| problems.push(format!("{}: {problem}", &hex(digest)[..4])));
    problems
}

#[test]
fn an_image_is_found_by_the_beginning_of_its_hash() {
    let place = tempfile::tempdir().unwrap();
    let path = kept(place.path(), 0..3);
    let archive = Archive::open(&path).unwrap();
    let wanted = digest(&image(1, 1000));
    let digits = hex(&wanted);
    for found in [&digits, &digits[..8], &digits[..9].to_uppercase()] {
        assert_eq!(archive.find(found).unwrap(), wanted);
    }
    for wrong in ["", &digits[..7], &format!("{digits}0"), "xyz45678", "\u{1b}[2Jabcdefgh", "../../etc"] {
        let error = archive.find(wrong).unwrap_err();
        assert!(matches!(error, ArchiveError::NoDigits { .. }), "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    let mut other = wanted;
    other[31] ^= 1;
    assert!(matches!(archive.find(&hex(&other)), Err(ArchiveError::NotFound { .. })));
    fs::write(path.join(Name::Record(other).text()), "").unwrap();
    assert!(matches!(archive.find(&digits[..20]), Err(ArchiveError::Ambiguous { number: 2, .. })));
    assert_eq!(archive.find(&digits).unwrap(), wanted);
}

#[test]
fn a_copy_can_be_read_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    let path = kept(place.path(), 0..2);
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let archive = Archive::open(copy.path()).unwrap();
    let mut content = Vec::new();
    archive.image(&digest(&image(1, 1000)), &mut content).unwrap();
    assert_eq!(*content, *image(1, 1000).content);
    assert_eq!(problems(&archive), Vec::<String>::new());
}

#[test]
fn each_problem_is_told() {
    let place = tempfile::tempdir().unwrap();
    let path = kept(place.path(), 0..5);
    let archive = Archive::open(&path).unwrap();
    let digests = archive.digests().unwrap();
    let [flipped, no_record, no_image, exchanged, good] = digests.as_slice() else { panic!("{digests:?}") };
    let file = |name: Name| path.join(name.text());
    let mut bytes = fs::read(file(Name::Image(*flipped))).unwrap();
    bytes[500] ^= 1;
    fs::write(file(Name::Image(*flipped)), bytes).unwrap();
    fs::remove_file(file(Name::Record(*no_record))).unwrap();
    fs::remove_file(file(Name::Image(*no_image))).unwrap();
    fs::copy(file(Name::Image(*good)), file(Name::Image(*exchanged))).unwrap();
    fs::copy(file(Name::Record(*good)), file(Name::Record(*exchanged))).unwrap();
    let mut expected = [
        (flipped, "the image: its content is damaged"),
        (no_record, "there is an image, and no record"),
        (no_image, "there is a record, and no image"),
        (exchanged, "the image: the file has the name of another one"),
        (exchanged, "the record is that of another image"),
    ]
    .map(|(digest, problem)| format!("{}: {problem}", &hex(digest)[..4]));
    expected.sort();
    let mut found = problems(&archive);
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn who_reads_beside_a_daemon_sees_whole_files() {
    let place = tempfile::tempdir().unwrap();
    let limits = Limits { max_images: 3, ..Limits::default() };
    let mut store = Store::open(Settings { limits, ..settings(place.path()) }).unwrap();
    let archive = Archive::open(&place.path().join("evidence")).unwrap();
    // Of seven images there is room for three: they are removed and written again all the time.
    let mut rounds = 0..;
    let mut keep = || {
        let round = rounds.next().unwrap();
        store.keep(&image(round % 7, 20_000), &load(round as i64)).unwrap();
    };
    (0..7).for_each(|_| keep());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let end = Instant::now() + Duration::from_secs(3);
            let mut found = Vec::new();
            while Instant::now() < end {
                assert!(archive.digests().unwrap().len() >= 2);
                found.extend(problems(&archive));
            }
            ended.store(true, Ordering::Relaxed);
            found
        });
        while !ended.load(Ordering::Relaxed) && !reader.is_finished() {
            keep();
        }
        assert_eq!(reader.join().unwrap(), Vec::<String>::new());
    });
}
