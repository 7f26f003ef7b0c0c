use std::{collections::BTreeSet, fs, path::Path};

use proptest::prelude::*;

use super::{
    super::{
        Batch, Condition, DeadLetter, Leave,
        tests::{documents, read, settings, spool, try_again},
        total,
    },
    *,
};

mod late;

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
    spool.acknowledge("siem", &Receipt::of(&before)).unwrap();
    spool.append(&documents(&["d"]));
    assert_eq!(read(&spool).1, ["d"]);
    let counts = spool.counts();
    assert_eq!((total(&counts, Count::Unspooled), total(&counts, Count::SpoolError)), (3, 0));
}

#[test]
fn another_daemon_does_not_get_the_same_spool() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let first = spool(&path);
    first.append(&documents(&["a"]));
    let second = spool(&path);
    assert!(matches!(second.condition(), Condition::InMemory(reason) if reason.contains("another daemon")));
    second.append(&documents(&["b"]));
    assert_eq!((read(&first).1, read(&second).1), (vec!["a".to_owned()], vec!["b".to_owned()]));
    try_again(&second);
    assert_ne!(second.condition(), Condition::Durable);
    // Who only looks is no daemon.
    assert_eq!(Spool::open_existing(first.settings()).unwrap().acknowledged().unwrap().len(), 1);
    drop(first);
    try_again(&second);
    assert_eq!(second.condition(), Condition::Durable);
    assert_eq!(read(&second).1, ["a", "b"]);
}

#[test]
fn who_takes_the_lock_away_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let first = spool(&path);
    first.append(&documents(&["a"]));
    fs::remove_file(folder.path().join("spool.redb.lock")).unwrap();
    let second = Spool::open(settings(&path)).unwrap();
    assert_eq!(second.condition(), Condition::Durable);
    first.look_after();
    assert!(matches!(first.condition(), Condition::InMemory(reason) if reason.contains("lock")));
    try_again(&first);
    assert_ne!(first.condition(), Condition::Durable);
    first.append(&documents(&["b"]));
    drop(second);
    try_again(&first);
    assert_eq!(first.condition(), Condition::Durable);
    assert_eq!((read(&first).1, total(&first.counts(), Count::Unspooled)), (vec!["a".to_owned(), "b".to_owned()], 1));
}

#[test]
fn a_file_that_has_its_name_again_is_used_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let spool = spool(&path);
    spool.append(&documents(&["a"]));
    fs::rename(&path, folder.path().join("other")).unwrap();
    spool.look_after();
    assert!(matches!(spool.condition(), Condition::InMemory(_)));
    fs::rename(folder.path().join("other"), &path).unwrap();
    try_again(&spool);
    assert_eq!(spool.condition(), Condition::Durable);
    assert_eq!(read(&spool).1, ["a"]);
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
fn a_store_that_panics_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    spool.count(Count::Retried, "siem", 5);
    spool.counts();
    let asked = spool.with(&mut spool.inner(), |_| -> Result<(), redb::Error> { panic!("a page of an unknown kind") });
    assert!(asked.is_err());
    let counts = spool.counts();
    let totals = [Count::Retried, Count::TornRecord].map(|count| total(&counts, count));
    assert_eq!((totals, spool.condition()), ([5, 1], Condition::Durable), "counts go on in the new file");
}

/// Uses everything that a daemon uses at its start and then.
fn go_on(path: &Path) -> Result<(), String> {
    let spool = spool(path);
    spool.append(&documents(&["new"]));
    spool.note_told(spool.counts());
    let _ = (spool.waiting(), spool.bytes(), spool.dead_letter_count(), spool.dead_letters());
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
    let goes_on = last == b"newer" || rest.last().is_some_and(|text| text == "newer");
    match spool.condition() {
        Condition::Durable if goes_on => Ok(()),
        condition => Err(format!("{condition:?}, last {:?}", String::from_utf8_lossy(&last))),
    }
}

