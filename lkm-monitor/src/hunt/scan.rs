//! Reading all input, with all processors: one thread reads and unpacks, the others parse and count.

use std::{
    io::{self, BufRead},
    num::NonZero,
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{
    Groups, Query,
    evidence::Tracer,
    record::{self, Prefilter, RecordError},
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
    /// The first malformed lines, in the order of the input.
    pub named: Vec<Malformed>,
}

/// A line that is no document.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its place among the inputs.
    index: usize,
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

/// What a scan keeps of each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// What its row says.
    Figures,
    /// A [`Detail`](super::Detail) too.
    Details,
}

/// Agents that are counted of every group of which details are kept: a report says on how many the groups are that are not rare.
const DETAILED_AGENTS: u64 = 63;

/// Counts what all `inputs` hold, each a name and a way to open it, for all `queries` in one reading. An input that cannot be opened or
/// read ends the scan.
pub fn scan<R: BufRead>(
    inputs: Vec<(String, impl FnOnce() -> io::Result<R>)>,
    queries: &[Query],
    keep: Keep,
) -> io::Result<(Vec<Groups>, Totals)> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let (send, receive) = bounded(threads * WAITING);
    let (done, spare) = bounded(threads * (WAITING + 1));
    let mut names = Vec::new();
    let mut readers = Vec::new();
    for (name, open) in inputs {
        names.push(name);
        readers.push(open);
    }
    let counters = Counters::new(queries, keep);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (receive, done, names, counters) = (receive.clone(), done.clone(), &names, counters.clone());
                scope.spawn(move || work(&receive, &done, names, counters))
            })
            .collect();
        drop(receive);
        let read = read(readers, &names, &send, &spare);
        drop(send);
        let mut all = (counters.into_groups(), Totals::default());
        for worker in workers {
            // A worker that panicked has said so.
            let (groups, totals) = worker.join().map_err(|_| io::Error::other("a thread that counts has ended"))?;
            all.0.iter_mut().zip(groups).for_each(|(all, groups)| all.merge(groups));
            all.1.merge(totals);
        }
        // Each thread named its first ones, so the first of all are among them.
        all.1.named.sort_by_key(|malformed| (malformed.index, malformed.line));
        all.1.named.truncate(NAMED);
        read.map(|()| all)
    })
}

fn read<R: BufRead>(
    readers: Vec<impl FnOnce() -> io::Result<R>>,
    names: &[String],
    send: &Sender<Task>,
    spare: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    for (input, open) in readers.into_iter().enumerate() {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", names[input]));
        let spare = || spare.try_recv().ok();
        // Fails when all workers have panicked, which joining them tells.
        source::blocks(open().map_err(named)?, spare, |block| send.send(Task { input, block }).is_ok())
            .map_err(named)?;
    }
    Ok(())
}

/// Counts for all queries.
#[derive(Clone)]
struct Counters<'a> {
    each: Vec<Counter<'a>>,
    /// Where details are kept.
    tracer: Option<Tracer>,
}

#[derive(Clone)]
struct Counter<'a> {
    query: &'a Query,
    prefilter: Prefilter,
    groups: Groups,
}

impl<'a> Counters<'a> {
    fn new(queries: &'a [Query], keep: Keep) -> Self {
        let most_agents = |query: &Query| match keep {
            Keep::Figures => query.max_agents,
            Keep::Details => query.max_agents.max(DETAILED_AGENTS),
        };
        let counter = |query: &'a Query| Counter {
            query,
            prefilter: Prefilter::new(query.subject),
            groups: Groups::new(most_agents(query)),
        };
        Self { each: queries.iter().map(counter).collect(), tracer: (keep == Keep::Details).then(Tracer::default) }
    }

    fn add(&mut self, line: &[u8]) -> Result<(), RecordError> {
        for Counter { query, prefilter, groups } in &mut self.each {
            if !prefilter.may_count(line) {
                continue;
            }
            let Some(record) = record::parse(line, query.subject)?.filter(|record| query.counts(record)) else {
                continue;
            };
            match &self.tracer {
                Some(tracer) => groups.add_traced(&record, || tracer.trace(line, query.subject)),
                None => groups.add(&record),
            }
        }
        Ok(())
    }

    fn into_groups(self) -> Vec<Groups> {
        self.each.into_iter().map(|counter| counter.groups).collect()
    }
}

fn work(
    tasks: &Receiver<Task>,
    done: &Sender<Vec<u8>>,
    names: &[String],
    mut counters: Counters<'_>,
) -> (Vec<Groups>, Totals) {
    let mut totals = Totals::default();
    for Task { input: index, block } in tasks {
        for (line, text) in block.lines() {
            totals.lines += 1;
            let counted = match text {
                source::Line::Whole(text) => counters.add(text).map_err(|error| error.to_string()),
                source::Line::TooLong => Err("it is too long".to_owned()),
            };
            if let Err(error) = counted {
                totals.malformed += 1;
                if totals.named.len() < NAMED {
                    totals.named.push(Malformed { index, input: names[index].clone(), line, error });
                }
            }
        }
        // Where there is room: what finds none is given back.
        let _ = done.try_send(block.bytes);
    }
    (counters.into_groups(), totals)
}

impl Totals {
    fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.malformed += other.malformed;
        self.named.extend(other.named);
    }
}
