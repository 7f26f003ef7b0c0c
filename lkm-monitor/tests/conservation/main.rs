//! Nothing is lost on the way from the spool to a receiver, and nothing is counted twice, whatever happens to either.
//!
//! This program is the receiver, and starts itself anew as the daemon's spool and couriers. These it kills again and again, and takes
//! away their disk. The receiver refuses, forgets, cuts its answers, is slow, and is not there.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test without a harness: a panic is its failure")]

mod carrier;
mod receiver;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use carrier::{SINKS, class, is_poison, settings, wants};
use lkm_monitor::{
    model::Class,
    spool::{Count, Counter, Spool},
};
use receiver::Receiver;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

const DOCUMENTS: u64 = 100_000;
const FAULTS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(600);

/// What the carrier says when its disk takes no more, and when it does again.
const IN_MEMORY: &str = "in memory";
const DURABLE: &str = "durable";

struct Carrier {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Carrier {
    fn start(path: &Path, address: &str) -> Self {
        let program = std::env::current_exe().expect("find this program");
        // What is written beyond the limit of a file's size is an error for it, as on a full disk, and not its end.
        let mut command = Command::new("env");
        command.arg("--ignore-signal=XFSZ").arg(program).arg("carry").arg(path).arg(address).stdout(Stdio::piped());
        let mut process = command.spawn().expect("start this program again");
        let says = BufReader::new(process.stdout.take().expect("hear it")).lines();
        Self { process, says }
    }

    fn kill(mut self) {
        self.process.kill().expect("kill the carrier");
        self.process.wait().expect("wait for the carrier");
    }

    /// Takes the disk away until more documents have come, which were never on it.
    fn without_a_disk(&mut self, fault: u32, receiver: &Receiver) {
        self.limit_files(Some(0));
        self.wait_to_hear(IN_MEMORY);
        receiver.wait_for(u64::from(fault) * 4000 + 1000, PATIENCE);
        self.limit_files(None);
        self.wait_to_hear(DURABLE);
    }

    fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.process.id().cast_signed());
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(pid, Resource::Fsize, limit).expect("limit the size of files");
    }

    fn wait_to_hear(&mut self, what: &str) {
        let heard = self.says.find(|line| line.as_ref().is_ok_and(|line| line == what));
        assert!(heard.is_some(), "the carrier did not say \"{what}\"");
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, mode, path, address] = arguments.as_slice()
        && mode == "carry"
    {
        return carrier::carry(Path::new(path), address, DOCUMENTS);
    }
    let folder = tempfile::tempdir().expect("make a folder");
    let path = folder.path().join("spool.redb");
    let receiver = Receiver::start();
    let start = Instant::now();
    let carrier = || Carrier::start(&path, receiver.address());
    let mut running = carrier();
    for fault in 1..=FAULTS {
        // In the middle of whatever happens then.
        receiver.wait_for(u64::from(fault) * 4000, PATIENCE);
        if fault % 2 == 0 {
            running.without_a_disk(fault, &receiver);
            continue;
        }
        running.kill();
        receiver.note_kill();
        running = carrier();
    }
    receiver.end_faults_at(DOCUMENTS);
    let status = running.process.wait().expect("wait for the carrier");
    assert!(status.success(), "the carrier ended with {status}");
    check(&path, &receiver);
    println!("conservation: {DOCUMENTS} documents to {} sinks in {:.1?}: ok", SINKS.len(), start.elapsed());
}

fn check(path: &Path, receiver: &Receiver) {
    let counts = Spool::open_existing(settings(path)).expect("open the spool").counts();
    let count = |count, sink: Option<&str>| {
        counts.get(&Counter { count, sink: sink.map(str::to_owned) }).copied().unwrap_or_default()
    };
    assert_eq!(count(Count::Spooled, None), DOCUMENTS);
    for (sink, alerts_only) in SINKS {
        let wanted: Vec<u64> = (1..=DOCUMENTS).filter(|number| wants(alerts_only, class(*number))).collect();
        let of = |what| count(what, Some(sink));
        let (acked, evicted, dead) = (of(Count::Acked), of(Count::SpoolEvicted), of(Count::DeadLettered));
        println!(
            "{sink}: {} wanted, {acked} acknowledged, {evicted} given up, {dead} refused, {} sent again",
            wanted.len(),
            of(Count::Retried)
        );
        assert_eq!(acked + evicted + dead, wanted.len() as u64, "{sink}: every document has one end");
        assert!(acked > 0 && evicted > 0 && dead > 0, "{sink}: every kind of end was played");

        let taken: BTreeMap<u64, receiver::Taken> = receiver.taken(sink);
        let missing = wanted.iter().filter(|number| !taken.contains_key(number) && !is_poison(**number));
        let missing: Vec<u64> = missing.copied().collect();
        assert!(taken.len() as u64 >= acked, "{sink}: {acked} were acknowledged, and {} came", taken.len());
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
            let excused = taken.replies_lost;
            assert!(
                taken.times <= 1 + excused,
                "{sink}: {number} came {} times, {excused} answers were lost",
                taken.times
            );
        }
    }
}