#[test]
fn a_spool_that_is_damaged_inside_costs_what_is_in_it_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let before = spool(&path);
    let texts: Vec<String> = (0..300).map(|number| format!("{number} {}", "x".repeat(1000))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts.chunks(30).for_each(|texts| before.append(&documents(texts)));
    drop(before);
    let whole = fs::read(&path).unwrap();
    // Whatever page it is: of documents, positions, counts, or of what says where these are.
    for (page, _) in whole.chunks(4096).enumerate().skip(1).filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
        let mut damaged = whole.clone();
        damaged[page * 4096..][..2048].fill(0xa5);
        fs::write(&path, damaged).unwrap();
        go_on(&path).unwrap_or_else(|problem| panic!("page {page}: {problem}"));
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
    assert_eq!(totals(), [5, 3, 3, 6], "in memory");
    try_again(&spool);
    assert_eq!(spool.condition(), Condition::Durable);
    assert_eq!(totals(), [5, 3, 3, 6], "back");
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

fn texts(batch: &Batch) -> Vec<String> {
    batch.entries.iter().map(|entry| String::from_utf8(entry.json.to_vec()).unwrap()).collect()
}

fn next(spool: &Spool, sink: &str) -> Batch {
    spool.next(sink, (100, 1 << 20), Duration::ZERO, &Leave::default()).unwrap()
}

fn lose_the_file(spool: &Spool) {
    spool.go_on_in_memory(&mut spool.inner(), &spool.settings(), "the disk is gone");
}

fn with_two_sinks(path: &Path) -> Spool {
    let spool = spool(path);
    spool.set_sinks([("siem".to_owned(), false), ("slow".to_owned(), false)].into()).unwrap();
    spool
}

#[test]
fn a_sink_goes_on_where_it_was_when_the_file_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = with_two_sinks(&folder.path().join("spool.redb"));
    lose_the_file(&spool);
    spool.append(&documents(&["a", "b"]));
    spool.acknowledge("siem", &Receipt::of(&next(&spool, "siem"))).unwrap();
    spool.append(&documents(&["c"]));
    try_again(&spool);
    assert_eq!(texts(&next(&spool, "siem")), ["c"]);
    assert_eq!(texts(&next(&spool, "slow")), ["a", "b", "c"]);
}

#[test]
fn a_receipt_counts_for_the_store_that_its_batch_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let spool = with_two_sinks(&folder.path().join("spool.redb"));
    spool.append(&documents(&["a", "b"]));
    let of_file = next(&spool, "siem");
    lose_the_file(&spool);
    spool.append(&documents(&["c"]));
    spool.acknowledge("siem", &Receipt::of(&of_file)).unwrap();
    let of_memory = next(&spool, "siem");
    assert_eq!(texts(&of_memory), ["c"], "what the file has is not in memory");
    try_again(&spool);
    spool.append(&documents(&["d"]));
    spool.acknowledge("siem", &Receipt::of(&of_memory)).unwrap();
    assert_eq!(texts(&next(&spool, "siem")), ["d"]);
    assert_eq!(texts(&next(&spool, "slow")), ["a", "b", "c", "d"]);
}

#[test]
fn a_dead_letter_that_was_sent_again_while_the_file_was_away_is_sent_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    spool.append(&documents(&["a", "b"]));
    let batch = next(&spool, "siem");
    let letters = batch.entries.iter().map(|entry| DeadLetter::new("siem", "no such field", 5, entry)).collect();
    spool.acknowledge("siem", &Receipt { dead_letters: letters, ..Receipt::of(&batch) }).unwrap();
    spool.retry_dead_letters(&[1]).unwrap();
    let again = spool.next_dead_letters("siem", 10).unwrap();
    lose_the_file(&spool);
    spool.append(&documents(&["c"]));
    let refused = next(&spool, "siem");
    let letters = vec![DeadLetter::new("siem", "no such field", 5, &refused.entries[0])];
    spool.acknowledge("siem", &Receipt { dead_letters: letters, ..Receipt::of(&refused) }).unwrap();
    spool.acknowledge("siem", &Receipt::of(&again)).unwrap();
    assert_eq!(spool.dead_letter_count(), 1, "the number is of the file, and says nothing of a letter in memory");
    try_again(&spool);
    let left = spool.dead_letters().unwrap().into_iter().map(|(_, letter)| letter.json);
    assert_eq!(left.collect::<Vec<_>>(), [b"b", b"c"]);
}

#[test]
fn what_a_sink_is_delivering_is_not_given_up_when_the_file_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(&folder.path().join("spool.redb"));
    spool.append(&documents(&["of the file"]));
    let of_file = next(&spool, "siem");
    lose_the_file(&spool);
    spool.append(&documents(&["of the memory"]));
    spool.set_limits(Limits { max_bytes: 0, ..spool.settings().limits }, 0);
    try_again(&spool);
    spool.append(&documents(&[]));
    assert_eq!(total(&spool.counts(), Count::SpoolEvicted), 1, "nobody is delivering that of the memory");
    let counts = vec![(Count::Acked, 1)];
    spool.acknowledge("siem", &Receipt { counts, ..Receipt::of(&of_file) }).unwrap();
    assert_eq!(total(&spool.counts(), Count::SpoolEvicted) + total(&spool.counts(), Count::Acked), 2);
}

