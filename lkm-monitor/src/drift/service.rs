//! The thread that looks, compares and keeps the record. A disk that hangs hangs it alone.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use rustix::time::{ClockId, clock_gettime};

use super::{
    compare::{Between, Watch, compare, settled},
    look::{Subjects, Who, look},
    packages::Asker,
    record::{self, Record},
    seen::{Notes, Part, Seen},
};
use crate::{
    lifecycle::background,
    model::{Drift, Drifted, HostState, Moment, Predecessor, RecordLoss, StateReport, Succession, Unseen, Window},
};

/// After so long a run has kept a record, if it could: a look waits for most of a minute at the longest until it is compared.
const FIRST_RECORD_MS: i64 = 180_000;

/// Runs one after the other that ended before they had looked, of which something is on record.
const MAX_LATER: usize = 8;

/// What a thread is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file with the record.
    pub path: PathBuf,
    /// As what the root folder of the host is seen.
    pub root: PathBuf,
    pub agent_id: String,
    pub boot_id: String,
    pub kernel_release: String,
}

/// What the thread is to compare with.
#[derive(Debug)]
pub struct Question {
    /// What was seen live since the look that was settled last, or since this run began to watch.
    pub seen: Seen,
    pub watch: Watch,
    /// What is known of the run before; for the first look.
    pub succession: Option<Box<Succession>>,
}

/// What came of an order.
#[derive(Debug)]
pub enum Found {
    /// A look ended at this moment.
    Looked {
        ended: Moment,
    },
    Compared(Box<StateReport>),
}

enum Order {
    Look(Box<Subjects>),
    Compare(Box<Question>),
    /// What was found is told: it is what the next look is compared with. With what was seen since the look began.
    Settle(Seen),
    /// Puts on record what was seen since the look that was settled.
    Keep(Seen),
    /// The same at the end; where no look was settled, beside what was on record.
    Leave(Seen),
}

/// The daemon's end. Never waits, but at the end.
#[derive(Debug)]
pub struct Service {
    orders: Sender<Order>,
    found: Receiver<Found>,
    /// Nothing ever comes out of it; the thread holds the other end as long as it lives.
    alive: Receiver<()>,
    failed: Arc<AtomicU64>,
}

impl Service {
    /// Starts the thread, which has nothing to do yet but to read the record.
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        // Of each kind one may wait.
        let (orders, ordered) = bounded(4);
        let (find, found) = bounded(4);
        let (life, alive) = bounded(0);
        let failed = Arc::new(AtomicU64::new(0));
        let failures = Arc::clone(&failed);
        std::thread::Builder::new().name("host-state".to_owned()).spawn(move || {
            let _life: Sender<()> = life;
            background::lower_this_thread();
            Worker::new(settings, failures).work(&ordered, &find);
        })?;
        Ok(Self { orders, found, alive, failed })
    }

    /// Lets it look. Whether it will: not while it is at something.
    pub fn look(&self, subjects: Subjects) -> bool {
        self.orders.try_send(Order::Look(Box::new(subjects))).is_ok()
    }

    /// Lets it compare the look with the last one.
    pub fn compare(&self, question: Question) -> bool {
        self.orders.try_send(Order::Compare(Box::new(question))).is_ok()
    }

    /// The look is told: from now on it is the last one.
    pub fn settle(&self, seen: Seen) -> bool {
        self.orders.try_send(Order::Settle(seen)).is_ok()
    }

    /// Puts on record what was seen since the last look that was settled.
    pub fn keep(&self, seen: Seen) -> bool {
        self.orders.try_send(Order::Keep(seen)).is_ok()
    }

    /// What was found, if anything.
    pub fn found(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }

    /// Whether the thread is gone.
    pub fn has_died(&self) -> bool {
        self.alive.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Times that the record could not be written.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Puts on record what was seen until now, and waits for that until `deadline` at the longest. Whether it is on record.
    pub fn stop(self, seen: Seen, deadline: Instant) -> bool {
        let before = self.failed();
        if self.orders.send_deadline(Order::Leave(seen), deadline).is_err() {
            return false;
        }
        drop(self.orders);
        self.alive.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected)
            && self.failed.load(Ordering::Relaxed) == before
    }
}

