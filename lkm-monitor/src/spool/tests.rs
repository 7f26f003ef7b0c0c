use std::{fs, path::Path};

use super::*;

fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        limits: Limits { max_bytes: 1 << 20, max_age_s: 3600, max_dead_letter_bytes: 1 << 20 },
        min_free_bytes: 0,
        retry: RETRY,
    }
}

fn spool(path: &Path) -> Spool {
    let spool = Spool::open(settings(path)).unwrap();
    spool.set_sinks([("siem".to_owned(), false)].into()).unwrap();
    spool
}

fn documents(texts: &[&str]) -> Vec<Incoming> {
    let incoming = |text: &&str| Incoming { class: Class::High, happened_ms: 0, json: text.as_bytes().to_vec() };
    texts.iter().map(incoming).collect()
}

fn read(spool: &Spool) -> (Batch, Vec<String>) {
    let batch = spool.next("siem", (100, 1 << 20), Duration::ZERO, &Leave::default()).unwrap();
    let texts = batch.entries.iter().map(|entry| String::from_utf8(entry.json.to_vec()).unwrap()).collect();
    (batch, texts)
}

fn try_again(spool: &Spool) {
    spool.try_file_again(&mut spool.inner(), &spool.settings(), Duration::ZERO);
}

#[test]
fn what_came_in_is_there_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    spool(&path).append(&documents(&["a", "b"]));
    let spool = spool(&path);
    let (batch, texts) = read(&spool);
    assert_eq!(texts, ["a", "b"]);
    spool.acknowledge("siem", &Receipt { counts: vec![(Count::Acked, 2)], ..Receipt::of(&batch) }).unwrap();
    assert_eq!((read(&spool).1, spool.bytes()), (vec![], 0));
    assert_eq!((total(&spool.counts(), Count::Spooled), total(&spool.counts(), Count::Acked)), (2, 2));
}

#[test]
fn what_a_visitor_throws_away_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let spool = spool(&path);
    spool.append(&documents(&["a", "b"]));
    Spool::open_existing(settings(&path)).unwrap().purge(&[Class::High]).unwrap();
    assert_eq!((read(&spool).1, total(&spool.counts(), Count::Purged)), (vec![], 2));
}

#[test]
fn who_waits_is_woken_by_a_document_and_by_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    let (long, leave) = (Duration::from_secs(60), Leave::default());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| spool.next("siem", (100, 1 << 20), long, &leave).unwrap().entries.len());
        spool.append(&documents(&["a"]));
        assert_eq!(waits.join().unwrap(), 1);
        let rests = scope.spawn(|| spool.rest(long, &leave));
        spool.dismiss(&leave);
        rests.join().unwrap();
    });
}

#[test]
fn a_spool_that_cannot_be_written_goes_on_in_memory_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state");
    fs::write(&place, "no folder").unwrap();
    let spool = spool(&place.join("spool.redb"));
    assert!(matches!(spool.condition(), Condition::InMemory(_)));
    spool.append(&documents(&["a"]));
    let (batch, texts) = read(&spool);
    assert_eq!(texts, ["a"]);
    spool.acknowledge("siem", &Receipt::of(&batch)).unwrap();
    spool.append(&documents(&["b", "c"]));
    let (before, _) = read(&spool);
    try_again(&spool);
    assert!(matches!(spool.condition(), Condition::InMemory(_)), "nothing has changed");
    fs::remove_file(&place).unwrap();
    try_again(&spool);
    assert_eq!(spool.condition(), Condition::Durable);
    // Numbers of the store in memory mean nothing in the file.
    spool.acknowledge("siem", &Receipt::of(&before)).unwrap();
    spool.append(&documents(&["d"]));
    assert_eq!(read(&spool).1, ["b", "c", "d"]);
    let counts = spool.counts();
    assert_eq!((total(&counts, Count::Unspooled), total(&counts, Count::SpoolError)), (3, 0));
}

#[test]
fn a_damaged_spool_is_put_aside_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    spool(&path).append(&documents(&["a"]));
    let mut content = fs::read(&path).unwrap();
    content[..64].fill(7);
    fs::write(&path, content).unwrap();
    let spool = spool(&path);
    assert_eq!(spool.condition(), Condition::Durable);
    spool.append(&documents(&["b"]));
    assert_eq!(read(&spool).1, ["b"]);
    assert_eq!(total(&spool.counts(), Count::TornRecord), 1);
    assert!(folder.path().join("spool.redb.damaged").exists());
}