#[test]
fn a_file_that_is_removed_is_told_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool.redb");
    let spool = with_two_sinks(&path);
    spool.append(&documents(&["a", "b"]));
    let counts = vec![(Count::Acked, 2)];
    spool.acknowledge("siem", &Receipt { counts, ..Receipt::of(&next(&spool, "siem")) }).unwrap();
    fs::remove_file(&path).unwrap();
    spool.look_after();
    assert_eq!(spool.condition(), Condition::InMemory("its file was removed or replaced".to_owned()));
    spool.append(&documents(&["c"]));
    try_again(&spool);
    assert_eq!(spool.condition(), Condition::Durable);
    spool.look_after();
    assert_eq!(spool.condition(), Condition::Durable, "the new file is known");
    let totals = |spool: &Spool| {
        let counts = spool.counts();
        [Count::Spooled, Count::Unspooled, Count::Acked].map(|count| total(&counts, count))
    };
    assert_eq!(totals(&spool), [3, 1, 2]);
    drop(spool);
    let spool = with_two_sinks(&path);
    assert_eq!(totals(&spool), [3, 1, 2]);
    assert_eq!(texts(&next(&spool, "siem")), ["c"]);
    assert_eq!(texts(&next(&spool, "slow")), ["a", "b", "c"]);
}

#[test]
fn what_was_counted_before_is_known_when_the_file_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state");
    let path = place.join("spool.redb");
    let last = spool(&path);
    last.append(&documents(&["a"]));
    last.count(Count::DeadLettered, "siem", 7);
    last.note_told(last.counts());
    drop(last);
    fs::rename(&place, folder.path().join("away")).unwrap();
    fs::write(&place, "no folder").unwrap();
    let spool = spool(&path);
    spool.count(Count::DeadLettered, "siem", 1);
    let since = || total(&spool.counts(), Count::DeadLettered) - total(&spool.before(), Count::DeadLettered);
    assert_eq!(since(), 1);
    fs::remove_file(&place).unwrap();
    fs::rename(folder.path().join("away"), &place).unwrap();
    try_again(&spool);
    assert_eq!((spool.condition(), since()), (Condition::Durable, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    /// A sink reads, if it is not delivering.
    Read(usize),
    Acknowledge(usize),
    LoseTheFile,
    TryAgain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..4_usize).prop_map(Step::Append),
        4 => (0..2_usize).prop_map(Step::Read),
        4 => (0..2_usize).prop_map(Step::Acknowledge),
        1 => Just(Step::LoseTheFile),
        1 => Just(Step::TryAgain),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However often the file goes and comes back, whatever is under way then: each sink gets every document once.
    #[test]
    fn nothing_is_skipped_when_stores_take_each_others_place(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let spool = with_two_sinks(&folder.path().join("spool.redb"));
        let sinks = ["siem", "slow"];
        let mut under_way: [Option<Batch>; 2] = [None, None];
        let mut got: [Vec<String>; 2] = [vec![], vec![]];
        let mut made = 0;
        let last = [Step::TryAgain, Step::Acknowledge(0), Step::Acknowledge(1)];
        let ends = (0..2).flat_map(|sink| [Step::Read(sink), Step::Acknowledge(sink)]).cycle().take(80);
        for step in steps.into_iter().chain(last).chain(ends) {
            match step {
                Step::Append(number) => {
                    let texts: Vec<String> = (made..made + number).map(|number| number.to_string()).collect();
                    made += number;
                    spool.append(&documents(&texts.iter().map(String::as_str).collect::<Vec<_>>()));
                }
                Step::Read(sink) if under_way[sink].is_none() => {
                    let batch = spool.next(sinks[sink], (3, 1 << 20), Duration::ZERO, &Leave::default()).unwrap();
                    under_way[sink] = Some(batch);
                }
                Step::Acknowledge(sink) => {
                    if let Some(batch) = under_way[sink].take() {
                        got[sink].extend(texts(&batch));
                        spool.acknowledge(sinks[sink], &Receipt::of(&batch)).unwrap();
                    }
                }
                Step::LoseTheFile if spool.condition() == Condition::Durable => {
                    lose_the_file(&spool);
                }
                Step::TryAgain => try_again(&spool),
                Step::Read(_) | Step::LoseTheFile => {}
            }
        }
        for got in &got {
            let different: BTreeSet<&String> = got.iter().collect();
            prop_assert_eq!((different.len(), got.len()), (made, made), "each came once: {:?}", got);
        }
    }
}
