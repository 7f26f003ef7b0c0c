//! Counts events in a thread of its own: a disk can make who asks it wait, and the reader of the rings must not.
//!
//! ```text
//! pipeline -- question --> store thread -- what the fleet does not know --> fleet thread --> Redis
//!    ^                         |                                               |  |
//!    +------- host's answer ---+                  +------- confirmed ----------+  |
//!    +------- fleet's answer --------------------------------------------------------+
//! ```

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use tokio::sync::Notify;

use super::{
    fleet::{Fleet, FleetSettings, Told},
    groups::KeyNames,
    name::GroupName,
    store::{Limits, SYNC, Store, StoreError},
    tally::{Bucket, day_of},
};
use crate::model::{Answer, Scope, Standing};

/// Questions that may wait. More are answered with "not known".
const QUESTIONS: usize = 4096;
/// Questions that are counted together.
const BATCH: usize = 1024;
/// Groups that are told to the fleet's store together, when it is back.
const RESENT: usize = 256;
/// How often groups that are over are looked for, by a clock that was not set.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// So long a clock has to go on as it does before anything is thrown away by what it says.
const TRUSTED_AFTER: Duration = Duration::from_secs(3600);

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
    /// The fleet's store has confirmed these days of a group.
    Confirmed(GroupName, Vec<Bucket>),
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
    answers: Receiver<Answered>,
    answered: Arc<Notify>,
    evicted: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
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
        let mut store = open(&settings)?;
        if let Some(before) = store.name_keys(&settings.keys)? {
            tracing::warn!(?before, now = ?settings.keys, "groups are made of something else than before: they are counted anew");
        }
        let (messages, receiver) = bounded(QUESTIONS);
        let (sender, answers) = unbounded();
        let answered = Arc::new(Notify::new());
        let answers_to = Answers { sender, answered: Arc::clone(&answered) };
        let file = |source: io::Error| StoreError::File { path: settings.path.clone(), source };
        let fleet = match &settings.fleet {
            Some(fleet) => {
                let fleet = Fleet::start(fleet.clone(), &settings, store.epoch(), messages.clone(), answers_to.clone());
                Some(fleet.map_err(file)?)
            }
            None => None,
        };
        let evicted = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            store,
            fleet,
            limits: settings.limits,
            messages: receiver,
            answers: answers_to,
            unsynced_since: None,
            clock: TrustedClock::default(),
            swept: Instant::now(),
            resend_from: None,
            evicted: Arc::clone(&evicted),
            failing: false,
        };
        let thread = thread::Builder::new().name("prevalence".to_owned()).spawn(move || worker.work()).map_err(file)?;
        Ok(Self { messages, answers, answered, evicted, thread: Some(thread) })
    }

    /// Groups that the store has given up though they were within the window, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Asks, and says whether there will be an answer. Never waits.
    pub fn ask(&self, question: Question) -> bool {
        self.messages.try_send(Message::Count(question)).is_ok()
    }

    /// The next answer. It is always `Some`; when nobody is left to answer, it never comes. Cancel-safe.
    pub async fn answer(&mut self) -> Option<Answered> {
        loop {
            if let Ok(answered) = self.answers.try_recv() {
                return Some(answered);
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
    /// Everything that was counted is on disk afterwards.
    fn drop(&mut self) {
        // Waits for room behind the questions. Fails when the thread has ended, which it has said.
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Opens the store. What is damaged is put aside: a host that cannot count must not be one that tells nothing.
fn open(settings: &Settings) -> Result<Store, StoreError> {
    let attempt = || Store::open(&settings.path, settings.limits);
    // redb panics on some damaged files.
    let opened = panic::catch_unwind(AssertUnwindSafe(attempt));
    let damage = match opened {
        Ok(Err(StoreError::Database { source, .. })) if is_damage(&source) => source.to_string(),
        Ok(opened) => return opened,
        Err(_) => "it cannot be read".to_owned(),
    };
    let aside = damaged_name(&settings.path);
    let file = |source| StoreError::File { path: settings.path.clone(), source };
    std::fs::rename(&settings.path, &aside).map_err(file)?;
    tracing::error!(damage, put_aside = %aside.display(), "the prevalence store is damaged: counting begins anew");
    attempt()
}

fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => true,
        redb::Error::Io(error) => matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
        redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. } => true,
        _ => false,
    }
}

fn damaged_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".damaged-{}", now_s()));
    name.into()
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Follows the wall clock, to see it being set.
#[derive(Debug, Default)]
struct TrustedClock {
    /// What the wall clock showed at this moment.
    seen: Option<(Instant, u64)>,
    /// Since when it goes on as it does.
    since: Option<Instant>,
}

impl TrustedClock {
    /// Whether the clock has gone on without a step long enough.
    fn is_trusted(&mut self, now: Instant, wall_s: u64) -> bool {
        let steady = self.seen.is_some_and(|(at, shown_s)| {
            (shown_s + now.duration_since(at).as_secs()).abs_diff(wall_s) < TRUSTED_AFTER.as_secs()
        });
        self.seen = Some((now, wall_s));
        if !steady {
            self.since = Some(now);
        }
        self.since.is_some_and(|since| now.duration_since(since) >= TRUSTED_AFTER)
    }
}

