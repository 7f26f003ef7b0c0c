//! What the script counts, against a list of all events.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use proptest::prelude::*;

use super::{
    super::{MAX_MEMBERS, SCRIPT},
    server::{Server, link},
};
use crate::prevalence::{link::Link, service::now_s, tally::day_of};

/// What one agent has counted, and what it says of it.
#[derive(Clone, Debug)]
enum Step {
    /// Events on a day, counted back from today, and said.
    Sees { agent: usize, days_ago: u32, events: u64, is_confirmed: bool },
    /// All that was not confirmed is said once more.
    Repeats { agent: usize },
    /// It begins with an empty store.
    Forgets { agent: usize },
}

fn step(agents: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..agents, 0..3_u32, 1..4_u64, any::<bool>())
            .prop_map(|(agent, days_ago, events, is_confirmed)| Step::Sees { agent, days_ago, events, is_confirmed }),
        2 => (0..agents).prop_map(|agent| Step::Repeats { agent }),
        1 => (0..agents).prop_map(|agent| Step::Forgets { agent }),
    ]
}

#[derive(Clone, Default)]
struct Agent {
    store: u32,
    /// By day: events, and those that the server has confirmed.
    days: BTreeMap<u32, (u64, u64)>,
}

impl Agent {
    /// What it has to say of these days.
    fn call(&self, key: &str, number: usize, days: impl Iterator<Item = u32>) -> Vec<String> {
        let store = format!("{:08x}", self.store);
        let mut call = vec![
            key.to_owned(),
            format!("{key}:agents"),
            number.to_string(),
            store,
            "30".to_owned(),
            MAX_MEMBERS.to_string(),
        ];
        for day in days {
            let (total, confirmed) = self.days.get(&day).copied().unwrap_or_default();
            if total > confirmed {
                call.extend([day.into(), total, confirmed].map(|number: u64| number.to_string()));
            }
        }
        call
    }
}

