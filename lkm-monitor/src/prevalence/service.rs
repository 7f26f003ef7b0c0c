//! Counts events in a thread of its own: a disk can make who asks it wait, and the reader of the rings must not.
//!
//! ```text
//! pipeline -- question --> store thread -- what the fleet does not know --> fleet thread --> Redis
//!    ^                         |                                               |  |
//!    +------- host's answer ---+                  +------- confirmed ----------+  |
//!    +------- fleet's answer --------------------------------------------------------+
//! ```

mod clock;
mod opening;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use tokio::sync::Notify;

use self::worker::{Ways, Worker};
use super::{
    fleet::{Fleet, FleetSettings},
    groups::KeyNames,
    name::GroupName,
    store::{Limits, StoreError},
    tally::Bucket,
};
use crate::model::Answer;

/// Questions that may wait. More are answered with "not known".
const QUESTIONS: usize = 4096;
/// So long the end waits for what was counted to be written.
const LAST_WRITE: Duration = Duration::from_secs(3);

/// What has to be counted.
#[derive(Debug)]
pub struct Question {
    pub id: u64,
    pub name: GroupName,
    pub privileged: bool,
}

/// An answer, and whether a better one may follow: that of the fleet's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    pub id: u64,
    pub answer: Answer,
    pub more: bool,
}

/// What the store's thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Count(Question),
    /// The fleet's store has confirmed these days of a group, or not.
    Confirmed {
        name: GroupName,
        days: Vec<Bucket>,
        done: bool,
    },
    /// The fleet's store can be reached again.
    FleetIsBack,
    /// Write everything, and end.
    Stop,
}

/// How to count.
#[derive(Clone, Debug)]
pub struct Settings {
    pub path: PathBuf,
    pub limits: Limits,
    pub fleet: Option<FleetSettings>,
    /// The agent's id.
    pub agent: String,
    /// What groups are made of.
    pub keys: KeyNames,
}

/// Those who count.
#[derive(Debug)]
pub struct Service {
    messages: Sender<Message>,
    /// Questions whose documents were sent, or not wanted; or lost. None of these may be lost itself, and there are no more than questions.
    settled: Sender<(u64, bool)>,
    answers: Receiver<Answered>,
    answered: Arc<Notify>,
    evicted: Arc<AtomicU64>,
    /// Closed when everything is written.
    ended: Receiver<()>,
}

/// The way of answers to the pipeline.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    sender: Sender<Answered>,
    answered: Arc<Notify>,
}

impl Answers {
    pub(super) fn send(&self, answered: Answered) {
        // Nobody wants it any more when this fails.
        let _ = self.sender.send(answered);
        self.answered.notify_one();
    }
}

impl Service {
    /// Opens the store and starts. A store that is damaged is put aside, and another one begun.
    pub fn start(settings: Settings) -> Result<Self, StoreError> {
        let store = opening::open(&settings)?;
        let (messages, receiver) = bounded(QUESTIONS);
        let (sender, answers) = unbounded();
        let (settled, settlements) = unbounded();
        let (end, ended) = bounded(0);
        let answered = Arc::new(Notify::new());
        let answers_to = Answers { sender, answered: Arc::clone(&answered) };
        let path = settings.path.clone();
        let file = |source: io::Error| StoreError::File { path: path.clone(), source };
        let fleet = match &settings.fleet {
            Some(fleet) => {
                let fleet = Fleet::start(fleet.clone(), &settings, messages.clone(), answers_to.clone());
                Some(fleet.map_err(file)?)
            }
            None => None,
        };
        let evicted = Arc::new(AtomicU64::new(0));
        let ways = Ways { messages: receiver, settlements, answers: answers_to, evicted: Arc::clone(&evicted) };
        let worker = Worker::new(settings, store, fleet, ways);
        thread::Builder::new()
            .name("prevalence".to_owned())
            .spawn(move || {
                worker.work();
                drop(end);
            })
            .map_err(file)?;
        Ok(Self { messages, settled, answers, answered, evicted, ended })
    }

    /// Groups that the store has given up though they were within the window, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Asks, and says whether there will be an answer. Never waits.
    pub fn ask(&self, question: Question) -> bool {
        self.messages.try_send(Message::Count(question)).is_ok()
    }

    /// Says what became of the document on an event: whether it was sent, or nobody wanted one. Until then an event like it is a first
    /// one, too. Never waits.
    pub fn settle(&self, id: u64, told: bool) {
        // Fails when nobody counts any more.
        let _ = self.settled.send((id, told));
    }

    /// The next answer; when nobody is left to answer, it never comes. Cancel-safe.
    pub async fn answer(&mut self) -> Answered {
        loop {
            if let Ok(answered) = self.answers.try_recv() {
                return answered;
            }
            self.answered.notified().await;
        }
    }

    /// The next answer before `deadline`, for which this waits.
    pub fn answer_before(&mut self, deadline: Instant) -> Option<Answered> {
        self.answers.recv_deadline(deadline).ok()
    }
}

impl Drop for Service {
    /// Everything that was counted is on disk afterwards, unless the disk keeps us waiting.
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_WRITE;
        // Both fail when the thread has ended.
        let _ = self.messages.send_deadline(Message::Stop, deadline);
        if self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the prevalence store is not written in time: what was counted last is lost");
        }
    }
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