/// The state of the store's thread.
struct Worker {
    store: Store,
    fleet: Option<Fleet>,
    limits: Limits,
    messages: Receiver<Message>,
    answers: Answers,
    /// When the first event was counted that is not on disk.
    unsynced_since: Option<Instant>,
    clock: TrustedClock,
    swept: Instant,
    /// The fleet's store is to be told what it does not know, of the groups behind this one.
    resend_from: Option<GroupName>,
    evicted: Arc<AtomicU64>,
    /// The disk refuses: that has been said.
    failing: bool,
}

impl Worker {
    fn work(mut self) {
        loop {
            let (questions, stop) = self.take();
            self.count(questions);
            if stop {
                break;
            }
            self.sync(false);
            self.tell_fleet();
        }
        self.sync(true);
    }

    /// Waits for something to do; questions, and whether to stop.
    fn take(&mut self) -> (Vec<Question>, bool) {
        let mut questions = Vec::new();
        let patience = match self.unsynced_since {
            _ if self.resend_from.is_some() => Duration::from_millis(20),
            Some(since) => SYNC.saturating_sub(since.elapsed()),
            None => SWEEP_EVERY,
        };
        let mut next = self.messages.recv_timeout(patience);
        loop {
            match next {
                Ok(Message::Count(question)) => questions.push(question),
                Ok(Message::Confirmed(name, days)) => {
                    let confirmed = self.store.confirm(&name, &days);
                    self.note(confirmed);
                    self.unsynced_since.get_or_insert_with(Instant::now);
                }
                Ok(Message::FleetIsBack) => self.resend_from = Some(GroupName::first()),
                // Our own end holds a sender, through the fleet's thread.
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return (questions, true),
                Err(RecvTimeoutError::Timeout) => return (questions, false),
            }
            if questions.len() >= BATCH {
                return (questions, false);
            }
            next = self.messages.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        }
    }

    fn count(&mut self, questions: Vec<Question>) {
        if questions.is_empty() {
            return;
        }
        let now_s = now_s();
        let events: Vec<_> = questions.iter().map(|question| (question.name.clone(), question.privileged)).collect();
        let counted = match self.store.count(&events, now_s) {
            Ok(counted) => counted,
            Err(error) => {
                self.note(Err(error));
                for question in questions {
                    self.answers.send(Answered { id: question.id, answer: Answer::Unknown, more: false });
                }
                return;
            }
        };
        self.unsynced_since.get_or_insert_with(Instant::now);
        let (today, window) = (day_of(now_s), self.limits.window);
        for (question, counted) in questions.into_iter().zip(counted) {
            let standing = Standing {
                scope: Scope::Host,
                count: counted.tally.count(today, window),
                agents: 1,
                first_s: counted.tally.first_s,
                last_s: counted.tally.last_s,
                seen_before: counted.seen_before,
                in_baseline: counted.tally.in_baseline(today, window),
            };
            let Some(fleet) = &self.fleet else {
                self.answers.send(Answered { id: question.id, answer: Answer::Known(standing), more: false });
                continue;
            };
            self.store.mark_unsent(&question.name);
            let told = Told {
                question: Some((question.id, standing)),
                days: counted.tally.unsent().collect(),
                name: question.name,
            };
            let more = fleet.tell(told);
            self.answers.send(Answered { id: question.id, answer: Answer::FleetSilent(standing), more });
        }
    }

    /// Writes what has waited long enough.
    fn sync(&mut self, now: bool) {
        let due = self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC);
        let trusted = self.clock.is_trusted(Instant::now(), now_s());
        let sweep = trusted && self.swept.elapsed() >= SWEEP_EVERY;
        if !due && !sweep && !(now && self.store.is_unwritten()) {
            return;
        }
        let written = self.store.write(now_s(), sweep);
        if sweep {
            self.swept = Instant::now();
        }
        self.evicted.store(self.store.evicted(), Ordering::Relaxed);
        // Tried again after as long as at first.
        self.unsynced_since = written.is_err().then(Instant::now);
        self.note(written);
    }

    /// Tells the fleet's store what it does not know, some groups at a time.
    fn tell_fleet(&mut self) {
        let (Some(fleet), Some(from)) = (&self.fleet, self.resend_from.take()) else { return };
        let unsent = match self.store.unsent(&from, RESENT) {
            Ok(unsent) => unsent,
            Err(error) => return self.note(Err(error)),
        };
        for (name, tally) in unsent {
            let told = Told { question: None, days: tally.unsent().collect(), name: name.clone() };
            if !fleet.tell(told) {
                // No room: the same again, soon. A server that is lost asks for everything when it is back.
                if fleet.is_up() {
                    self.resend_from.get_or_insert(from);
                }
                return;
            }
            self.resend_from = Some(name);
        }
    }

    /// Says once that the disk refuses, and once that it does no longer.
    fn note(&mut self, result: Result<(), StoreError>) {
        match result {
            Err(error) if !self.failing => {
                tracing::error!(%error, "the prevalence store cannot be used: what is new cannot be told from what is known");
                self.failing = true;
            }
            Ok(()) if self.failing => {
                tracing::info!("the prevalence store can be used again");
                self.failing = false;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