/// What was said late, and twice, of several days at once, by a clock that goes back and forth, is among the steps.
#[test]
fn it_counts_what_a_list_of_all_events_counts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--appendonly", "no"]);
    let link = RefCell::new(Link::open(&link(&server.address()), SCRIPT).unwrap());
    let case = Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    runner
        .run(&proptest::collection::vec(step(5), 1..40), |steps| {
            case.set(case.get() + 1);
            let key = format!("test:{{{}}}", case.get());
            let today = day_of(now_s());
            let mut agents = vec![Agent::default(); 5];
            let (mut events, mut seen_by) = (0, BTreeSet::new());
            for step in steps {
                let (number, is_confirmed) = match step {
                    Step::Forgets { agent } => {
                        agents[agent] = Agent { store: agents[agent].store + 1, ..Agent::default() };
                        continue;
                    }
                    Step::Sees { agent, days_ago, events: more, is_confirmed } => {
                        agents[agent].days.entry(today - days_ago).or_default().0 += more;
                        events += more;
                        (agent, is_confirmed)
                    }
                    Step::Repeats { agent } => (agent, true),
                };
                let call = agents[number].call(&key, number, (0..3).rev().map(|days_ago| today - days_ago));
                let [count, members, _] = link.borrow_mut().call(&[call]).unwrap()[0];
                seen_by.insert(number);
                prop_assert_eq!((count, members), (events, seen_by.len() as u64));
                if is_confirmed {
                    agents[number].days.values_mut().for_each(|(total, confirmed)| *confirmed = *total);
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut link = Link::open(&link(&server.address()), SCRIPT).unwrap();
    let today = day_of(now_s());
    let set = |key: &str, fields: &[(String, String)]| {
        let mut command = redis::cmd("HSET");
        command.arg(key);
        for (field, value) in fields {
            command.arg(field).arg(value);
        }
        server.query::<u64>(command).unwrap();
    };
    set("k", &[(format!("d{}", today - 30), "7".to_owned()), (format!("d{}", today - 29), "5".to_owned())]);
    set(
        "k:agents",
        &[
            ("old".to_owned(), format!("00 {0} {0}:7", today - 30)),
            ("new".to_owned(), format!("00 {0} {0}:5", today - 29)),
            ("broken".to_owned(), "nonsense".to_owned()),
        ],
    );
    let mut call = ["k", "k:agents", "me", "0", "30", "64"].map(str::to_owned).to_vec();
    call.extend([today.into(), 1, 0].map(|number: u64| number.to_string()));
    let [count, agents, _] = link.call(&[call]).unwrap()[0];
    assert_eq!((count, agents), (6, 2));
    let mut command = redis::cmd("HEXISTS");
    command.arg("k:agents").arg("old");
    assert_eq!(server.query::<u64>(command).unwrap(), 0);
}

#[test]
fn a_wrong_clock_of_a_host_makes_nothing_expire() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut link = Link::open(&link(&server.address()), SCRIPT).unwrap();
    let today = day_of(now_s());
    let mut say = |agent: &str, day: u32, total: u64| {
        let mut call = ["k", "k:agents", agent, "0", "30", "64"].map(str::to_owned).to_vec();
        call.extend([day.into(), total, 0].map(|number: u64| number.to_string()));
        let [count, agents, ..] = link.call(&[call]).unwrap()[0];
        (count, agents)
    };
    assert_eq!(say("a", today, 2), (2, 1));
    assert_eq!(say("b", today + 20_000, 3), (5, 2), "a clock of the far future");
    assert_eq!(say("c", today - 9_000, 4), (5, 3), "and of the past: too old to count, but there");
    assert_eq!(say("a", today, 3), (6, 3));
    assert_eq!(say("b", today + 20_000, 3), (6, 3));
}

#[test]
fn a_group_of_many_agents_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--appendonly", "no"]);
    let mut link = Link::open(&link(&server.address()), SCRIPT).unwrap();
    let today = day_of(now_s());
    for number in 0..500_u64 {
        let agent = format!("{number:016x}");
        let mut call = ["k", "k:agents", &agent, "00000000", "30", "64"].map(str::to_owned).to_vec();
        call.extend([today.into(), 1, 0].map(|number: u64| number.to_string()));
        let [count, agents, ..] = link.call(&[call]).unwrap()[0];
        assert_eq!((count, agents), (number + 1, (number + 1).min(MAX_MEMBERS + 1)));
    }
    let usage = |key: &str| {
        let mut command = redis::cmd("MEMORY");
        command.arg("USAGE").arg(key);
        server.query::<u64>(command).unwrap()
    };
    let bytes = usage("k") + usage("k:agents");
    assert!(bytes < 5000, "{bytes}");
}

/// A full group is looked through again when one of its agents may have been forgotten.
#[test]
fn a_group_that_was_full_is_not_full_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--appendonly", "no"]);
    let mut link = Link::open(&link(&server.address()), SCRIPT).unwrap();
    let today = day_of(now_s());
    let hset = |key: &str, field: &str, value: &str| {
        let mut command = redis::cmd("HSET");
        command.arg(key).arg(field).arg(value);
        server.query::<u64>(command).unwrap();
    };
    for number in 0..MAX_MEMBERS {
        hset("k:agents", &format!("{number}"), &format!("00 {} {0}:1", today - if number < 10 { 29 } else { 3 }));
    }
    let mut agents = |agent: &str| {
        let mut call = ["k", "k:agents", agent, "00", "30", "64"].map(str::to_owned).to_vec();
        call.extend([today.into(), 1, 0].map(|number: u64| number.to_string()));
        link.call(&[call]).unwrap()[0][1]
    };
    assert_eq!(agents("x"), MAX_MEMBERS + 1);
    let mut command = redis::cmd("HGET");
    command.arg("k").arg("full");
    assert_eq!(server.query::<u32>(command).unwrap(), today, "tomorrow ten of them are forgotten");
    assert_eq!((agents("y"), agents("63")), (MAX_MEMBERS + 1, MAX_MEMBERS));
    // Tomorrow has come.
    hset("k", "full", &(today - 1).to_string());
    for number in 0..10 {
        hset("k:agents", &format!("{number}"), &format!("00 {} {0}:1", today - 30));
    }
    assert_eq!(agents("z"), MAX_MEMBERS - 10 + 1);
}
