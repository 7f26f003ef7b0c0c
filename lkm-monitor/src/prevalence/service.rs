//! Counts events in a thread of its own: a disk can make who asks it wait, and the reader of the rings must not.
//!
//! ```text
//! pipeline -- question --> store thread -- what the fleet does not know --> fleet thread --> Redis
//!    ^                         |                                               |  |
//!    +------- host's answer ---+                  +------- confirmed ----------+  |
//!    +------- fleet's answer --------------------------------------------------------+
//! ```

use std::{
    collections::{HashMap, HashSet},
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use tokio::sync::Notify;

use super::{
    fleet::{Fleet, FleetSettings, Told},
    groups::KeyNames,
    name::GroupName,
    store::{Expiry, Limits, SYNC, Store, StoreError},
    tally::{Bucket, Tally, day_of},
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
/// So long the end waits for what was counted to be written.
const LAST_WRITE: Duration = Duration::from_secs(3);
/// First events that wait to be told. Of further ones the next one like it is told again.
const MAX_UNSETTLED: usize = 16_384;
/// New groups that unprivileged processes of this host may add to the fleet's store in an hour. Further ones are this host's alone.
const UNPRIVILEGED_PER_HOUR: u32 = 1000;

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
        let store = open(&settings)?;
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
                let fleet = Fleet::start(fleet.clone(), &settings, store.epoch(), messages.clone(), answers_to.clone());
                Some(fleet.map_err(file)?)
            }
            None => None,
        };
        let evicted = Arc::new(AtomicU64::new(0));
        let worker = Worker {
            store,
            fleet,
            messages: receiver,
            settlements,
            answers: answers_to,
            unsynced_since: None,
            clock: TrustedClock::default(),
            swept: Instant::now(),
            unsettled: HashMap::new(),
            under_way: HashSet::new(),
            told: HashSet::new(),
            allowance: Allowance::new(),
            resend_from: None,
            evicted: Arc::clone(&evicted),
            failing: false,
            settings,
        };
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

/// Opens the store. What is damaged is put aside: a host that cannot count must not be one that tells nothing.
fn open(settings: &Settings) -> Result<Store, StoreError> {
    let attempt = || -> Result<(Store, Option<KeyNames>), StoreError> {
        let mut store = Store::open(&settings.path, settings.limits)?;
        let before = store.name_keys(&settings.keys)?;
        Ok((store, before))
    };
    // redb panics on some damaged files.
    let opened = match panic::catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Err(error)) if error.is_damage() => put_aside(&settings.path, &error.to_string()).and_then(|()| attempt()),
        Ok(opened) => opened,
        Err(_) => put_aside(&settings.path, "it cannot be read").and_then(|()| attempt()),
    };
    let (store, before) = opened?;
    if let Some(before) = before {
        tracing::warn!(?before, now = ?settings.keys, "groups are made of something else than before: they are counted anew");
    }
    Ok(store)
}

/// The last one that was damaged is kept.
fn put_aside(path: &Path, damage: &str) -> Result<(), StoreError> {
    let aside = damaged_name(path);
    std::fs::rename(path, &aside).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    tracing::error!(damage, put_aside = %aside.display(), "the prevalence store is damaged: counting begins anew");
    Ok(())
}

fn damaged_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
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

/// New groups that may still be added.
#[derive(Debug)]
struct Allowance {
    hour: Instant,
    left: u32,
}

impl Allowance {
    fn new() -> Self {
        Self { hour: Instant::now(), left: UNPRIVILEGED_PER_HOUR }
    }

