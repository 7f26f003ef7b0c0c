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
    read_all(&folder.path().join("new/store.redb"), |_, name, tally| drop(all.insert(name, tally))).unwrap();
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
                    // What is told at once.
                    let mut settled: Vec<usize> = Vec::new();
                    for (&group, counted) in groups.iter().zip(counted) {
                        let since = (now_s / DAY_S - 29) * DAY_S;
                        let before = events[group].iter().filter(|&&at| at >= since).count() as u64;
                        events[group].push(now_s);
                        prop_assert_eq!(counted.tally.count(day_of(now_s), LIMITS.window), before + 1);
                        // Within one batch nothing can have been told.
                        prop_assert_eq!(counted.seen_before, before > 0 && !settled.contains(&group));
                        if !counted.seen_before {
                            settled.push(group);
                        }
                        store.settle(&name(group), true).unwrap();
                    }
                }
                Step::Write => {
                    store.write(now_s, Expiry::WhenFull).unwrap();
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
    store.write(NOW_S, Expiry::WhenFull).unwrap();
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
    store.write(NOW_S + 31 * DAY_S, Expiry::WhenFull).unwrap();
    assert_eq!(all(&folder).len(), 2, "only when it is asked for");
    store.write(NOW_S + 31 * DAY_S, Expiry::Now).unwrap();
    assert_eq!((all(&folder).into_keys().collect::<Vec<_>>(), store.evicted()), (vec![name(2)], 0));
}

#[test]
fn what_everybody_can_cause_does_not_push_out_what_only_root_can() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, Limits { max_groups: 10_000, ..LIMITS });
    let of_root: Vec<_> = (0..7_000).map(|number| (name(number), true)).collect();
    store.count(&of_root, NOW_S).unwrap();
    store.write(NOW_S, Expiry::WhenFull).unwrap();
    for round in 0..20 {
        let flood: Vec<_> = (0..400).map(|number| (name(100_000 + round * 400 + number), false)).collect();
        store.count(&flood, NOW_S + 1 + round as u64).unwrap();
        store.write(NOW_S + 100, Expiry::WhenFull).unwrap();
        assert!(all(&folder).len() <= 7_000 + 2_500, "bounded after each write");
    }
    let all = all(&folder);
    assert!(of_root.iter().all(|(name, _)| all.contains_key(name)), "root's are all there");
    assert_eq!(store.evicted(), 20 * 400 - 2_500);
    assert!(all.contains_key(&name(100_000 + 19 * 400)), "the newest are there");
    // What root does with a group of others makes it one of root's.
    store.count(&[(name(100_000 + 19 * 400), true)], NOW_S).unwrap();
    store.write(NOW_S + 100, Expiry::WhenFull).unwrap();
    assert_eq!(self::all(&folder).values().filter(|tally| tally.privileged).count(), 7_001);
}

#[test]
fn a_clock_that_may_be_wrong_makes_nothing_expire() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, Limits { max_groups: 1_000, ..LIMITS });
    let groups: Vec<_> = (0..750).map(|number| (name(number), true)).collect();
    store.count(&groups, NOW_S).unwrap();
    store.count(&[(name(9_999), true)], NOW_S + 40 * DAY_S).unwrap();
    store.write(NOW_S + 40 * DAY_S, Expiry::Doubtful).unwrap();
    assert_eq!((all(&folder).len(), store.evicted()), (750, 1), "only the one that is too many");
}

#[test]
fn a_first_event_is_one_until_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    let event = [(name(1), true)];
    let seen_before = |store: &mut Store| store.count(&event, NOW_S).unwrap()[0].seen_before;
    assert!(!seen_before(&mut store));
    store.write(NOW_S, Expiry::WhenFull).unwrap();
    drop(store);
    // A crash came before that.
    let mut store = opened(&folder, LIMITS);
    assert!(!seen_before(&mut store));
    store.settle(&name(1), true).unwrap();
    store.write(NOW_S, Expiry::WhenFull).unwrap();
    drop(store);
    assert!(seen_before(&mut opened(&folder, LIMITS)));
}

#[test]
fn nobody_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    store.count(&[(name(1), true)], NOW_S).unwrap();
    super::super::file::hold(&folder.path().join("new/store.redb"), || {
        assert!(!store.write(NOW_S, Expiry::WhenFull).unwrap(), "another process is writing");
        assert_eq!(store.count(&[(name(1), true)], NOW_S).unwrap()[0].tally.count(day_of(NOW_S), LIMITS.window), 2);
    });
    assert!(store.write(NOW_S, Expiry::WhenFull).unwrap());
    assert_eq!(count_of(&mut store, 1, NOW_S), 2);
}

