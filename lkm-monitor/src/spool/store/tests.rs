use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;
use crate::{
    database,
    spool::{DeadLetter, counts::total},
};

mod power_cut;

const SINKS: [(&str, bool); 2] = [("all", false), ("alerts", true)];
const LIMITS: Limits = Limits { max_bytes: 40_000, max_age_s: 1000, max_dead_letter_bytes: 4000 };

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(&folder);
        Self { folder, store }
    }

    /// As after a crash: nothing but the file is left.
    fn crash(self) -> Self {
        let Self { folder, store } = self;
        drop(store);
        let store = opened(&folder);
        Self { folder, store }
    }

    fn numbers(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        self.store
            .documents(|entry| {
                numbers.push(entry.number);
                true
            })
            .unwrap();
        numbers
    }

    fn total(&self, count: Count) -> u64 {
        total(&self.store.counts().unwrap(), count)
    }
}

fn opened(folder: &tempfile::TempDir) -> Store {
    let (database, _) = database::open(&folder.path().join("spool.redb"), 1 << 20).unwrap();
    let mut store = Store::new(database).unwrap().unwrap();
    store.set_sinks(&SINKS.map(|(name, alerts_only)| (name.to_owned(), alerts_only)).into()).unwrap();
    store
}

fn document(class: Class, len: usize) -> Incoming {
    Incoming { class, happened_ms: 0, json: vec![b'x'; len] }
}

fn of_classes(classes: &[Class]) -> Vec<Incoming> {
    classes.iter().map(|class| document(*class, 1000)).collect()
}

fn take_all(store: &mut Store, sink: &str) -> Vec<u64> {
    let mut taken = Vec::new();
    loop {
        let batch = store.read(sink, 7, 100_000).unwrap();
        store.acknowledge(sink, &Receipt::of(&batch), LIMITS).unwrap();
        if batch.entries.is_empty() {
            return taken;
        }
        taken.extend(batch.entries.into_iter().map(|entry| entry.number));
    }
}

#[test]
fn documents_stay_until_every_sink_has_them() {
    let mut bench = Bench::new();
    bench.store.append(&of_classes(&[Class::High, Class::Telemetry, Class::Low]), 0, LIMITS).unwrap();
    assert_eq!(take_all(&mut bench.store, "all"), [1, 2, 3]);
    assert_eq!(bench.numbers(), [1, 2, 3]);
    let mut bench = bench.crash();
    assert_eq!(take_all(&mut bench.store, "all"), [0; 0], "what was acknowledged stays so");
    assert_eq!(take_all(&mut bench.store, "alerts"), [1, 3]);
    assert_eq!((bench.numbers(), bench.store.bytes().unwrap()), (vec![], 0));
    bench.store.append(&of_classes(&[Class::State]), 0, LIMITS).unwrap();
    assert_eq!(take_all(&mut bench.store, "all"), [4], "no number is given twice");
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    let mut bench = Bench::new();
    bench.store.append(&of_classes(&[Class::High; 5]), 0, LIMITS).unwrap();
    let batch = bench.store.read("all", 2, 100_000).unwrap();
    assert_eq!((batch.entries.len(), &batch.numbers), (2, &Some(1..=2)));
    assert_eq!(bench.store.read("all", 2, 100_000).unwrap(), batch);
    let mut bench = bench.crash();
    assert_eq!(bench.store.read("all", 2, 100_000).unwrap(), batch);
    assert_eq!(bench.store.read("all", 100, 2500).unwrap().entries.len(), 2, "bounded in bytes");
    assert_eq!(bench.store.read("all", 100, 1).unwrap().entries.len(), 1, "but never empty");
}

#[test]
fn the_lowest_class_goes_first_and_the_oldest_of_it() {
    let mut bench = Bench::new();
    let limits = Limits { max_bytes: 5 * 1017, ..LIMITS };
    let classes = [Class::Low, Class::Critical, Class::Telemetry, Class::Low, Class::Loss, Class::High, Class::State];
    bench.store.append(&of_classes(&classes), 0, limits).unwrap();
    assert_eq!(bench.numbers(), [1, 2, 4, 5, 6]);
    bench.store.append(&of_classes(&[Class::Medium]), 0, limits).unwrap();
    assert_eq!(bench.numbers(), [2, 4, 5, 6, 8]);
    bench.store.append(&of_classes(&[Class::Telemetry]), 0, limits).unwrap();
    assert_eq!(bench.numbers(), [2, 4, 5, 6, 8], "what is worth least is not taken in");
    let counts = bench.store.counts().unwrap();
    assert_eq!(counts[&Counter::of_sink(Count::SpoolEvicted, "all")], 4);
    assert_eq!(counts[&Counter::of_sink(Count::SpoolEvicted, "alerts")], 1, "it did not want the others");
}

