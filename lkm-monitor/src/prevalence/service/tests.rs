use std::{io::BufRead as _, path::Path, process::Stdio};

use super::*;
use crate::{
    model::Kind,
    prevalence::{
        store::{SYNC, Store},
        tally::{Window, day_of},
    },
};

const WINDOW: Window = Window { days: 30 };
const PATIENCE: Duration = Duration::from_secs(20);

fn settings(folder: &Path) -> Settings {
    Settings {
        path: folder.join("store.redb"),
        limits: Limits { window: WINDOW, max_groups: 100_000 },
        fleet: None,
        agent: "a".to_owned(),
        keys: KeyNames::default(),
    }
}

fn name(text: &str) -> GroupName {
    GroupName::new(Kind::Module, [text])
}

fn ask(service: &mut Service, id: u64, text: &str) -> Answer {
    assert!(service.ask(Question { id, name: name(text), privileged: true }));
    let answered = service.answer_before(Instant::now() + PATIENCE).expect("an answer");
    assert_eq!((answered.id, answered.more), (id, false));
    answered.answer
}

/// Count and whether the group was seen before.
fn of(answer: Answer) -> (u64, bool) {
    match answer {
        Answer::Known(standing) => (standing.count, standing.seen_before),
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_are_counted_and_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(settings(folder.path())).unwrap();
    assert_eq!(of(ask(&mut service, 1, "x")), (1, false));
    assert_eq!(of(ask(&mut service, 2, "x")), (2, true), "the first one is being told");
    assert_eq!(of(ask(&mut service, 3, "y")), (1, false));
    service.settle(1, true);
    service.settle(3, false);
    assert_eq!(of(ask(&mut service, 4, "y")), (2, false), "the first one could not be told");
    drop(service);
    let mut service = Service::start(settings(folder.path())).unwrap();
    assert_eq!(of(ask(&mut service, 1, "x")), (3, true));
    assert_eq!(of(ask(&mut service, 2, "y")), (3, false));
}

#[test]
fn a_store_that_is_damaged_inside_costs_its_counts_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(settings(folder.path())).unwrap();
    for number in 0..300 {
        ask(&mut service, number, &format!("group {number}"));
    }
    drop(service);
    let path = folder.path().join("store.redb");
    let whole = std::fs::read(&path).unwrap();
    for begin in (0..whole.len()).step_by(whole.len() / 24) {
        let mut damaged = whole.clone();
        let end = (begin + 2048).min(damaged.len());
        damaged[begin..end].iter_mut().for_each(|byte| *byte ^= 0xa5);
        std::fs::write(&path, damaged).unwrap();
        let mut service = Service::start(settings(folder.path())).unwrap();
        let mut asked = 0;
        let end = Instant::now() + PATIENCE;
        loop {
            asked += 1;
            let answer = ask(&mut service, asked, &format!("group {}", asked % 300));
            // All of them are read, so that what is damaged is met.
            if asked > 300 && matches!(answer, Answer::Known(_)) {
                break;
            }
            assert!(Instant::now() < end, "damage at {begin}: {answer:?}");
        }
    }
}

#[test]
fn the_end_waits_for_nobody_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(settings(folder.path())).unwrap();
    super::super::file::hold(&folder.path().join("store.redb"), || {
        assert_eq!(of(ask(&mut service, 1, "x")), (1, false), "while another process is writing");
        let began = Instant::now();
        drop(service);
        assert!(began.elapsed() < LAST_WRITE * 2);
    });
}

#[test]
fn a_damaged_store_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(settings(folder.path())).unwrap();
    ask(&mut service, 1, "x");
    drop(service);
    let path = folder.path().join("store.redb");
    let whole = std::fs::read(&path).unwrap();
    let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
    for (number, damaged) in [vec![0xff; whole.len()], whole[..whole.len() / 3].to_vec()].into_iter().enumerate() {
        std::fs::write(&path, damaged).unwrap();
        let mut service = Service::start(settings(folder.path())).unwrap();
        assert_eq!(of(ask(&mut service, 1, "x")), (1, false), "damage {number}");
        drop(service);
    }
    assert!(count(folder.path()) >= 2, "what was damaged is still there");
}