#[test]
fn groups_that_are_made_of_something_else_are_gone() {
    use crate::model::KeyPart;
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    let names = KeyNames::default();
    assert_eq!(store.name_keys(&names).unwrap(), None);
    let tool = GroupName::new(Kind::Tool, ["x", "1"]);
    store.count(&[(name(1), false), (tool.clone(), true)], NOW_S).unwrap();
    store.write(NOW_S, Expiry::WhenFull).unwrap();
    let other = KeyNames { files: vec![KeyPart::Path], ..names.clone() };
    assert_eq!(store.name_keys(&other).unwrap(), Some(names));
    assert_eq!(all(&folder).into_keys().collect::<Vec<_>>(), [tool]);
}

#[test]
fn an_import_changes_no_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = opened(&folder, LIMITS);
    let mut import = opened(&folder, LIMITS);
    daemon.count(&[(name(1), true)], NOW_S).unwrap();
    daemon.write(NOW_S, Expiry::WhenFull).unwrap();
    daemon.count(&vec![(name(1), true); 50], NOW_S).unwrap();
    import.import(&[name(1), name(2)], NOW_S).unwrap();
    daemon.write(NOW_S, Expiry::WhenFull).unwrap();
    assert_eq!((count_of(&mut daemon, 1, NOW_S), count_of(&mut daemon, 2, NOW_S)), (51, 0));
    assert!(all(&folder).values().all(|tally| tally.baseline_day == Some(20_000)));
}

#[test]
fn a_baseline_is_imported_beside_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = opened(&folder, LIMITS);
    daemon.count(&[(name(1), true)], NOW_S).unwrap();
    let mut import = opened(&folder, LIMITS);
    import.import(&[name(1), name(2)], NOW_S).unwrap();
    daemon.write(NOW_S, Expiry::WhenFull).unwrap();
    let counted = daemon.count(&[(name(1), true), (name(2), true)], NOW_S).unwrap();
    let seen: Vec<_> = counted
        .iter()
        .map(|counted| (counted.seen_before, counted.tally.in_baseline(day_of(NOW_S), LIMITS.window)))
        .collect();
    assert_eq!(seen, [(false, true), (false, true)]);
    assert_eq!(all(&folder).len(), 2);
}

#[test]
fn what_the_fleet_does_not_know_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    store.count(&[(name(1), true), (name(2), true)], NOW_S).unwrap();
    store.mark_unsent(&name(1));
    store.mark_unsent(&name(2));
    store.write(NOW_S, Expiry::WhenFull).unwrap();
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
    store.write(NOW_S, Expiry::WhenFull).unwrap();
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
    super::super::file::make_foreign(&path);
    assert!(matches!(Store::open(&path, LIMITS), Err(StoreError::Format { .. })));
}

#[test]
fn what_others_did_is_a_first_event_when_root_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    let seen_before =
        |store: &mut Store, privileged| store.count(&[(name(1), privileged)], NOW_S).unwrap()[0].seen_before;
    assert!(!seen_before(&mut store, false));
    store.settle(&name(1), false).unwrap();
    assert!(seen_before(&mut store, false));
    assert!(!seen_before(&mut store, true), "root's first one");
    store.settle(&name(1), true).unwrap();
    assert!(seen_before(&mut store, true) && seen_before(&mut store, false));
}

#[test]
fn what_is_no_file_of_ours_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::fs::write(path("victim"), "x").unwrap();
    std::fs::set_permissions(path("victim"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(path("victim"), path("link")).unwrap();
    std::fs::hard_link(path("victim"), path("second")).unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    for name in ["fifo", "link", "second", "folder"] {
        let error = Store::open(&path(name), LIMITS).unwrap_err();
        assert!(matches!(error, StoreError::File { .. }) && error.to_string().contains(name), "{error}");
    }
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(path("victim")).unwrap().mode() & 0o777, 0o644, "left as it was");
}

#[test]
fn a_store_that_is_removed_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    store.count(&[(name(1), true)], NOW_S).unwrap();
    store.write(NOW_S, Expiry::WhenFull).unwrap();
    std::fs::remove_file(folder.path().join("new/store.redb")).unwrap();
    store.count(&[(name(2), true)], NOW_S).unwrap();
    store.write(NOW_S, Expiry::WhenFull).unwrap();
    assert_eq!(all(&folder).into_keys().collect::<Vec<_>>(), [name(2)]);
}

#[test]
fn who_holds_the_right_to_write_costs_no_memory_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = opened(&folder, LIMITS);
    super::super::file::hold(&folder.path().join("new/store.redb"), || {
        let many: Vec<_> = (0..=MAX_UNWRITTEN).map(|number| (name(number), false)).collect();
        assert!(matches!(store.count(&many, NOW_S), Err(StoreError::Busy { .. })));
        assert!(store.unwritten.len() <= MAX_UNWRITTEN);
    });
}