#[test]
fn what_is_being_delivered_is_not_given_up() {
    let mut bench = Bench::new();
    let limits = Limits { max_bytes: 2 * 1017, ..LIMITS };
    bench.store.append(&of_classes(&[Class::Telemetry, Class::Telemetry]), 0, limits).unwrap();
    let batch = bench.store.read("all", 1, 100_000).unwrap();
    bench.store.append(&of_classes(&[Class::High, Class::High]), 0, limits).unwrap();
    assert_eq!(bench.numbers(), [1, 4]);
    bench.store.acknowledge("all", &Receipt::of(&batch), limits).unwrap();
    bench.store.append(&of_classes(&[Class::High]), 0, limits).unwrap();
    assert_eq!(bench.numbers(), [4, 5]);
}

#[test]
fn age_is_the_time_for_which_daemons_ran() {
    let mut bench = Bench::new();
    bench.store.append(&of_classes(&[Class::High]), 0, LIMITS).unwrap();
    bench.store.append(&of_classes(&[Class::High]), 600, LIMITS).unwrap();
    let mut bench = bench.crash();
    bench.store.append(&of_classes(&[Class::High]), 401, LIMITS).unwrap();
    assert_eq!(bench.numbers(), [2, 3]);
    assert_eq!(bench.store.counts().unwrap()[&Counter::of_sink(Count::SpoolExpired, "alerts")], 1);
}

#[test]
fn a_damaged_chunk_is_counted_and_the_rest_is_delivered() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.store.append(&of_classes(&[Class::High]), 0, LIMITS).unwrap();
    }
    bench.store.change(|tables, _| Ok(tables.chunks.insert(2, b"torn".as_slice()).map(drop)?)).unwrap();
    assert_eq!(bench.store.read("all", 10, 100_000).unwrap().entries.len(), 1);
    assert_eq!(take_all(&mut bench.store, "all"), [1, 3]);
    assert_eq!(bench.total(Count::TornRecord), 1);
}

#[test]
fn dead_letters_are_bounded_and_can_be_taken_out() {
    let mut bench = Bench::new();
    bench.store.append(&of_classes(&[Class::High; 6]), 0, LIMITS).unwrap();
    let batch = bench.store.read("all", 10, 100_000).unwrap();
    let letters: Vec<_> = batch.entries.iter().map(|entry| DeadLetter::new("all", "no such field", 5, entry)).collect();
    let receipt = Receipt { dead_letters: letters, counts: vec![(Count::DeadLettered, 6)], ..Receipt::of(&batch) };
    bench.store.acknowledge("all", &receipt, LIMITS).unwrap();
    let mut bench = bench.crash();
    let left = bench.store.dead_letters().unwrap();
    assert_eq!(left.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5, 6]);
    assert_eq!((left[0].1.class(), left[0].1.reason.as_str()), (Class::High, "no such field"));
    assert_eq!((bench.total(Count::DeadLettered), bench.total(Count::DeadLetterEvicted)), (6, 3));
    bench.store.remove_dead_letters(&[4, 6]).unwrap();
    assert_eq!(bench.store.dead_letter_count().unwrap(), 1);
    bench.store.remove_dead_letters(&[5]).unwrap();
    bench.store.acknowledge("all", &receipt, LIMITS).unwrap();
    let numbers: Vec<u64> = bench.store.dead_letters().unwrap().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [10, 11, 12], "no number is used twice");
    assert_eq!(take_all(&mut bench.store, "alerts").len(), 6, "another sink gets them all the same");
}

