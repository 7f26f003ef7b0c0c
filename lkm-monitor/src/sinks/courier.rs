//! Carries documents from the spool to one sink, in a thread of its own.
//!
//! A batch is held until each of its documents has a fate: taken, or buried as a dead letter. What may still be taken is tried again,
//! for ever, with growing pauses. Only then is the batch acknowledged, in one transaction with its counts and dead letters; so a crash
//! sends a batch again, and never loses one. A courier that is to leave acknowledges as far as it has got.

mod progress;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use self::progress::Progress;
use super::{Delivered, Entry, Failure, Fate, Sink};
use crate::{
    latency::Latencies,
    spool::{Batch, Count, DeadLetter, Leave, Receipt, Spool},
};

/// The first pause after a failure, and the longest. Each is twice the last, and then somewhere between half of it and all.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long the spool is waited for. Then dead letters that are to be sent again get their turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often they get it where the spool has always something: each time all dead letters are read.
const LETTERS_EVERY: Duration = Duration::from_secs(30);

/// How a courier works.
#[derive(Clone, Debug)]
pub struct Route {
    /// The sink's name in the configuration.
    pub name: String,
    /// Of one batch at the most.
    pub batch_documents: usize,
    pub batch_bytes: usize,
    /// Shorter in tests.
    pub pauses: (Duration, Duration),
    pub letters_every: Duration,
    /// An earlier courier's, which goes on.
    pub health: Arc<Mutex<Health>>,
}

impl Route {
    /// A sink that gets batches of this size.
    pub fn new(name: &str, batch_documents: usize, batch_bytes: usize) -> Self {
        Self {
            name: name.to_owned(),
            batch_documents,
            batch_bytes,
            pauses: PAUSES,
            letters_every: LETTERS_EVERY,
            health: Arc::default(),
        }
    }
}

/// How a sink is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the last attempt failed; nothing when it did not.
    pub failure: Option<String>,
    /// Attempts that failed since the last one that did not.
    pub failures: u32,
    /// Latencies, from the event to the receiver's acknowledgement.
    pub latency: Latencies,
}