/// What the thread knows.
struct Worker {
    settings: Settings,
    failed: Arc<AtomicU64>,
    was_written: bool,
    /// What is compared with: of an earlier run until the first look of this one is settled.
    last: Last,
    /// A look that is not settled yet.
    pending: Option<HostState>,
    cpu_ns: u64,
    packages: Option<Asker>,
}

/// The last look.
enum Last {
    /// There is none, and what that means.
    None(NoRecord),
    /// Of an earlier run.
    Earlier(Box<Record>),
    Own(Box<HostState>),
}

#[derive(Clone, Debug)]
enum NoRecord {
    NoFile,
    Damaged(String),
    OtherHost(String),
}

impl Last {
    fn state(&self) -> Option<&HostState> {
        match self {
            Self::None(_) => None,
            Self::Earlier(record) => Some(&record.state),
            Self::Own(last) => Some(last),
        }
    }
}

impl Worker {
    fn new(settings: Settings, failed: Arc<AtomicU64>) -> Self {
        let last = match record::read(&settings.path) {
            Ok(Some(record)) if record.state.agent_id == settings.agent_id => Last::Earlier(Box::new(record)),
            Ok(Some(record)) => Last::None(NoRecord::OtherHost(record.state.agent_id)),
            Ok(None) => Last::None(NoRecord::NoFile),
            Err(error) => {
                let aside = match record::put_aside(&settings.path) {
                    Ok(aside) => format!("; it lies at {} now", aside.display()),
                    Err(error) => format!("; it cannot be put aside: {error}"),
                };
                tracing::warn!(%error, "the state of the host at the last look is not known");
                Last::None(NoRecord::Damaged(format!("{error}{aside}")))
            }
        };
        let packages = Asker::start(&settings.root, &settings.kernel_release);
        Self { settings, failed, was_written: true, last, pending: None, cpu_ns: 0, packages }
    }

    fn work(mut self, ordered: &Receiver<Order>, found: &Sender<Found>) {
        for order in ordered {
            let answer = match order {
                Order::Look(subjects) => Some(self.look(&subjects)),
                Order::Compare(question) => self.compare(*question).map(|report| Found::Compared(Box::new(report))),
                Order::Settle(seen) => {
                    self.settle();
                    self.keep(seen);
                    None
                }
                Order::Keep(seen) => {
                    self.keep(seen);
                    None
                }
                Order::Leave(seen) => {
                    self.leave(seen);
                    None
                }
            };
            if answer.is_some_and(|answer| found.send(answer).is_err()) {
                return;
            }
        }
    }

    fn look(&mut self, subjects: &Subjects) -> Found {
        let Settings { root, agent_id, boot_id, kernel_release, .. } = &self.settings;
        let who = Who { agent_id: agent_id.clone(), boot_id: boot_id.clone(), kernel_release: kernel_release.clone() };
        let before = thread_cpu_ns();
        let known = self.last.state().into_iter().flat_map(|state| state.places.keys().map(String::as_str));
        let state = look(root, &who, subjects, known);
        self.cpu_ns = thread_cpu_ns().saturating_sub(before);
        let ended = state.ended;
        self.pending = Some(state);
        Found::Looked { ended }
    }

    fn compare(&mut self, question: Question) -> Option<StateReport> {
        let now = self.pending.as_ref()?;
        let Question { seen, watch, succession } = question;
        let look_ns = (now.begun.boot_ns, now.ended.boot_ns);
        let (mut compared, is_first, last) = match &self.last {
            Last::None(why) => {
                let loss = lost_record(why, succession.as_deref(), watch);
                (super::compare::Compared { drifts: loss.into_iter().collect(), explained: 0 }, true, None)
            }
            Last::Earlier(record) => {
                let mut parts = vec![Part { seen: &record.seen, after_break: false, is_past: true }];
                parts.extend(record.later.iter().map(|seen| Part { seen, after_break: true, is_past: true }));
                parts.push(Part { seen: &seen, after_break: true, is_past: false });
                let notes = Notes { parts, look_ns };
                let until = watched_until(record, succession.as_deref());
                let watch = Watch { earlier_until: Some(until), ..watch };
                (compare(&Between { last: &record.state, now, notes, watch }), false, Some(&record.state))
            }
            Last::Own(last) => {
                let own = Part { seen: &seen, after_break: false, is_past: false };
                let notes = Notes { parts: vec![own], look_ns };
                (compare(&Between { last, now, notes, watch }), false, Some(&**last))
            }
        };
        let state = settled(last, now.clone());
        if let Some(packages) = &mut self.packages {
            compared.drifts = packages.ask(compared.drifts);
        }
        let explained = compared.explained;
        Some(StateReport { state, drifts: compared.drifts, is_first, explained, cpu_ns: self.cpu_ns })
    }

