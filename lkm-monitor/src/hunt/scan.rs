//! Reading all input, with all processors: one thread reads and unpacks, the others parse and count.

use std::{
    io::{self, BufRead},
    num::NonZero,
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    Groups, Query,
    record::{self, Prefilter},
    source::{self, Block},
};

/// Blocks that wait for each thread.
const WAITING: usize = 2;
/// Malformed lines that are kept by name; all are counted.
pub const NAMED: usize = 10;

/// What was read.
#[derive(Debug, Default)]
pub struct Totals {
    pub lines: u64,
    pub malformed: u64,
    /// The first malformed lines of each thread, in no order.
    pub named: Vec<Malformed>,
}

/// A line that is no document.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    pub input: String,
    /// From 1 on.
    pub line: u64,
    pub error: String,
}

struct Task {
    /// Index into the names.
    input: usize,
    block: Block,
}

/// Counts what all `inputs` hold, each a name and a way to open it. An input that cannot be opened or read ends the scan.
pub fn scan<R: BufRead>(
    inputs: Vec<(String, impl FnOnce() -> io::Result<R>)>,
    query: &Query,
) -> io::Result<(Groups, Totals)> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let (send, receive) = bounded(threads * WAITING);
    let mut names = Vec::new();
    let mut readers = Vec::new();
    for (name, open) in inputs {
        names.push(name);
        readers.push(open);
    }
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (receive, names) = (receive.clone(), &names);
                scope.spawn(move || work(&receive, names, query))
            })
            .collect();
        drop(receive);
        let read = read(readers, &names, &send);
        drop(send);
        let mut all = (Groups::new(query.max_agents), Totals::default());
        for worker in workers {
            // A worker that panicked has said so.
            let (groups, totals) = worker.join().map_err(|_| io::Error::other("a thread that counts has ended"))?;
            all.0.merge(groups);
            all.1.merge(totals);
        }
        read.map(|()| all)
    })
}

fn read<R: BufRead>(
    readers: Vec<impl FnOnce() -> io::Result<R>>,
    names: &[String],
    send: &Sender<Task>,
) -> io::Result<()> {
    for (input, open) in readers.into_iter().enumerate() {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", names[input]));
        source::blocks(open().map_err(named)?, |block| {
            // Fails when all workers have panicked, which joining them tells.
            send.send(Task { input, block }).is_ok()
        })
        .map_err(named)?;
    }
    Ok(())
}

fn work(tasks: &Receiver<Task>, names: &[String], query: &Query) -> (Groups, Totals) {
    let mut groups = Groups::new(query.max_agents);
    let mut totals = Totals::default();
    let prefilter = Prefilter::new(query.subject);
    for Task { input, block } in tasks {
        for (number, line) in block.lines() {
            totals.lines += 1;
            let found = match line {
                source::Line::Whole(line) if !prefilter.may_count(line) => Ok(None),
                source::Line::Whole(line) => record::parse(line, query.subject).map_err(|error| error.to_string()),
                source::Line::TooLong => Err("it is too long".to_owned()),
            };
            match found {
                Ok(Some(record)) if query.counts(&record) => groups.add(&record),
                Ok(_) => {}
                Err(error) => {
                    totals.malformed += 1;
                    if totals.named.len() < NAMED {
                        totals.named.push(Malformed { input: names[input].clone(), line: number, error });
                    }
                }
            }
        }
    }
    (groups, totals)
}

impl Totals {
    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.malformed += other.malformed;
        self.named.extend(other.named);
    }
}