/// How the sink is doing now.
pub fn health(of: &Mutex<Health>) -> Health {
    of.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A courier at work.
#[derive(Debug)]
pub struct Courier {
    spool: Arc<Spool>,
    leave: Leave,
    health: Arc<Mutex<Health>>,
    thread: JoinHandle<()>,
}

impl Courier {
    /// Starts to deliver what the spool has for this sink.
    pub fn start(spool: Arc<Spool>, sink: Box<dyn Sink>, route: Route) -> std::io::Result<Self> {
        let health = Arc::clone(&route.health);
        let leave = Leave::default();
        let walk = Walk {
            spool: Arc::clone(&spool),
            leave: leave.clone(),
            sink,
            largest: route.batch_documents,
            pause: route.pauses.0,
            letters_due: Instant::now(),
            route,
            health: Arc::clone(&health),
        };
        let thread = std::thread::Builder::new().name(format!("sink-{}", walk.route.name)).spawn(move || walk.on())?;
        Ok(Self { spool, leave, health, thread })
    }

    /// How the sink is doing.
    pub fn health(&self) -> Health {
        health(&self.health)
    }

    /// Asks the courier to end, after what it does now.
    pub fn dismiss(&self) {
        self.spool.dismiss(&self.leave);
    }

    /// Whether the courier has come to its end, which it should only when it was asked to.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Walk {
    spool: Arc<Spool>,
    leave: Leave,
    sink: Box<dyn Sink>,
    route: Route,
    /// Documents that the receiver takes at one time, as far as it has told.
    largest: usize,
    pause: Duration,
    /// When dead letters get their turn, even if there is something else to do.
    letters_due: Instant,
    health: Arc<Mutex<Health>>,
}

impl Walk {
    fn on(mut self) {
        while !self.leave.is_wanted() {
            let next = self.spool.next(
                &self.route.name,
                (self.route.batch_documents, self.route.batch_bytes),
                PATIENCE,
                &self.leave,
            );
            match next {
                Ok(batch) if batch.entries.is_empty() => {
                    self.acknowledge(&Receipt::of(&batch));
                    self.send_dead_letters_again();
                }
                Ok(batch) => {
                    self.carry(batch);
                    if Instant::now() >= self.letters_due {
                        self.send_dead_letters_again();
                    }
                }
                Err(error) => {
                    tracing::error!(sink = self.route.name, %error, "the spool cannot be read");
                    self.spool.rest(self.route.pauses.0, &self.leave);
                }
            }
        }
    }

    /// Delivers a batch, however long that takes; until the end.
    fn carry(&mut self, batch: Batch) {
        let mut progress = Progress::new(batch);
        self.deliver_all(&mut progress);
        self.acknowledge(&progress.receipt());
    }

    /// Until nothing is pending, or the end comes.
    fn deliver_all(&mut self, progress: &mut Progress) {
        while !progress.pending.is_empty() && !self.leave.is_wanted() {
            let attempt = progress.pending.len().min(self.largest.max(1));
            let delivered = self.sink.deliver(&progress.pending[..attempt]);
            for (count, number) in self.sink.take_counts() {
                self.spool.count(count, &self.route.name, number);
            }
            if let Some(reason) = self.weigh(progress, attempt, delivered) {
                self.wait(&reason);
            }
        }
    }

    /// Notes what became of the first documents that are pending. Why and for how long to wait, if something is to be tried again.
    fn weigh(&mut self, progress: &mut Progress, attempt: usize, delivered: Delivered) -> Option<Failure> {
        match delivered {
            Delivered::Each(fates) if fates.len() == attempt => {
                if attempt == self.largest {
                    self.largest = grown(self.largest).min(self.route.batch_documents);
                }
                let tried: Vec<_> = progress.pending.drain(..attempt).collect();
                let (mut again, mut why) = (Vec::new(), None);
                for (entry, fate) in tried.into_iter().zip(fates) {
                    if let Some(reason) = self.settle(progress, &entry, fate) {
                        why = why.or(Some(reason));
                        again.push(entry);
                    }
                }
                self.spool.count(Count::Retried, &self.route.name, again.len() as u64);
                again.append(&mut progress.pending);
                progress.pending = again;
                if why.is_none() {
                    self.well();
                }
                why.map(|reason| Failure { reason, maybe_taken: false, retry_after: None })
            }
            Delivered::Each(fates) => {
                let reason = format!("the sink told of {} documents out of {attempt}", fates.len());
                Some(self.all_again(attempt, Failure { reason, maybe_taken: true, retry_after: None }))
            }
            Delivered::TooLarge if attempt == 1 => {
                let entry = progress.pending.remove(0);
                self.bury(progress, &entry, "the receiver takes no document of this size");
                None
            }
            Delivered::TooLarge => {
                if self.largest == self.route.batch_documents {
                    tracing::info!(
                        sink = self.route.name,
                        documents = attempt,
                        "a batch was too large for the receiver, smaller ones are sent"
                    );
                }
                self.largest = attempt / 2;
                None
            }
            Delivered::Failed(failure) => Some(self.all_again(attempt, failure)),
        }
    }

    /// Counts documents of which nothing is known.
    fn all_again(&self, attempt: usize, failure: Failure) -> Failure {
        self.spool.count(Count::Retried, &self.route.name, attempt as u64);
        if failure.maybe_taken {
            self.spool.count(Count::MaybeDuplicate, &self.route.name, attempt as u64);
        }
        failure
    }

    /// Notes what became of a document. Why it is to be tried again, if it is.
    fn settle(&self, progress: &mut Progress, entry: &Entry, fate: Fate) -> Option<String> {
        let counts: &[Count] = match fate {
            Fate::TryAgain(reason) => return Some(reason),
            Fate::Refused(reason) => {
                self.bury(progress, entry, &reason);
                return None;
            }
            Fate::Taken => &[Count::Acked],
            Fate::Duplicate => &[Count::Acked, Count::Duplicate],
            Fate::Misfiled => &[Count::Acked, Count::Misfiled],
        };
        progress.taken(entry.number, counts);
        self.health().latency.note_since(entry.happened_ms);
        None
    }

    fn bury(&self, progress: &mut Progress, entry: &Entry, reason: &str) {
        tracing::error!(
            sink = self.route.name,
            document = entry.number,
            reason,
            "a document was refused: it is a dead letter"
        );
        progress.refused(entry.number, DeadLetter::new(&self.route.name, reason, now_s(), entry));
    }

    fn well(&mut self) {
        self.pause = self.route.pauses.0;
        let mut health = self.health();
        if health.failure.take().is_some() {
            tracing::info!(sink = self.route.name, failures = health.failures, "the sink takes documents again");
        }
        health.failures = 0;
    }

    /// Waits before the next attempt.
    fn wait(&mut self, failure: &Failure) {
        {
            let mut health = self.health();
            if health.failure.as_ref() != Some(&failure.reason) {
                tracing::warn!(
                    sink = self.route.name,
                    reason = failure.reason,
                    "the sink does not take documents: tried again"
                );
            }
            health.failure = Some(failure.reason.clone());
            health.failures = health.failures.saturating_add(1);
        }
        // Whoever asked for quiet would only refuse us earlier.
        let pause = failure.retry_after.unwrap_or_default() + jittered(self.pause);
        self.pause = (self.pause * 2).min(self.route.pauses.1);
        self.spool.rest(pause, &self.leave);
    }

    fn acknowledge(&self, receipt: &Receipt) {
        while let Err(error) = self.spool.acknowledge(&self.route.name, receipt) {
            tracing::error!(sink = self.route.name, %error, "what was delivered cannot be noted: it may be sent again");
            if self.leave.is_wanted() {
                return;
            }
            self.spool.rest(self.route.pauses.0, &self.leave);
        }
    }

    /// Delivers dead letters that somebody wants to be sent again. What is refused again is a dead letter again.
    fn send_dead_letters_again(&mut self) {
        self.letters_due = Instant::now() + self.route.letters_every;
        match self.spool.next_dead_letters(&self.route.name, self.route.batch_documents) {
            Ok(batch) if batch.entries.is_empty() => {}
            Ok(batch) => self.carry(batch),
            Err(error) => tracing::error!(sink = self.route.name, %error, "dead letters cannot be read"),
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next size of a batch, after one of this size was taken. Each step beyond what the receiver takes costs a request in vain.
const fn grown(documents: usize) -> usize {
    documents + 1 + documents / 32
}

/// Somewhere between half of it and all: a fleet must not come back in one moment.
fn jittered(pause: Duration) -> Duration {
    // The clock's last digits are as good as chance here.
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    pause.mul_f64(0.5 + f64::from(nanos % 1000) / 2000.0)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
