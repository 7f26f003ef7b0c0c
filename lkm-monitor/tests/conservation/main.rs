//! Nothing is lost on the way from the spool to a receiver, and nothing is counted twice, whatever happens to either.
//!
//! This program is the receiver, and starts itself anew as the daemon's spool and couriers. These it kills again and again, and takes
//! away their disk. The receiver refuses, forgets, cuts its answers, is slow, and is not there.
//!
//! A disk that is taken away between the end of a transaction and the word that it ended leaves the carrier unsure: what it did then it
//! does again elsewhere, and counts again. That is what may be there twice: the last documents of before, and one batch that was delivered.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test without a harness: a panic is its failure")]

mod carrier;
mod receiver;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines},
    ops::RangeInclusive,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use carrier::{BRINGING, Bringing, DURABLE, IN_MEMORY, SINKS, class, is_poison, settings, wants};
use lkm_monitor::{
    model::Class,
    spool::{Count, Counter, Spool},
};
use receiver::Receiver;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

const DOCUMENTS: u64 = 100_000;
const FAULTS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(600);

/// Documents of a batch at the most.
const BATCH: u64 = 200;

/// Of documents.
type Numbers = RangeInclusive<u64>;

struct Carrier {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
    /// What it said last that it brings in.
    bringing: Bringing,
}

impl Carrier {
    fn start(path: &Path, address: &str, before: Bringing) -> Self {
        let program = std::env::current_exe().expect("find this program");
        // What is written beyond the limit of a file's size is an error for it, as on a full disk, and not its end.
        let mut command = Command::new("env");
        command.arg("--ignore-signal=XFSZ").arg(program).arg("carry").arg(path).arg(address).stdout(Stdio::piped());
        command.arg(format!("{} {} {}", before.first, before.last, before.spooled));
        let mut process = command.spawn().expect("start this program again");
        let says = BufReader::new(process.stdout.take().expect("hear it")).lines();
        Self { process, says, bringing: before }
    }

    /// What it was bringing in.
    fn kill(mut self) -> Bringing {
        self.process.kill().expect("kill the carrier");
        self.process.wait().expect("wait for the carrier");
        self.listen_for(None);
        self.bringing
    }

    /// Takes the disk away until more documents have come, which were never on it. Which ones were being brought in when that was noticed.
    fn without_a_disk(&mut self, fault: u32, receiver: &Receiver) -> Numbers {
        self.limit_files(Some(0));
        self.wait_to_hear(IN_MEMORY);
        let last = self.bringing.numbers();
        receiver.wait_for(u64::from(fault) * 4000 + 1000, PATIENCE);
        self.limit_files(None);
        self.wait_to_hear(DURABLE);
        last
    }

    fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.process.id().cast_signed());
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(pid, Resource::Fsize, limit).expect("limit the size of files");
    }

    fn wait_to_hear(&mut self, what: &str) {
        assert!(self.listen_for(Some(what)), "the carrier did not say \"{what}\"");
    }

    /// Listens until it says this, or has ended.
    fn listen_for(&mut self, what: Option<&str>) -> bool {
        for line in self.says.by_ref().map_while(Result::ok) {
            // The last line may be cut.
            if let Some(bringing) =
                line.strip_prefix(BRINGING).and_then(|numbers| Bringing::parse(numbers.trim_start()))
            {
                self.bringing = bringing;
            }
            if what == Some(line.as_str()) {
                return true;
            }
        }
        false
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, mode, path, address, before] = arguments.as_slice()
        && mode == "carry"
    {
        let before = Bringing::parse(before).expect("three numbers");
        return carrier::carry(Path::new(path), address, DOCUMENTS, &before);
    }
    let folder = tempfile::tempdir().expect("make a folder");
    let path = folder.path().join("spool.redb");
    let receiver = Receiver::start();
    let start = Instant::now();
    let carrier = |before| Carrier::start(&path, receiver.address(), before);
    let mut running = carrier(Bringing { first: 1, last: 0, spooled: 0 });
    let mut unsure = Vec::new();
    for fault in 1..=FAULTS {
        // In the middle of whatever happens then.
        receiver.wait_for(u64::from(fault) * 4000, PATIENCE);
        if fault % 2 == 0 {
            unsure.push(running.without_a_disk(fault, &receiver));
            continue;
        }
        let before = running.kill();
        receiver.note_kill();
        running = carrier(before);
    }
    receiver.end_faults_at(DOCUMENTS);
    running.listen_for(None);
    let status = running.process.wait().expect("wait for the carrier");
    assert!(status.success(), "the carrier ended with {status}");
    check(&path, &receiver, &unsure);
    println!("conservation: {DOCUMENTS} documents to {} sinks in {:.1?}: ok", SINKS.len(), start.elapsed());
}