#[test]
fn where_the_file_system_is_nearly_full_the_spool_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    let limits = Limits { max_bytes: 4 * LEAST_BYTES, ..spool.settings().limits };
    spool.set_limits(limits, u64::MAX);
    let half = "x".repeat(LEAST_BYTES as usize / 2);
    spool.append(&documents(&[&half, "b"]));
    assert_eq!(total(&spool.counts(), Count::SpoolEvicted), 0, "there is room for a little");
    spool.append(&documents(&[&half]));
    assert_eq!(total(&spool.counts(), Count::SpoolEvicted), 1);
    spool.set_limits(limits, 0);
    spool.append(&documents(&[&half, "d"]));
    let left = spool.next("siem", (100, usize::MAX), Duration::ZERO, &Leave::default()).unwrap().entries;
    assert_eq!(left.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[test]
fn a_spool_that_is_damaged_inside_costs_what_is_in_it_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let texts: Vec<String> = (0..300).map(|number| format!("{number} {}", "x".repeat(1000))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for place in 0..24 {
        let _ = fs::remove_file(&path);
        let before = spool(&path);
        texts.chunks(30).for_each(|texts| before.append(&documents(texts)));
        drop(before);
        let mut content = fs::read(&path).unwrap();
        let at = 4096 + place * (content.len() - 8192) / 24;
        content[at..at + 2048].fill(0xa5);
        fs::write(&path, content).unwrap();
        let spool = spool(&path);
        spool.append(&documents(&["new"]));
        let mut last = Vec::new();
        // A damaged page may be met while reading, which another try does not meet any more.
        for _ in 0..3 {
            while let Ok(batch) = spool.next("siem", (100, 1 << 20), Duration::ZERO, &Leave::default()) {
                let Some(entry) = batch.entries.last() else { break };
                last.clone_from(&entry.json.to_vec());
                let _ = spool.acknowledge("siem", &Receipt::of(&batch));
            }
            spool.append(&documents(&["newer"]));
        }
        let (_, rest) = read(&spool);
        assert!(last == b"newer" || rest.last().is_some_and(|text| text == "newer"), "{place}: nothing goes on");
        assert_eq!(spool.condition(), Condition::Durable, "{place}");
    }
}

#[test]
fn counts_go_on_while_the_file_is_away_and_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    let acknowledge = |batch: &Batch| {
        let counts = vec![(Count::Acked, batch.entries.len() as u64)];
        spool.acknowledge("siem", &Receipt { counts, ..Receipt::of(batch) }).unwrap();
    };
    let totals = || {
        let counts = spool.counts();
        [Count::Spooled, Count::Unspooled, Count::Acked, Count::Retried].map(|count| total(&counts, count))
    };
    spool.append(&documents(&["a", "b"]));
    acknowledge(&read(&spool).0);
    spool.count(Count::Retried, "siem", 5);
    assert_eq!(totals(), [2, 0, 2, 5]);
    spool.go_on_in_memory(&mut spool.inner(), &spool.settings(), "the disk is gone");
    assert_eq!(totals(), [2, 0, 2, 5], "away");
    spool.append(&documents(&["c"]));
    acknowledge(&read(&spool).0);
    spool.append(&documents(&["d", "e"]));
    spool.count(Count::Retried, "siem", 1);
    assert_eq!(totals(), [2, 3, 3, 6], "in memory");
    try_again(&spool);
    assert_eq!(spool.condition(), Condition::Durable);
    assert_eq!(totals(), [4, 3, 3, 6], "two of the three came into the file");
}

#[test]
fn what_came_in_after_the_last_that_a_sink_has_is_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    assert_eq!(spool.waiting(), [("siem".to_owned(), 0)].into());
    spool.append(&documents(&["a", "b"]));
    let (batch, _) = read(&spool);
    spool.append(&documents(&["c"]));
    assert_eq!(spool.waiting()["siem"], 3);
    spool.acknowledge("siem", &Receipt::of(&batch)).unwrap();
    assert_eq!(spool.waiting()["siem"], 1);
}
