use super::*;
use crate::{
    model::{KeyPart, Observation, Scope, Standing, samples},
    prevalence::{Settings, groups::KeyNames, store::Limits, tally::Window},
};

const SECOND_NS: u64 = 1_000_000_000;

fn standings(folder: Option<&tempfile::TempDir>) -> Standings {
    let settings = |folder: &tempfile::TempDir| Settings {
        path: folder.path().join("store.redb"),
        limits: Limits { window: Window { days: 30 }, max_groups: 1_000 },
        fleet: None,
        agent: "a".to_owned(),
        keys: KeyNames::default(),
    };
    Standings::new(Some(Counting {
        service: folder.map(|folder| Service::start(settings(folder)).unwrap()),
        thresholds: Thresholds::default(),
        window_days: 30,
        fleet_patience_ns: SECOND_NS / 4,
    }))
}

fn load() -> Pending {
    Pending::of(Observation::Call(Box::new(samples::load())))
}

fn ask(standings: &mut Standings) -> Option<Weighable> {
    match standings.ask(load(), Verdict::default(), SECOND_NS) {
        Next::Weighable(weighable) => Some(*weighable),
        Next::Waits => None,
        Next::Uncounted(..) => panic!("a load counts"),
    }
}

const FIRST: Standing =
    Standing { scope: Scope::Host, count: 1, agents: 1, first_s: 1, seen_before: false, in_baseline: false };

#[test]
fn an_answer_is_what_it_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut standings = standings(Some(&folder));
    assert!(ask(&mut standings).is_none());
    let answered = standings.answer_before(Instant::now() + std::time::Duration::from_secs(20)).unwrap();
    let weighable = standings.take(answered, SECOND_NS).unwrap();
    assert!(weighable.rarity.rare && matches!(weighable.rarity.answer, Answer::Known(_)));
    assert_eq!(weighable.rarity.settles, Some(answered.id));
    assert_eq!((standings.next_deadline_ns(), standings.not_counted()), (None, 0));
}

#[test]
fn the_fleet_is_waited_for_until_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let mut standings = standings(Some(&folder));
    assert!(ask(&mut standings).is_none());
    let host = Answered { id: 1, answer: Answer::FleetSilent(FIRST), more: true };
    assert!(standings.take(host, 2 * SECOND_NS).is_none());
    assert_eq!(standings.next_deadline_ns(), Some(2 * SECOND_NS + SECOND_NS / 4));
    assert!(standings.expire(2 * SECOND_NS).is_empty());
    let due = standings.expire(3 * SECOND_NS);
    assert_eq!(due[0].rarity.answer, Answer::FleetSilent(FIRST));
    assert_eq!(standings.not_counted(), 0, "the host has counted it");
    let late = Answered { id: 1, answer: Answer::Known(FIRST), more: false };
    assert!(standings.take(late, 3 * SECOND_NS).is_none(), "it has been told");
}

#[test]
fn what_nobody_answers_is_told_as_rare_and_counted_as_a_loss() {
    let folder = tempfile::tempdir().unwrap();
    let mut standings = standings(Some(&folder));
    assert!(ask(&mut standings).is_none());
    let due = standings.expire(2 * SECOND_NS);
    assert!(due[0].rarity.rare && due[0].rarity.answer == Answer::Unknown);
    assert_eq!(standings.not_counted(), 1);
}

#[test]
fn without_a_store_all_is_rare() {
    let mut standings = standings(None);
    let weighable = ask(&mut standings).unwrap();
    assert!(weighable.rarity.rare && weighable.rarity.answer == Answer::Unknown);
    assert_eq!(standings.not_counted(), 1);
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut standings = standings(Some(&folder));
    let at_once = (0..MAX_WAITING + 5).filter(|_| ask(&mut standings).is_some()).count();
    assert_eq!((at_once, standings.waiting.len(), standings.not_counted()), (5, MAX_WAITING, 5));
}

#[test]
fn a_load_that_is_told_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut standings = standings(Some(&folder));
    let mut call = samples::load();
    let outcome = call.outcome.take();
    let mut told = |call: &crate::model::ModuleCall| {
        let pending = Pending::of(Observation::Call(Box::new(call.clone())));
        matches!(standings.ask(pending, Verdict::default(), SECOND_NS), Next::Waits)
    };
    assert!(told(&call));
    (call.told, call.outcome) = (1, outcome);
    assert!(!told(&call));
}

#[test]
fn what_is_rare_becomes_something_else_and_what_groups_are_made_of_does_not() {
    let mut standings = standings(None);
    let modules = Threshold { keys: vec![KeyPart::User], max_agents: 7, ..Threshold::of(crate::model::Kind::Module) };
    standings.follow(Thresholds { modules, ..Thresholds::default() });
    let threshold = ask(&mut standings).unwrap().threshold;
    assert_eq!((threshold.max_agents, threshold.keys), (7, Threshold::of(crate::model::Kind::Module).keys));
}
