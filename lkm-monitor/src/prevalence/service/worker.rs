//! The store's thread.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    Answered, Answers, Message, Question, Settings,
    clock::TrustedClock,
    now_s,
    opening::{open, put_aside},
};
use crate::{
    model::{Answer, Scope, Standing},
    prevalence::{
        fleet::{Fleet, Told},
        name::GroupName,
        store::{Expiry, SYNC, Store, StoreError},
        tally::{Bucket, Tally, day_of},
    },
};

/// Questions and confirmations that are taken together.
const BATCH: usize = 1024;
/// Groups that are told to the fleet's store together, when it is back.
const RESENT: usize = 256;
/// How often groups that are over are looked for, by a clock that was not set.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// First events that wait to be told. Of further ones the next one like it is told again.
const MAX_UNSETTLED: usize = 16_384;
/// New groups that unprivileged processes of this host may add to the fleet's store in an hour. Further ones are this host's alone.
const UNPRIVILEGED_PER_HOUR: u32 = 1000;

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

/// How the thread is reached, and what it is to fill.
pub(super) struct Ways {
    pub(super) messages: Receiver<Message>,
    pub(super) settlements: Receiver<(u64, bool)>,
    pub(super) answers: Answers,
    pub(super) evicted: Arc<AtomicU64>,
}

/// What is to be done at one time.
#[derive(Default)]
struct Turn {
    questions: Vec<Question>,
    /// What the fleet's store has confirmed of which groups, or not.
    confirmed: Vec<(GroupName, Vec<Bucket>, bool)>,
    stop: bool,
}

/// The state of the store's thread.
pub(super) struct Worker {
    settings: Settings,
    store: Store,
    fleet: Option<Fleet>,
    ways: Ways,
    /// When the first event was counted that is not on disk.
    unsynced_since: Option<Instant>,
    clock: TrustedClock,
    swept: Instant,
    /// First events, of privileged processes or not, of which it is not known whether they were told, and their groups.
    unsettled: HashMap<u64, (GroupName, bool)>,
    under_way: HashSet<(GroupName, bool)>,
    /// What became of events that were not counted yet: who asked would not wait.
    early: BTreeMap<u64, bool>,
    /// What the fleet was told and has not confirmed. A group is told again afterwards only, so that nothing is on its way twice.
    told: HashSet<GroupName>,
    allowance: Allowance,
    /// The fleet's store is to be told what it does not know, of the groups behind this one.
    resend_from: Option<GroupName>,
    /// The disk refuses: that has been said.
    failing: bool,
}

impl Worker {
    pub(super) fn new(settings: Settings, store: Store, fleet: Option<Fleet>, ways: Ways) -> Self {
        Self {
            settings,
            store,
            fleet,
            ways,
            unsynced_since: None,
            clock: TrustedClock::default(),
            swept: Instant::now(),
            unsettled: HashMap::new(),
            under_way: HashSet::new(),
            early: BTreeMap::new(),
            told: HashSet::new(),
            allowance: Allowance::new(),
            resend_from: None,
            failing: false,
        }
    }

    /// Until it is told to stop.
    pub(super) fn work(mut self) {
        loop {
            let Turn { questions, confirmed, mut stop } = self.take();
            let settled: Vec<_> = self.ways.settlements.try_iter().collect();
            let turn = panic::catch_unwind(AssertUnwindSafe(|| {
                settled.into_iter().for_each(|(id, told)| self.settled(id, told));
                confirmed.iter().for_each(|(name, days, done)| self.confirmed(name, days, *done));
                self.count(&questions);
                self.settle_early(&questions);
                self.sync(stop);
                self.tell_fleet();
            }));
            // redb panics on some damaged files.
            if turn.is_err() {
                let unknown = |question: &Question| Answered { id: question.id, answer: Answer::Unknown, more: false };
                questions.iter().map(unknown).for_each(|answered| self.ways.answers.send(answered));
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

    /// Waits for something to do.
    fn take(&mut self) -> Turn {
        let mut turn = Turn::default();
        let patience = match self.unsynced_since {
            _ if self.resend_from.is_some() => Duration::from_millis(20),
            Some(since) => SYNC.saturating_sub(since.elapsed()),
            // To be told of what was told.
            None if !self.unsettled.is_empty() => SYNC,
            None => SWEEP_EVERY,
        };
        let mut next = self.ways.messages.recv_timeout(patience);
        loop {
            match next {
                Ok(Message::Count(question)) => turn.questions.push(question),
                Ok(Message::Confirmed { name, days, done }) => turn.confirmed.push((name, days, done)),
                Ok(Message::FleetIsBack) => self.resend_from = Some(GroupName::first()),
                // Our own end holds a sender, through the fleet's thread.
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    turn.stop = true;
                    break;
                }
                Err(RecvTimeoutError::Timeout) => break,
            }
            if turn.questions.len() + turn.confirmed.len() >= BATCH {
                break;
            }
            next = self.ways.messages.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        }
        turn
    }

    fn settled(&mut self, id: u64, told: bool) {
        let Some(first) = self.unsettled.remove(&id) else {
            // Its question is still under way, or there was no room for it.
            self.early.insert(id, told);
            return;
        };
        self.under_way.remove(&first);
        if !told {
            return;
        }
        let settled = self.store.settle(&first.0, first.1);
        self.note(settled);
        self.unsynced_since.get_or_insert_with(Instant::now);
    }

    /// Questions come in the order of their numbers.
    fn settle_early(&mut self, questions: &[Question]) {
        let Some(last) = questions.last() else { return };
        let later = self.early.split_off(&(last.id + 1));
        for (id, told) in std::mem::replace(&mut self.early, later) {
            if self.unsettled.contains_key(&id) {
                self.settled(id, told);
            }
        }
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
                    self.ways.answers.send(Answered { id: question.id, answer: Answer::Unknown, more: false });
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
            return self.ways.answers.send(Answered { id, answer: Answer::Known(standing), more: false });
        }
        self.store.mark_unsent(&question.name);
        let more = self.tell(Some((id, standing)), &question.name, tally.unsent().collect());
        self.ways.answers.send(Answered { id, answer: Answer::FleetSilent(standing), more });
    }

    /// Tells the fleet's store of a group; whether there may be an answer.
    fn tell(&mut self, question: Option<(u64, Standing)>, name: &GroupName, days: Vec<Bucket>) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        if fleet.tell(Told { question, days, name: name.clone(), epoch: self.store.epoch() }) {
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
        self.ways.evicted.store(self.store.evicted(), Ordering::Relaxed);
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
