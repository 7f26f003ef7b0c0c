//! Agents of one fleet, each with its own store.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::server::{Server, free_port, link};
use crate::{
    assess::judge,
    model::{Answer, Kind, Scope, Standing, Threshold, text::hex},
    prevalence::{
        Question, Service, Settings, fleet::FleetSettings, groups::KeyNames, link::LinkSettings, name::GroupName,
        store::Limits, tally::Window,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Agent {
    service: Service,
    asked: u64,
}

fn settings(folder: &Path, number: u32, link: LinkSettings) -> Settings {
    Settings {
        path: folder.join(format!("agent-{number}.redb")),
        limits: Limits { window: Window { days: 30 }, max_groups: 100_000 },
        fleet: Some(FleetSettings { link, prefix: "lkm-monitor:".to_owned() }),
        agent: format!("agent-{number}"),
        keys: KeyNames::default(),
    }
}

fn file(text: &str) -> GroupName {
    GroupName::new(Kind::File, ["/lib/modules/*/x.ko", "/usr/bin/dpkg", text])
}

impl Agent {
    fn start(folder: &Path, number: u32, link: LinkSettings) -> Self {
        Self { service: Service::start(settings(folder, number, link)).unwrap(), asked: 0 }
    }

    /// An event of this group; the last answer on it.
    fn sees(&mut self, name: &GroupName) -> Answer {
        self.asked += 1;
        assert!(self.service.ask(Question { id: self.asked, name: name.clone(), privileged: true }));
        loop {
            let answered = self.service.answer_before(Instant::now() + PATIENCE).expect("an answer");
            if answered.id == self.asked && !answered.more {
                self.service.settle(self.asked, true);
                return answered.answer;
            }
        }
    }

    /// Waits until the fleet's store answers.
    fn reaches(&mut self) {
        let end = Instant::now() + PATIENCE;
        let probe = GroupName::new(Kind::Tool, ["probe"]);
        while !matches!(self.sees(&probe), Answer::Known(_)) {
            assert!(Instant::now() < end, "the fleet's store is not reached");
        }
    }
}

fn is_rare(answer: Answer) -> bool {
    judge(answer, &Threshold::of(Kind::File), None, false)
}

fn known(answer: Answer) -> Standing {
    match answer {
        Answer::Known(standing) => standing,
        other => panic!("{other:?}"),
    }
}

/// Where the server has a group.
fn key(name: &GroupName) -> String {
    let keys = serde_json::to_string(&KeyNames::default()).unwrap();
    format!("lkm-monitor:30:{{{}}}", hex(&name.digest(&keys)))
}

/// Events and agents of a group, by the server.
fn counted(server: &Server, name: &GroupName) -> (u64, usize) {
    let mut command = redis::cmd("HGETALL");
    command.arg(key(name));
    let fields: HashMap<String, String> = server.query(command).unwrap();
    let days = fields.iter().filter(|(field, _)| field.starts_with('d'));
    let events = days.map(|(_, count)| count.parse::<u64>().unwrap()).sum();
    let mut command = redis::cmd("HLEN");
    command.arg(format!("{}:agents", key(name)));
    (events, server.query(command).unwrap())
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_first_three_agents_tell_and_the_fourth_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut agents: Vec<_> =
        (1..=4).map(|number| Agent::start(folder.path(), number, link(&server.address()))).collect();
    agents.iter_mut().for_each(Agent::reaches);
    let group = file("aa");
    let answers: Vec<_> = agents.iter_mut().map(|agent| agent.sees(&group)).collect();
    assert_eq!(answers.iter().map(|answer| is_rare(*answer)).collect::<Vec<_>>(), [true, true, true, false]);
    let stands: Vec<_> = answers.into_iter().map(known).collect();
    assert_eq!(
        stands.iter().map(|stands| (stands.count, stands.agents)).collect::<Vec<_>>(),
        [(1, 1), (2, 2), (3, 3), (4, 4)]
    );
    assert!(stands.iter().all(|stands| stands.scope == Scope::Fleet && !stands.seen_before));
    let again = agents[0].sees(&group);
    assert_eq!((is_rare(again), known(again).seen_before), (false, true));
    assert!(is_rare(agents[0].sees(&file("bb"))), "unknown bytes");
    eventually("all are counted", || counted(&server, &group) == (5, 4));
    let mut command = redis::cmd("TTL");
    command.arg(key(&group));
    let left: u64 = server.query(command).unwrap();
    assert!((30 * 86_400..=31 * 86_400).contains(&left), "{left}");
}

#[test]
fn what_happens_while_the_server_is_gone_is_counted_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let group = file("aa");
    let mut first = Agent::start(folder.path(), 1, link(&server.address()));
    let mut second = Agent::start(folder.path(), 2, link(&server.address()));
    first.reaches();
    second.reaches();
    assert_eq!(known(first.sees(&group)).count, 1);
    server.kill();
    // The host decides, and says so.
    let alone = second.sees(&group);
    assert!(matches!(alone, Answer::FleetSilent(Standing { scope: Scope::Host, count: 1, .. })), "{alone:?}");
    assert!(is_rare(alone));
    for _ in 0..9 {
        second.sees(&group);
    }
    first.sees(&group);
    // One of them is started anew meanwhile.
    drop(second);
    server.restart();
    let second = Agent::start(folder.path(), 2, link(&server.address()));
    eventually("the missed events are merged", || counted(&server, &group) == (12, 2));
    drop(second);
    first.reaches();
    first.sees(&group);
    eventually("and what happens then", || counted(&server, &group) == (13, 2));
}

#[test]
fn a_server_that_was_started_anew_is_found_with_the_next_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut agent = Agent::start(folder.path(), 1, link(&server.address()));
    agent.reaches();
    // Behind each other, so that nothing is on its way when the server goes: what cannot be said then is the server being lost.
    for text in ["aa", "ab", "ac", "ad"] {
        assert_eq!(known(agent.sees(&file(text))).scope, Scope::Fleet);
    }
    server.restart();
    assert_eq!(known(agent.sees(&file("bb"))).scope, Scope::Fleet);
}