    fn take(&mut self) -> bool {
        if self.hour.elapsed() >= Duration::from_secs(3600) {
            *self = Self::new();
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

/// The state of the store's thread.
struct Worker {
    settings: Settings,
    store: Store,
    fleet: Option<Fleet>,
    messages: Receiver<Message>,
    settlements: Receiver<(u64, bool)>,
    answers: Answers,
    /// When the first event was counted that is not on disk.
    unsynced_since: Option<Instant>,
    clock: TrustedClock,
    swept: Instant,
    /// First events, of privileged processes or not, of which it is not known whether they were told, and their groups.
    unsettled: HashMap<u64, (GroupName, bool)>,
    under_way: HashSet<(GroupName, bool)>,
    /// What the fleet was told and has not confirmed. A group is told again afterwards only, so that nothing is on its way twice.
    told: HashSet<GroupName>,
    allowance: Allowance,
    /// The fleet's store is to be told what it does not know, of the groups behind this one.
    resend_from: Option<GroupName>,
    evicted: Arc<AtomicU64>,
    /// The disk refuses: that has been said.
    failing: bool,
}

impl Worker {
    fn work(mut self) {
        loop {
            let (questions, mut stop) = self.take();
            let settled: Vec<_> = self.settlements.try_iter().collect();
            let turn = panic::catch_unwind(AssertUnwindSafe(|| {
                settled.into_iter().for_each(|(id, told)| self.settled(id, told));
                self.count(&questions);
                self.sync(stop);
                self.tell_fleet();
            }));
            // redb panics on some damaged files.
            if turn.is_err() {
                let unknown = |question: &Question| Answered { id: question.id, answer: Answer::Unknown, more: false };
                questions.iter().map(unknown).for_each(|answered| self.answers.send(answered));
                stop |= !self.begin_anew("it cannot be read");
            }
            if stop {
                return;
            }
        }
    }

    /// Puts the store aside and goes on with another one. Whether that was possible.
    fn begin_anew(&mut self, damage: &str) -> bool {
        let again = put_aside(&self.settings.path, damage).and_then(|()| open(&self.settings));
        match again {
            Ok(store) => {
                self.store = store;
                true
            }
            Err(error) => {
                tracing::error!(%error, "the prevalence store cannot be made anew: all is told as rare");
                false
            }
        }
    }

    /// Waits for something to do; questions, and whether to stop.
    fn take(&mut self) -> (Vec<Question>, bool) {
        let mut questions = Vec::new();
        let patience = match self.unsynced_since {
            _ if self.resend_from.is_some() => Duration::from_millis(20),
            Some(since) => SYNC.saturating_sub(since.elapsed()),
            // To be told of what was told.
            None if !self.unsettled.is_empty() => SYNC,
            None => SWEEP_EVERY,
        };
        let mut next = self.messages.recv_timeout(patience);
        loop {
            match next {
                Ok(Message::Count(question)) => questions.push(question),
                Ok(Message::Confirmed { name, days, done }) => self.confirmed(&name, &days, done),
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

    fn settled(&mut self, id: u64, told: bool) {
        let Some(first) = self.unsettled.remove(&id) else { return };
        self.under_way.remove(&first);
        if !told {
            return;
        }
        let settled = self.store.settle(&first.0, first.1);
        self.note(settled);
        self.unsynced_since.get_or_insert_with(Instant::now);
    }

    fn confirmed(&mut self, name: &GroupName, days: &[Bucket], done: bool) {
        self.told.remove(name);
        if !done {
            return;
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
        match self.store.confirm(name, days) {
            // More has happened meanwhile.
            Ok(left) if !left.is_empty() => {
                self.tell(None, name, left);
            }
            Ok(_) => {}
            Err(error) => self.note(Err(error)),
        }
    }

    fn count(&mut self, questions: &[Question]) {
        if questions.is_empty() {
            return;
        }
        let now_s = now_s();
        let events: Vec<_> = questions.iter().map(|question| (question.name.clone(), question.privileged)).collect();
        let counted = match self.store.count(&events, now_s) {
            Ok(counted) => counted,
            Err(error) => {
                let damage = error.is_damage().then(|| error.to_string());
                self.note(Err(error));
                if let Some(damage) = damage {
                    self.begin_anew(&damage);
                }
                for question in questions {
                    self.answers.send(Answered { id: question.id, answer: Answer::Unknown, more: false });
                }
                return;
            }
        };
        self.unsynced_since.get_or_insert_with(Instant::now);
        let (today, window) = (day_of(now_s), self.settings.limits.window);
        for (question, counted) in questions.iter().zip(counted) {
            let first = (question.name.clone(), question.privileged);
            let is_first = !counted.seen_before && !self.under_way.contains(&first);
            if is_first && self.unsettled.len() < MAX_UNSETTLED {
                self.unsettled.insert(question.id, first.clone());
                self.under_way.insert(first);
            }
            let standing = Standing {
                scope: Scope::Host,
                count: counted.tally.count(today, window),
                agents: 1,
                first_s: counted.tally.first_s,
                seen_before: !is_first,
                in_baseline: counted.tally.in_baseline(today, window),
            };
            self.answer(question, &counted.tally, standing);
        }
    }

    /// Answers for this host, and asks the fleet.
    fn answer(&mut self, question: &Question, tally: &Tally, standing: Standing) {
        let id = question.id;
        let is_new = !question.privileged && tally.days.iter().all(|bucket| bucket.sent == 0);
        // What is under way already says of this event, too, that the group was seen; the fleet is told of it afterwards.
        if self.fleet.is_none() || self.told.contains(&question.name) || (is_new && !self.allowance.take()) {
            return self.answers.send(Answered { id, answer: Answer::Known(standing), more: false });
        }
        self.store.mark_unsent(&question.name);
        let more = self.tell(Some((id, standing)), &question.name, tally.unsent().collect());
        self.answers.send(Answered { id, answer: Answer::FleetSilent(standing), more });
    }

    /// Tells the fleet's store of a group; whether there may be an answer.
    fn tell(&mut self, question: Option<(u64, Standing)>, name: &GroupName, days: Vec<Bucket>) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        if fleet.tell(Told { question, days, name: name.clone() }) {
            self.told.insert(name.clone());
            return true;
        }
        if fleet.is_up() {
            // There is no room: it will be told with all that was not.
            self.resend_from.get_or_insert_with(GroupName::first);
        }
        false
    }

    /// Writes what has waited long enough.
    fn sync(&mut self, now: bool) {
        let due = self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC);
        let trusted = self.clock.is_trusted(Instant::now(), now_s());
        let sweep = trusted && self.swept.elapsed() >= SWEEP_EVERY;
        if !due && !sweep && !(now && self.store.is_unwritten()) {
            return;
        }
        let expiry = match (trusted, sweep) {
            (false, _) => Expiry::Doubtful,
            (true, false) => Expiry::WhenFull,
            (true, true) => Expiry::Now,
        };
        let written = self.store.write(now_s(), expiry);
        if sweep {
            self.swept = Instant::now();
        }
        self.evicted.store(self.store.evicted(), Ordering::Relaxed);
        // Tried again after as long as at first.
        self.unsynced_since = (!matches!(written, Ok(true))).then(Instant::now);
        if matches!(written, Ok(false)) {
            if now {
                tracing::error!("another process is writing the prevalence store: what was counted last is lost");
            }
            return;
        }
        if let Some(damage) = written.as_ref().err().filter(|error| error.is_damage()).map(ToString::to_string) {
            self.begin_anew(&damage);
        }
        self.note(written.map(drop));
    }

    /// Tells the fleet's store what it does not know, some groups at a time.
    fn tell_fleet(&mut self) {
        let Some(from) = self.resend_from.take() else { return };
        let unsent = match self.store.unsent(&from, RESENT) {
            Ok(unsent) => unsent,
            Err(error) => return self.note(Err(error)),
        };
        let mut last = from;
        for (name, tally) in unsent {
            if !self.told.contains(&name) && !self.tell(None, &name, tally.unsent().collect()) {
                // No room: on from here, soon. A server that is lost asks for everything when it is back.
                if self.resend_from.is_some() {
                    self.resend_from = Some(last);
                }
                return;
            }
            self.resend_from = Some(name.clone());
            last = name;
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
