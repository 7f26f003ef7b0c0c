//! Nothing is lost on the way from the spool to a receiver, and nothing is counted twice, whatever happens to either.
//!
//! This program is the receiver, and starts itself anew as the daemon's spool and couriers, which it kills again and again. The receiver
//! refuses, forgets, cuts its answers, is slow, and is not there.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test without a harness: a panic is its failure")]

mod carrier;
mod receiver;

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use carrier::{SINKS, class, is_poison, settings, wants};
use lkm_monitor::{
    model::Class,
    spool::{Count, Counter, Spool},
};
use receiver::Receiver;

const DOCUMENTS: u64 = 100_000;
const KILLS: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(600);

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
    let carrier = || -> Child {
        let program = std::env::current_exe().expect("find this program");
        let mut command = Command::new(program);
        command.arg("carry").arg(&path).arg(receiver.address()).spawn().expect("start this program again")
    };
    let mut running = carrier();
    for kill in 1..=KILLS {
        // Killed in the middle of whatever it does then.
        receiver.wait_for(u64::from(kill) * 5000, PATIENCE);
        running.kill().expect("kill the carrier");
        running.wait().expect("wait for the carrier");
        receiver.note_kill();
        running = carrier();
    }
    receiver.end_faults_at(DOCUMENTS);
    let status = running.wait().expect("wait for the carrier");
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
        let missing: Vec<u64> =
            wanted.iter().copied().filter(|number| !taken.contains_key(number) && !is_poison(*number)).collect();
        assert!(
            missing.len() as u64 <= evicted,
            "{sink}: {} documents are missing, {evicted} were given up",
            missing.len()
        );
        assert!(missing.iter().all(|number| class(*number) < Class::Critical), "{sink}: nothing of worth was given up");
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
