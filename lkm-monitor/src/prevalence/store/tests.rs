use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    model::Kind,
    prevalence::tally::{Bucket, DAY_S},
};

const LIMITS: Limits = Limits { window: Window { days: 30 }, max_groups: 1_000_000 };
const NOW_S: u64 = 20_000 * DAY_S;

fn name(number: usize) -> GroupName {
    GroupName::new(Kind::File, ["/x.ko", &number.to_string()])
}

fn opened(folder: &tempfile::TempDir, limits: Limits) -> Store {
    Store::open(&folder.path().join("new/store.redb"), limits).unwrap()
}

fn count_of(store: &mut Store, number: usize, now_s: u64) -> u64 {
    store.get(&name(number)).unwrap().unwrap_or_default().count(day_of(now_s), LIMITS.window)
}

fn all(folder: &tempfile::TempDir) -> BTreeMap<GroupName, Tally> {
    let mut all = BTreeMap::new();
    read_all(&folder.path().join("new/store.redb"), |name, tally| drop(all.insert(name, tally))).unwrap();
    all
}

#[derive(Clone, Debug)]
enum Step {
    Count(Vec<usize>),
    Write,
    /// Nothing is written before it.
    Crash,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0..6_usize, 1..5).prop_map(Step::Count),
        2 => Just(Step::Write),
        1 => Just(Step::Crash),
        1 => (0..40_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn it_counts_what_a_list_of_all_events_counts(steps in proptest::collection::vec(step(), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = opened(&folder, LIMITS);
        // Times of the events of each group: what is on disk, and what is there besides.
        let (mut written, mut events) = (vec![Vec::new(); 6], vec![Vec::new(); 6]);
        let mut now_s = NOW_S;
        for step in steps {
            match step {
                Step::Count(groups) => {
                    let asked: Vec<_> = groups.iter().map(|&group| (name(group), true)).collect();
                    let counted = store.count(&asked, now_s).unwrap();
                    for (&group, counted) in groups.iter().zip(counted) {
                        let since = (now_s / DAY_S - 29) * DAY_S;
                        let before = events[group].iter().filter(|&&at| at >= since).count() as u64;
                        events[group].push(now_s);
                        prop_assert_eq!(counted.tally.count(day_of(now_s), LIMITS.window), before + 1);
                        prop_assert_eq!(counted.seen_before, before > 0);
                    }
                }
                Step::Write => {
                    store.write(now_s, false).unwrap();
                    written.clone_from(&events);
                }
                Step::Crash => {
                    drop(store);
                    store = opened(&folder, LIMITS);
                    events.clone_from(&written);
                }
                Step::Wait(hours) => now_s += hours * 3600,
            }
        }
    }
}

#[test]
fn it_lasts_and_has_one_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    let epoch = store.epoch();
    store.count(&[(name(1), true), (name(1), false)], NOW_S).unwrap();
    store.write(NOW_S, false).unwrap();
    drop(store);
    let mut store = opened(&folder, LIMITS);
    assert_eq!((store.epoch(), count_of(&mut store, 1, NOW_S), count_of(&mut store, 2, NOW_S)), (epoch, 2, 0));
    let elsewhere = tempfile::tempdir().unwrap();
    assert_ne!(opened(&elsewhere, LIMITS).epoch(), epoch);
}

#[test]
fn only_root_can_read_it() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let _store = opened(&folder, LIMITS);
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("new"), mode("new/store.redb")), (0o700, 0o600));
}

#[test]
fn groups_that_are_over_go_when_they_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    store.count(&[(name(1), true)], NOW_S).unwrap();
    store.count(&[(name(2), true)], NOW_S + 20 * DAY_S).unwrap();
    store.write(NOW_S + 31 * DAY_S, false).unwrap();
    assert_eq!(all(&folder).len(), 2, "only when it is asked for");
    store.write(NOW_S + 31 * DAY_S, true).unwrap();
    assert_eq!((all(&folder).into_keys().collect::<Vec<_>>(), store.evicted()), (vec![name(2)], 0));
}

#[test]
fn when_there_are_too_many_what_everybody_can_cause_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, Limits { max_groups: 100, ..LIMITS });
    let of_root: Vec<_> = (0..80).map(|number| (name(number), true)).collect();
    store.count(&of_root, NOW_S).unwrap();
    store.write(NOW_S, false).unwrap();
    for round in 0..20 {
        let flood: Vec<_> = (0..50).map(|number| (name(1000 + round * 50 + number), false)).collect();
        store.count(&flood, NOW_S + 1 + round as u64).unwrap();
        store.write(NOW_S + 100, false).unwrap();
        assert!(all(&folder).len() <= 100, "bounded after each write");
    }
    let all = all(&folder);
    assert!(of_root.iter().all(|(name, _)| all.contains_key(name)), "root's are all there");
    assert_eq!(store.evicted(), 80 + 20 * 50 - 100);
}

#[test]
fn a_baseline_is_imported_beside_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = opened(&folder, LIMITS);
    daemon.count(&[(name(1), true)], NOW_S).unwrap();
    let mut import = opened(&folder, LIMITS);
    assert_eq!(import.import([name(1), name(2)].into_iter(), NOW_S).unwrap(), 2);
    daemon.write(NOW_S, false).unwrap();
    let counted = daemon.count(&[(name(1), true), (name(2), true)], NOW_S).unwrap();
    let seen: Vec<_> = counted
        .iter()
        .map(|counted| (counted.seen_before, counted.tally.in_baseline(day_of(NOW_S), LIMITS.window)))
        .collect();
    assert_eq!(seen, [(true, true), (false, true)]);
    assert_eq!(all(&folder).len(), 2);
}

#[test]
fn what_the_fleet_does_not_know_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    store.count(&[(name(1), true), (name(2), true)], NOW_S).unwrap();
    store.mark_unsent(&name(1));
    store.mark_unsent(&name(2));
    store.write(NOW_S, false).unwrap();
    drop(store);
    let mut store = opened(&folder, LIMITS);
    let unsent = store.unsent(&GroupName::first(), 10).unwrap();
    assert_eq!(unsent.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), [name(1), name(2)]);
    assert_eq!(store.unsent(&GroupName::first(), 1).unwrap().len(), 1);
    assert_eq!(store.unsent(&name(1), 10).unwrap()[0].0, name(2));
    let told: Vec<Bucket> = unsent[0].1.unsent().collect();
    assert_eq!(told, [Bucket { day: 20_000, count: 1, sent: 0 }]);
    store.confirm(&name(1), &told).unwrap();
    store.confirm(&name(7), &told).unwrap();
    assert_eq!(store.unsent(&GroupName::first(), 10).unwrap().len(), 1, "before it is written, too");
    store.write(NOW_S, false).unwrap();
    assert_eq!(store.unsent(&GroupName::first(), 10).unwrap()[0].0, name(2));
    assert_eq!(all(&folder)[&name(1)].unsent().count(), 0);
}

#[test]
fn a_file_that_is_no_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.redb");
    std::fs::write(&path, "not a store, but long enough to be taken for the beginning of one".repeat(200)).unwrap();
    let error = Store::open(&path, LIMITS).unwrap_err().to_string();
    assert!(error.contains("x.redb"), "{error}");
    let error = Store::open(Path::new("/proc/self/x/y.redb"), LIMITS).unwrap_err().to_string();
    assert!(error.contains("/proc/self/x/y.redb"), "{error}");
}

#[test]
fn a_store_of_another_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.redb");
    drop(Store::open(&path, LIMITS).unwrap());
    let database = builder().create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT, b"2".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(Store::open(&path, LIMITS), Err(StoreError::Format { .. })));
}