/// Set in the process that will be killed: the folder of its store.
const CHILD: &str = "LKM_MONITOR_TEST_COUNTS_IN";

/// Counts without end, and says how far it is.
#[test]
#[allow(clippy::print_stdout, reason = "another process reads it")]
fn counts_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let mut service = Service::start(settings(Path::new(&folder))).unwrap();
    for number in 1..u64::MAX {
        println!("asked {number}");
        ask(&mut service, number, &format!("{}", number % 7));
        println!("counted {number}");
    }
}

#[test]
fn a_kill_costs_no_more_than_what_waits_to_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut asked, mut kept) = (0, 0);
    for round in 0_u64..3 {
        let program = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new(program)
            .args(["--exact", "prevalence::service::tests::counts_until_it_is_killed", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        // When it said how far it had come.
        let mut counted: Vec<(Instant, u64)> = Vec::new();
        let began = Instant::now();
        let mut this_asked = 0;
        for line in lines {
            let line = line.unwrap();
            // The harness has written something in front of the first one.
            if let Some((_, number)) = line.split_once("asked ") {
                this_asked = number.parse().unwrap();
            } else if let Some(number) = line.strip_prefix("counted ") {
                counted.push((Instant::now(), number.parse().unwrap()));
            }
            if began.elapsed() > Duration::from_millis(2600 + 300 * round) {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let end = counted.last().unwrap().0;
        asked += this_asked;
        // What was counted two intervals before the end has been written, however late we read of it.
        let settled = counted.iter().rev().find(|(at, _)| *at + SYNC * 2 < end).map_or(0, |(_, number)| *number);
        let before = kept;
        kept = total(&folder);
        assert!(kept <= asked, "{kept} are there, of {asked} events");
        assert!(settled > 0 && kept >= before + settled, "{kept} are there, of {before} before and {settled} settled");
    }
}

fn total(folder: &tempfile::TempDir) -> u64 {
    let mut total = 0;
    let store = Store::open(&folder.path().join("store.redb"), settings(folder.path()).limits).unwrap();
    drop(store);
    super::super::store::read_all(&folder.path().join("store.redb"), |_, _, tally| {
        total += tally.count(day_of(now_s()), WINDOW);
    })
    .unwrap();
    total
}

/// Who asked would not wait, and told of it before it was counted.
#[test]
fn what_is_settled_before_it_is_counted_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(settings(folder.path())).unwrap();
    let ask_late = |service: &mut Service, id: u64, told: bool| {
        service.settle(id, told);
        of(ask(service, id, "x"))
    };
    assert_eq!(ask_late(&mut service, 1, false), (1, false));
    assert_eq!(ask_late(&mut service, 2, true), (2, false), "the first one was lost");
    // There was no room for the question.
    service.settle(3, true);
    assert_eq!(of(ask(&mut service, 4, "x")), (3, true));
    drop(service);
    let mut service = Service::start(settings(folder.path())).unwrap();
    assert_eq!(of(ask(&mut service, 1, "x")), (4, true));
}

#[test]
fn of_many_questions_each_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(settings(folder.path())).unwrap();
    let (mut asked, mut answered) = (0_u64, Vec::new());
    // As fast as there is room, so that they come together.
    while asked < 10_000 {
        while asked < 10_000
            && service.ask(Question { id: asked, name: name(&(asked % 50).to_string()), privileged: true })
        {
            asked += 1;
        }
        answered.extend(service.answer_before(Instant::now() + PATIENCE).map(|answered| answered.id));
    }
    while answered.len() < 10_000 {
        answered.push(service.answer_before(Instant::now() + PATIENCE).expect("an answer").id);
    }
    assert!(answered.iter().copied().eq(0..10_000));
}