#[test]
fn the_lowest_class_of_dead_letters_goes_first_and_the_oldest_of_it() {
    let mut bench = Bench::new();
    let mut bury = |classes: &[Class]| {
        let letter = |class: &Class| {
            DeadLetter::new(
                "all",
                "",
                5,
                &Entry { number: 1, class: *class, happened_ms: 0, json: vec![0; 1000].into() },
            )
        };
        let dead_letters = classes.iter().map(letter).collect();
        bench.store.acknowledge("all", &Receipt { dead_letters, ..Receipt::default() }, LIMITS).unwrap();
        bench.store.dead_letters().unwrap().into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    use Class::*;
    assert_eq!(bury(&[High, Telemetry, Low, Critical, Low, High]), [1, 4, 6]);
    assert_eq!(bury(&[State]), [1, 4, 6], "what is worth least is not kept");
    assert_eq!(bury(&[Critical]), [4, 6, 8]);
    bench.store.retry_dead_letters(&[4, 6]).unwrap();
    assert_eq!(bench.store.read_dead_letters("all", 10).unwrap().resent, [4, 6], "the oldest first");
    assert_eq!(bench.total(Count::DeadLetterEvicted), 5);
}

#[test]
fn a_dead_letter_that_was_sent_again_goes_with_its_receipt() {
    let mut bench = Bench::new();
    bench.store.append(&of_classes(&[Class::High; 2]), 0, LIMITS).unwrap();
    let batch = bench.store.read("all", 10, 100_000).unwrap();
    let letter = |entry| DeadLetter::new("all", "no such field", 5, entry);
    let refused = Receipt { dead_letters: batch.entries.iter().map(letter).collect(), ..Receipt::of(&batch) };
    bench.store.acknowledge("all", &refused, LIMITS).unwrap();
    bench.store.retry_dead_letters(&[1, 2]).unwrap();
    assert!(bench.store.read_dead_letters("alerts", 10).unwrap().entries.is_empty(), "they are another sink's");
    let mut batch = bench.store.read_dead_letters("all", 10).unwrap();
    assert_eq!(batch.resent, [1, 2]);
    batch.end_before(2);
    let receipt = Receipt { counts: vec![(Count::Acked, 1)], ..Receipt::of(&batch) };
    bench.store.acknowledge("all", &receipt, LIMITS).unwrap();
    let bench = bench.crash();
    assert_eq!((bench.store.read_dead_letters("all", 10).unwrap().resent, bench.total(Count::Acked)), (vec![2], 1));
}

#[test]
fn a_sink_that_is_gone_waits_for_nothing() {
    let mut bench = Bench::new();
    bench.store.append(&of_classes(&[Class::High; 3]), 0, LIMITS).unwrap();
    take_all(&mut bench.store, "all");
    bench.store.set_sinks(&[("all".to_owned(), false)].into()).unwrap();
    assert_eq!(bench.numbers(), [0; 0]);
    let purged = bench.store.counts().unwrap().get(&Counter::of_sink(Count::Purged, "alerts")).copied();
    assert_eq!(purged, Some(3), "what it has not got is counted");
}

#[test]
fn what_is_thrown_away_is_counted() {
    let mut bench = Bench::new();
    bench.store.append(&of_classes(&[Class::Telemetry, Class::High, Class::Telemetry]), 0, LIMITS).unwrap();
    assert_eq!(bench.store.purge_some(Class::Telemetry, 0).unwrap(), None);
    assert_eq!(bench.numbers(), [2]);
    assert_eq!(bench.total(Count::Purged), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, usize)>),
    Read { sink: usize, most: usize },
    Acknowledge { sink: usize },
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let documents = prop::collection::vec((0..7_u8, 1..4000_usize), 0..12);
    let step = prop_oneof![
        4 => documents.prop_map(Step::Append),
        3 => (0..2_usize, 1..20_usize).prop_map(|(sink, most)| Step::Read { sink, most }),
        3 => (0..2_usize).prop_map(|sink| Step::Acknowledge { sink }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// For each sink: what came in is what it got, what it waits for, and what was given up and counted.
    #[test]
    fn nothing_is_lost_in_silence(steps in steps()) {
        let mut bench = Bench::new();
        let mut came: HashMap<u64, Class> = HashMap::new();
        let mut taken: [BTreeSet<u64>; 2] = Default::default();
        let mut reading: [Option<Batch>; 2] = [None, None];
        let mut next = 1;
        for step in steps {
            match step {
                Step::Append(documents) => {
                    let documents: Vec<_> = documents.into_iter()
                        .map(|(class, len)| document(Class::from_number(class).unwrap(), len)).collect();
                    let before: BTreeSet<u64> = bench.numbers().into_iter().collect();
                    for incoming in &documents {
                        came.insert(next, incoming.class);
                        next += 1;
                    }
                    bench.store.append(&documents, 1, LIMITS).unwrap();
                    let after: BTreeSet<u64> = bench.numbers().into_iter().collect();
                    let is_held = |number: &u64| bench.store.readers.values().flat_map(|reader| &reader.held)
                        .any(|held| held.contains(number));
                    let gone = before.iter().chain(came.keys().filter(|number| **number >= next - documents.len() as u64))
                        .filter(|number| !after.contains(number));
                    if let Some(highest) = gone.map(|number| came[number]).max() {
                        let lowest = after.iter().filter(|number| !is_held(number)).map(|number| came[number]).min();
                        prop_assert!(lowest.is_none_or(|lowest| lowest >= highest), "{highest:?} went before {lowest:?}");
                    }
                    let held: u64 = after.iter().filter(|number| is_held(number)).count() as u64 * 4017;
                    prop_assert!(bench.store.bytes().unwrap() <= LIMITS.max_bytes + held);
                }
                Step::Read { sink, most } => {
                    reading[sink] = Some(bench.store.read(SINKS[sink].0, most, 20_000).unwrap());
                }
                Step::Acknowledge { sink } => if let Some(batch) = reading[sink].take() {
                    for entry in &batch.entries {
                        prop_assert!(taken[sink].insert(entry.number), "{} twice", entry.number);
                        prop_assert_eq!(came[&entry.number], entry.class);
                    }
                    bench.store.acknowledge(SINKS[sink].0, &Receipt::of(&batch), LIMITS).unwrap();
                },
                Step::Crash => {
                    bench = bench.crash();
                    reading = [None, None];
                }
            }
        }
        let counts = bench.store.counts().unwrap();
        for (sink, (name, alerts_only)) in SINKS.iter().enumerate() {
            let left = take_all(&mut bench.store, name);
            let given_up = counts.get(&Counter::of_sink(Count::SpoolEvicted, name)).copied().unwrap_or_default();
            let wanted = came.values().filter(|class| !alerts_only || class.is_alert()).count() as u64;
            prop_assert!(left.iter().all(|number| !taken[sink].contains(number)));
            prop_assert_eq!(taken[sink].len() as u64 + left.len() as u64 + given_up, wanted, "{}", name);
        }
        prop_assert_eq!((bench.numbers(), bench.store.bytes().unwrap()), (vec![], 0));
    }
}
