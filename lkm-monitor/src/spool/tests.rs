use std::path::Path;

use super::*;
use crate::model::Class;

pub(super) fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        limits: Limits { max_bytes: 1 << 20, max_age_s: 3600, max_dead_letter_bytes: 1 << 20 },
        min_free_bytes: 0,
        retry: RETRY,
    }
}

pub(super) fn spool(path: &Path) -> Spool {
    let spool = Spool::open(settings(path)).unwrap();
    spool.set_sinks([("siem".to_owned(), false)].into()).unwrap();
    spool
}

pub(super) fn documents(texts: &[&str]) -> Vec<Incoming> {
    let incoming = |text: &&str| Incoming { class: Class::High, happened_ms: 0, json: text.as_bytes().to_vec() };
    texts.iter().map(incoming).collect()
}

pub(super) fn read(spool: &Spool) -> (Batch, Vec<String>) {
    let batch = spool.next("siem", (100, 1 << 20), Duration::ZERO, &Leave::default()).unwrap();
    let texts = batch.entries.iter().map(|entry| String::from_utf8(entry.json.to_vec()).unwrap()).collect();
    (batch, texts)
}

pub(super) fn try_again(spool: &Spool) {
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

#[test]
fn what_was_not_told_is_told_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let first = spool(&path);
    first.count(Count::DeadLettered, "siem", 3);
    first.note_told(first.counts());
    first.count(Count::DeadLettered, "siem", 2);
    assert_eq!(total(&first.before(), Count::DeadLettered), 0, "nothing was told by runs before");
    drop(first);
    let second = spool(&path);
    assert_eq!(total(&second.counts(), Count::DeadLettered) - total(&second.before(), Count::DeadLettered), 2);
}

#[test]
fn a_sink_is_satisfied_when_it_has_asked_and_got_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    read(&spool);
    assert!(spool.is_satisfied("siem"));
    spool.append(&documents(&["a"]));
    assert!(!spool.is_satisfied("siem"));
    let (batch, _) = read(&spool);
    assert!(!spool.is_satisfied("siem"));
    spool.acknowledge("siem", &Receipt::of(&batch)).unwrap();
    read(&spool);
    assert!(spool.is_satisfied("siem"));
}

#[test]
fn a_visitor_does_not_put_a_damaged_file_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    spool(&path).append(&documents(&["a"]));
    let visitor = Spool::open_existing(settings(&path)).unwrap();
    let asked = visitor.ask(|_| Err::<(), _>(redb::Error::Corrupted("a page".to_owned())));
    assert!(asked.is_err() && path.exists() && visitor.condition() == Condition::Durable);
}