    fn settle(&mut self) {
        let Some(now) = self.pending.take() else { return };
        self.last = Last::Own(Box::new(settled(self.last.state(), now)));
    }

    /// Of what an earlier run left nothing is written over before a look of this run is settled.
    fn keep(&mut self, seen: Seen) {
        let Last::Own(last) = &self.last else { return };
        let watched_until = crate::inspect::now();
        self.write(&Record { state: (**last).clone(), watched_until, seen, later: Vec::new() });
    }

    /// A run that ends before its first look is settled leaves what it saw for the next one, which compares with the same look. Where that
    /// happens again and again there is no room for it at last, and what it saw is told once more.
    fn leave(&mut self, seen: Seen) {
        match &mut self.last {
            Last::Earlier(record) if !seen.is_empty() && record.later.len() < MAX_LATER => {
                record.later.push(seen);
                let record = (**record).clone();
                self.write(&record);
            }
            Last::Earlier(_) | Last::None(_) => {}
            Last::Own(_) => self.keep(seen),
        }
    }

    fn write(&mut self, record: &Record) {
        match record::write(&self.settings.path, record) {
            Ok(()) => self.was_written = true,
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                // Once for many: it will fail again.
                if std::mem::replace(&mut self.was_written, false) {
                    tracing::warn!(%error, "the state of the host is not on record: the next run compares with an older one, or with none");
                }
            }
        }
    }
}

/// Until when somebody watched without a break since the look on record. The run that looked may have been on record at a later moment; one
/// that began after that had not looked itself, and before it there was a break already.
fn watched_until(record: &Record, succession: Option<&Succession>) -> Moment {
    let kept = record.watched_until;
    let Some(Predecessor::OnRecord(before, _)) = succession.map(|succession| &succession.before) else { return kept };
    let is_of_it = before.boot_id == record.state.boot_id && before.began.boot_ns <= kept.boot_ns;
    if is_of_it && before.seen.boot_ns > kept.boot_ns { before.seen } else { kept }
}

/// That there is nothing to compare with, where there should be.
fn lost_record(why: &NoRecord, succession: Option<&Succession>, watch: Watch) -> Option<Drift> {
    let before = succession.map(|succession| &succession.before);
    let before_it = match before {
        Some(Predecessor::OnRecord(before, _)) => Some(before),
        _ => None,
    };
    let loss = match why {
        // The first run on this host.
        NoRecord::NoFile if matches!(before, None | Some(Predecessor::NotOnRecord)) => return None,
        NoRecord::NoFile => {
            let had_time =
                before_it.is_some_and(|run| run.seen.unix_ms.saturating_sub(run.began.unix_ms) >= FIRST_RECORD_MS);
            let is_same = |run: &Succession| run.other_binary().is_none() && run.other_configuration().is_none();
            RecordLoss::Gone { kept_one: had_time && succession.is_some_and(is_same) }
        }
        NoRecord::Damaged(reason) => RecordLoss::Damaged(reason.clone()),
        NoRecord::OtherHost(agent_id) => RecordLoss::OtherHost(agent_id.clone()),
    };
    let window = Window { not_before: before_it.map(|run| run.seen), not_after: watch.since };
    let what = Drifted::Record(loss);
    Some(Drift { what, window, unseen: Unseen::NotRunning, perhaps_seen: false, provenance: None })
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let [seconds, nanoseconds] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or_default());
    seconds * 1_000_000_000 + nanoseconds
}

#[cfg(test)]
mod tests;