#[test]
fn a_server_that_does_not_answer_costs_the_deadline_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let slow = LinkSettings { deadline: Duration::from_millis(250), ..link(&server.address()) };
    let mut agent = Agent::start(folder.path(), 1, slow);
    agent.reaches();
    server.signal(Signal::STOP);
    let group = file("aa");
    agent.asked += 1;
    agent.service.ask(Question { id: agent.asked, name: group.clone(), privileged: true });
    // The host's own answer is there at once; the pipeline waits for a better one no longer than the deadline.
    let answered = agent.service.answer_before(Instant::now() + PATIENCE).unwrap();
    assert!(matches!(answered.answer, Answer::FleetSilent(_)) && answered.more, "{answered:?}");
    // Once that is over, nobody waits.
    eventually("the server is given up", || {
        agent.service.ask(Question { id: 0, name: file("bb"), privileged: true });
        agent
            .service
            .answer_before(Instant::now() + PATIENCE)
            .is_some_and(|answered| answered.id == 0 && !answered.more)
    });
    server.signal(Signal::CONT);
    eventually("the missed event is merged once", || counted(&server, &group) == (1, 1));
}

#[test]
fn an_agent_that_lost_its_store_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let group = file("aa");
    let mut agent = Agent::start(folder.path(), 1, link(&server.address()));
    agent.reaches();
    for _ in 1..=5 {
        known(agent.sees(&group));
    }
    eventually("all are counted", || counted(&server, &group) == (5, 1));
    drop(agent);
    std::fs::remove_file(folder.path().join("agent-1.redb")).unwrap();
    let mut agent = Agent::start(folder.path(), 1, link(&server.address()));
    agent.reaches();
    let stands = known(agent.sees(&group));
    assert_eq!((stands.count, stands.agents, stands.seen_before), (6, 1, false));
}

/// The user has the rights that docs/rarity.md names.
#[test]
fn a_cluster_counts_like_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let nodes: Vec<_> = (0..3)
        .map(|number| {
            let place = folder.path().join(format!("node-{number}"));
            std::fs::create_dir(&place).unwrap();
            let bus = free_port().to_string();
            Server::start_on_port(&place, &["--cluster-enabled", "yes", "--cluster-port", &bus])
        })
        .collect();
    let addresses: Vec<_> = nodes.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    let made = std::process::Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for (node, _) in &nodes {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(&["lkm", "on", ">hush", "~lkm-monitor:*"]).arg(documented_rights());
        node.query::<String>(command).unwrap();
    }
    let whole = LinkSettings {
        addresses: nodes.iter().map(|(node, _)| node.address()).collect(),
        cluster: true,
        user: Some("lkm".to_owned()),
        password: Some("hush".to_owned()),
        ..link(&nodes[0].0.address())
    };
    let mut agents: Vec<_> = (1..=4).map(|number| Agent::start(folder.path(), number, whole.clone())).collect();
    agents.iter_mut().for_each(Agent::reaches);
    for number in 0..40 {
        let group = file(&number.to_string());
        let rare: Vec<_> = agents.iter_mut().map(|agent| is_rare(agent.sees(&group))).collect();
        assert_eq!(rare, [true, true, true, false]);
    }
    let keys = |(node, _): &(Server, u16)| node.query::<u64>(redis::cmd("DBSIZE")).unwrap();
    assert!(nodes.iter().all(|node| keys(node) > 3), "{:?}", nodes.iter().map(keys).collect::<Vec<_>>());
}

