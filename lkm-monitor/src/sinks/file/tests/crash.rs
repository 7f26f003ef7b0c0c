//! What a run finds that comes after one that was killed.

use super::*;

#[test]
fn whatever_byte_a_crash_tears_the_file_at_each_document_is_there_once() {
    let (_folder, path) = folder();
    let batch = entries(0..6, 300);
    assert_eq!(sink(settings(&path)).deliver(&batch[..3]), taken(3));
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &whole).map(|newline| newline + 1).collect();
    // Most of the header is white space.
    for len in (0..8).chain(1500..=whole.len()) {
        fs::write(&path, &whole[..len]).unwrap();
        let mut sink = sink(settings(&path));
        // The header is the first line.
        let kept = ends.iter().filter(|end| **end <= len).count().saturating_sub(1);
        let mut fates = vec![Fate::Duplicate; kept];
        fates.resize(5, Fate::Taken);
        assert_eq!(sink.deliver(&batch[..5]), Delivered::Each(fates), "torn at {len}");
        assert_eq!(sink.deliver(&batch[5..]), taken(1));
        let torn = (len > 0 && !ends.contains(&len)).then_some((Count::TornRecord, 1));
        assert_eq!(sink.take_counts(), Vec::from_iter(torn), "torn at {len}");
        assert_eq!(read(&path).1, json_of(&batch), "torn at {len}");
    }
}

#[test]
fn a_long_last_line_is_cut_and_no_other() {
    let (_folder, path) = folder();
    assert_eq!(sink(settings(&path)).deliver(&entries(0..2, 300)), taken(2));
    let mut whole = fs::read(&path).unwrap();
    whole.extend(std::iter::repeat_n(b'x', 200_000));
    fs::write(&path, &whole).unwrap();
    assert_eq!(sink(settings(&path)).deliver(&entries(2..3, 300)), taken(1));
    assert_eq!(read(&path).1, json_of(&entries(0..3, 300)));
}

#[test]
fn what_went_into_the_file_before_the_last_is_known_too() {
    let (folder, path) = folder();
    let batch = entries(0..4, 300);
    assert_eq!(sink(settings(&path)).deliver(&batch[..3]), taken(3));
    // Killed between the two steps of a rotation.
    Folder::open(&path, None).unwrap().retire(Timestamp::now()).unwrap();
    let delivered = sink(settings(&path)).deliver(&batch);
    assert_eq!(delivered, Delivered::Each(vec![Fate::Duplicate, Fate::Duplicate, Fate::Duplicate, Fate::Taken]));
    assert_eq!(files(folder.path()).iter().map(|file| read(file).1.len()).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn the_past_is_forgotten_with_the_first_new_document() {
    let (_folder, path) = folder();
    let batch = entries(0..3, 300);
    assert_eq!(sink(settings(&path)).deliver(&batch[..1]), taken(1));
    let mut sink = sink(settings(&path));
    assert_eq!(sink.deliver(&batch[..1]), Delivered::Each(vec![Fate::Duplicate]));
    assert_eq!(sink.deliver(&batch[..2]), Delivered::Each(vec![Fate::Duplicate, Fate::Taken]));
    assert_eq!(sink.deliver(&batch[..1]), taken(1));
}

#[test]
fn looking_back_is_bounded() {
    let (_folder, path) = folder();
    let many = entries(0..2000, 2500);
    let mut first = sink(FileSettings { rotate_bytes: 1 << 30, ..settings(&path) });
    assert_eq!(first.deliver(&many), taken(2000));
    let mut ids = HashSet::new();
    let read = recent_ids(&File::open(&path).unwrap(), RECENT_BYTES, &mut ids).unwrap();
    assert_eq!(read, RECENT_BYTES);
    let last = |back: u64| format!("{:032x}", 2000 - back);
    assert!(ids.contains(&last(1)) && ids.contains(&last(1000)) && !ids.contains(&last(1900)));
}

#[test]
fn a_document_without_an_id_is_never_known() {
    let (_folder, path) = folder();
    let odd = entry(0, &serde_json::json!({ "message": "odd" }));
    assert_eq!(sink(settings(&path)).deliver(std::slice::from_ref(&odd)), taken(1));
    assert_eq!(sink(settings(&path)).deliver(&[odd]), taken(1));
}