/// All choices of some of these.
fn choices(of: &[Numbers]) -> impl Iterator<Item = Vec<&Numbers>> {
    (0..1_u32 << of.len()).map(|choice| {
        of.iter().enumerate().filter(|(place, _)| choice >> place & 1 == 1).map(|(_, numbers)| numbers).collect()
    })
}

fn check(path: &Path, receiver: &Receiver, unsure: &[Numbers]) {
    let counts = Spool::open_existing(settings(path)).expect("open the spool").counts();
    let count = |count, sink: Option<&str>| {
        counts.get(&Counter { count, sink: sink.map(str::to_owned) }).copied().unwrap_or_default()
    };
    let spooled = count(Count::Spooled, None);
    let ends = |sink| {
        [Count::Acked, Count::SpoolEvicted, Count::DeadLettered].map(|what| count(what, Some(sink))).iter().sum::<u64>()
    };
    let explains = |twice: &Vec<&Numbers>| {
        let again = || twice.iter().flat_map(|numbers| (**numbers).clone());
        let over = |(sink, alerts_only)| {
            let wanted = (1..=DOCUMENTS).chain(again()).filter(|number| wants(alerts_only, class(*number)));
            ends(sink).checked_sub(wanted.count() as u64)
        };
        let over: Option<Vec<u64>> = SINKS.map(over).into_iter().collect();
        let is_one_batch =
            |over: Vec<u64>| over.iter().filter(|over| **over > 0).count() <= 1 && over.iter().sum::<u64>() <= BATCH;
        DOCUMENTS + again().count() as u64 == spooled && over.is_some_and(is_one_batch)
    };
    let ended = SINKS.map(|(sink, _)| ends(sink));
    let twice = choices(unsure).find(explains);
    let twice =
        twice.unwrap_or_else(|| panic!("not every document has one end: {spooled}, {ended:?}; unsure are {unsure:?}"));
    println!("counted twice: {twice:?}, of {unsure:?}");
    for (sink, alerts_only) in SINKS {
        let wanted: Vec<u64> = (1..=DOCUMENTS).filter(|number| wants(alerts_only, class(*number))).collect();
        let of = |what| count(what, Some(sink));
        let (acked, evicted, dead) = (of(Count::Acked), of(Count::SpoolEvicted), of(Count::DeadLettered));
        println!(
            "{sink}: {} wanted, {acked} acknowledged, {evicted} given up, {dead} refused, {} sent again",
            wanted.len(),
            of(Count::Retried)
        );
        assert!(acked > 0 && evicted > 0 && dead > 0, "{sink}: every kind of end was played");

        let taken: BTreeMap<u64, receiver::Taken> = receiver.taken(sink);
        let missing = wanted.iter().filter(|number| !taken.contains_key(number) && !is_poison(**number));
        let missing: Vec<u64> = missing.copied().collect();
        let counted_twice = ends(sink) - wanted.len() as u64;
        let came = taken.len() as u64 + counted_twice;
        assert!(came >= acked, "{sink}: {acked} were acknowledged, and {came} came");
        assert!(missing.len() as u64 <= evicted, "{sink}: {} are missing, {evicted} were given up", missing.len());
        assert!(missing.iter().all(|number| class(*number) < Class::Critical), "{sink}: nothing of worth was given up");
        let share = |of: Class| {
            let of_class = |numbers: &[u64]| numbers.iter().filter(|number| class(**number) == of).count();
            of_class(&missing) as f64 / of_class(&wanted).max(1) as f64
        };
        let shares: Vec<f64> = Class::ALL.into_iter().filter(|class| wants(alerts_only, *class)).map(share).collect();
        assert!(shares.is_sorted_by(|less, more| less >= more), "{sink}: what is worth more went first: {shares:?}");
        assert!(taken.keys().all(|number| wants(alerts_only, class(*number)) && !is_poison(*number)));
        for (number, taken) in taken {
            let came_twice = unsure.iter().any(|numbers| numbers.contains(&number));
            let excused = taken.replies_lost + u32::from(came_twice);
            assert!(taken.times <= 1 + excused, "{sink}: {number} came {} times, {excused} are excused", taken.times);
        }
    }
}