/// Those in the documentation's `ACL SETUSER`, of one server and of a cluster.
pub(super) fn documented_rights() -> Vec<&'static str> {
    let text = include_str!("../../../../../docs/rarity.md");
    let line = text.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    line.split_whitespace().filter(|word| word.starts_with('+')).collect()
}

/// What somebody has put into a group's key spoils that group and no other.
#[test]
fn a_poisoned_group_costs_no_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut agent = Agent::start(folder.path(), 1, link(&server.address()));
    agent.reaches();
    let set = |group: &GroupName, field: &str, value: &str| {
        let mut command = redis::cmd("HSET");
        command.arg(key(group)).arg(field).arg(value);
        server.query::<u64>(command).unwrap();
    };
    let today = crate::prevalence::tally::day_of(crate::prevalence::service::now_s());
    for (number, (field, value)) in [
        (format!("d{today}"), "x"),
        (format!("d{today}"), "9223372036854775807"),
        ("dx".to_owned(), "1"),
        ("a1".to_owned(), "nonsense"),
        ("first".to_owned(), "never"),
        ("z".to_owned(), ""),
    ]
    .into_iter()
    .enumerate()
    {
        let group = file(&format!("poisoned {number}"));
        set(&group, &field, value);
        let stands = known(agent.sees(&group));
        assert_eq!((stands.count, stands.agents, stands.scope), (1, 1, Scope::Fleet), "{field} {value}");
    }
    let group = file("of another type");
    let mut command = redis::cmd("SET");
    command.arg(key(&group)).arg("x");
    server.query::<String>(command).unwrap();
    assert!(matches!(agent.sees(&group), Answer::FleetSilent(Standing { count: 1, .. })));
    let group = file("with agents of another type");
    let mut command = redis::cmd("SET");
    command.arg(format!("{}:agents", key(&group))).arg("x");
    server.query::<String>(command).unwrap();
    assert!(matches!(agent.sees(&group), Answer::FleetSilent(Standing { count: 1, .. })));
    assert_eq!(known(agent.sees(&file("another"))).scope, Scope::Fleet);
}

/// Some users' files are told; those of a flood are this host's alone.
#[test]
fn what_everybody_can_cause_does_not_fill_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut agent = Agent::start(folder.path(), 1, link(&server.address()));
    agent.reaches();
    let keys = |server: &Server| server.query::<u64>(redis::cmd("DBSIZE")).unwrap();
    let before = keys(&server);
    let flood = 3_000;
    // Twice each, so that none is new the second time.
    for number in (0..flood).chain(0..flood) {
        agent.service.ask(Question { id: 1_000_000 + number, name: file(&number.to_string()), privileged: false });
        while agent.service.answer_before(Instant::now() + PATIENCE).is_some_and(|answered| answered.more) {}
    }
    // An exchange that a busy machine had no time for is not made again: its group is the host's alone.
    eventually("those that are told are there", || keys(&server) >= before + 2 * 990);
    let flooded = keys(&server);
    assert!(flooded <= before + 2 * 1_000, "{flooded} keys, {before} before");
    assert_eq!(known(agent.sees(&file("of root"))).scope, Scope::Fleet);
    assert_eq!(keys(&server), flooded + 2);
}

/// An answer that was lost is asked for again, and the first event is still the first.
#[test]
fn a_lost_answer_costs_no_alert() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut agent = Agent::start(folder.path(), 1, link(&server.address()));
    agent.reaches();
    let group = file("aa");
    // As if the server had heard of it, and we not of that.
    let mut command = redis::cmd("HSET");
    let today = crate::prevalence::tally::day_of(crate::prevalence::service::now_s());
    let me = hex(&sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix("agent-1"))[..8]);
    command.arg(key(&group)).arg(format!("d{today}")).arg(1);
    server.query::<u64>(command).unwrap();
    let mut command = redis::cmd("HSET");
    command.arg(format!("{}:agents", key(&group))).arg(me).arg(format!("{:08x} {today} {today}:1", store_of(&folder)));
    server.query::<u64>(command).unwrap();
    let answer = agent.sees(&group);
    assert_eq!((known(answer).count, known(answer).agents, is_rare(answer)), (1, 1, true));
}

/// What the store of the first agent is told apart by.
fn store_of(folder: &tempfile::TempDir) -> u32 {
    let limits = Limits { window: Window { days: 30 }, max_groups: 100_000 };
    crate::prevalence::store::Store::open(&folder.path().join("agent-1.redb"), limits).unwrap().epoch() as u32
}
