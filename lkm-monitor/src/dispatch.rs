//! The way out: the spool, and a courier for each sink. Made from settings, and made anew when these change.
//!
//! A thread of its own looks after them: the reader of the rings asks for nothing here that a disk could keep waiting.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::{
    config::sinks::{Documents, Plan},
    database::DatabaseError,
    latency::Latencies,
    model::{Agent, Host},
    sinks::courier::{self, Courier, Health, Route},
    spool::{Condition, Counts, Limits, Settings, Spool},
};

/// How often it is looked how everything is doing.
const LOOK: Duration = Duration::from_millis(500);
/// The same at the end, when somebody waits for it.
const LAST_LOOKS: Duration = Duration::from_millis(20);

/// Why documents cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Spool(#[from] DatabaseError),
    #[error("no thread for {name}: {source}")]
    Thread { name: String, source: std::io::Error },
    #[error("the courier of the sink {sink} has died")]
    Died { sink: String },
    #[error("the dispatch has died: nobody looks after the spool and the sinks")]
    Orphaned,
}

/// How everything is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What became of documents since the spool's file was made.
    pub counts: Counts,
    /// What of it was told by runs before.
    pub before: Counts,
    /// Bytes of documents in the spool, and how many there may be.
    pub bytes: u64,
    pub max_bytes: u64,
    /// By sink: how many documents came in after those that it has. What was given up since, or is not for it, is among them.
    pub waiting: BTreeMap<String, u64>,
    pub dead_letters: u64,
    pub condition: Condition,
    /// By sink. What is counted goes on when a reload makes a sink anew.
    pub sinks: BTreeMap<String, Health>,
    /// From the event to the moment in which its document is durable.
    pub durable: Latencies,
    /// Why no more is sent.
    pub failure: Option<String>,
}

/// What is to be done.
enum Order {
    Follow { plans: BTreeMap<String, Plan>, limits: Limits, min_free_bytes: u64 },
    NoteTold(Counts),
    Finish(Instant),
}

/// See the module.
#[derive(Debug)]
pub struct Dispatch {
    spool: Arc<Spool>,
    orders: Sender<Order>,
    status: Arc<Mutex<Status>>,
    thread: JoinHandle<()>,
}

impl Dispatch {
    /// Opens the spool, and starts to deliver what is in it.
    pub fn start(
        settings: Settings,
        plans: BTreeMap<String, Plan>,
        host: &Host,
        agent: &Agent,
    ) -> Result<Self, DispatchError> {
        let spool = Arc::new(Spool::open(settings)?);
        let mut desk = Desk {
            spool: Arc::clone(&spool),
            host: host.clone(),
            agent: agent.clone(),
            health: BTreeMap::new(),
            couriers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            vacant: BTreeMap::new(),
        };
        desk.follow(plans)?;
        let status = Arc::new(Mutex::new(desk.status(None)));
        let (orders, received) = unbounded();
        let published = Arc::clone(&status);
        let thread = std::thread::Builder::new()
            .name("dispatch".to_owned())
            .spawn(move || desk.work(&received, &published))
            .map_err(|source| DispatchError::Thread { name: "the dispatch".to_owned(), source })?;
        Ok(Self { spool, orders, status, thread })
    }

    /// Where documents go into.
    pub const fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Uses these sinks, and no others, and these bounds, soon. One that did not change goes on undisturbed, another where its courier has
    /// got to.
    pub fn follow(&self, plans: BTreeMap<String, Plan>, Settings { limits, min_free_bytes, .. }: Settings) {
        // Nobody listens any more when the status says why.
        let _ = self.orders.send(Order::Follow { plans, limits, min_free_bytes });
    }

    /// Notes, soon, which totals were told.
    pub fn note_told(&self, told: Counts) {
        let _ = self.orders.send(Order::NoteTold(told));
    }

    /// How everything was doing half a second ago. Never waits for a disk.
    pub fn status(&self) -> Status {
        // Looked at first: what a thread that ends by itself says last is the reason.
        let has_ended = self.thread.is_finished();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if has_ended && status.failure.is_none() {
            status.failure = Some(DispatchError::Orphaned.to_string());
        }
        status
    }

    /// Lets the couriers bring away what they can until `deadline`. What is left stays in the spool.
    pub fn finish(self, deadline: Instant) {
        let _ = self.orders.send(Order::Finish(deadline));
        // A disk may keep the thread waiting, but not us.
        while Instant::now() < deadline && !self.thread.is_finished() {
            std::thread::sleep(LAST_LOOKS);
        }
    }
}

/// What the thread has.
struct Desk {
    spool: Arc<Spool>,
    host: Host,
    agent: Agent,
    /// Of each sink that is set, whoever carries to it.
    health: BTreeMap<String, Arc<Mutex<Health>>>,
    /// With what they were made of.
    couriers: BTreeMap<String, (Plan, Courier)>,
    /// Couriers that were asked to end: their sinks are still in their hands.
    leaving: BTreeMap<String, Courier>,
    /// Sinks without a courier.
    vacant: BTreeMap<String, Plan>,
}

impl Desk {
    fn work(mut self, orders: &Receiver<Order>, status: &Mutex<Status>) {
        loop {
            let done = match orders.recv_timeout(LOOK) {
                Ok(Order::Follow { plans, limits, min_free_bytes }) => {
                    self.spool.set_limits(limits, min_free_bytes);
                    self.follow(plans)
                }
                Ok(Order::NoteTold(told)) => {
                    self.spool.note_told(told);
                    continue;
                }
                Ok(Order::Finish(deadline)) => return self.finish(deadline),
                Err(RecvTimeoutError::Timeout) => {
                    self.spool.look_after();
                    self.look_after()
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.status(done.as_ref().err());
            *status.lock().unwrap_or_else(PoisonError::into_inner) = now;
            if done.is_err() {
                return;
            }
        }
    }

    fn follow(&mut self, mut plans: BTreeMap<String, Plan>) -> Result<(), DispatchError> {
        let wants_alerts = |plan: &Plan| plan.documents == Documents::Alerts;
        self.spool.set_sinks(plans.iter().map(|(name, plan)| (name.clone(), wants_alerts(plan))).collect())?;
        self.health.retain(|name, _| plans.contains_key(name));
        for (name, (plan, courier)) in std::mem::take(&mut self.couriers) {
            if plans.get(&name) == Some(&plan) {
                // It goes on: whoever is made anew waits for its receiver, and for what it is sent a second time.
                plans.remove(&name);
                self.couriers.insert(name, (plan, courier));
            } else {
                courier.dismiss();
                self.leaving.insert(name, courier);
            }
        }
        self.vacant = plans;
        self.look_after()
    }

    /// Gives sinks their couriers: a courier that was asked to end may take as long as its sink's timeout. An error where one has ended by
    /// itself.
    fn look_after(&mut self) -> Result<(), DispatchError> {
        if let Some((sink, _)) = self.couriers.iter().find(|(_, (_, courier))| courier.has_ended()) {
            return Err(DispatchError::Died { sink: sink.clone() });
        }
        self.leaving.retain(|_, courier| !courier.has_ended());
        for (name, plan) in std::mem::take(&mut self.vacant) {
            if self.leaving.contains_key(&name) {
                self.vacant.insert(name, plan);
                continue;
            }
            let health = Arc::clone(self.health.entry(name.clone()).or_default());
            let route = Route { health, ..Route::new(&name, plan.batch_documents, plan.batch_bytes) };
            let courier = Courier::start(Arc::clone(&self.spool), plan.sink(&self.host, &self.agent), route)
                .map_err(|source| DispatchError::Thread { name: name.clone(), source })?;
            self.couriers.insert(name, (plan, courier));
        }
        Ok(())
    }

    fn status(&self, failure: Option<&DispatchError>) -> Status {
        Status {
            counts: self.spool.counts(),
            before: self.spool.before(),
            bytes: self.spool.bytes(),
            max_bytes: self.spool.max_bytes(),
            waiting: self.spool.waiting(),
            dead_letters: self.spool.dead_letter_count(),
            condition: self.spool.condition(),
            sinks: self.health.iter().map(|(name, health)| (name.clone(), courier::health(health))).collect(),
            durable: self.spool.durable(),
            failure: failure.map(ToString::to_string),
        }
    }

    fn finish(mut self, deadline: Instant) {
        let is_well = |courier: &Courier| courier.health().failure.is_none() && !courier.has_ended();
        let is_busy =
            |(sink, (_, courier)): (&String, &(Plan, Courier))| is_well(courier) && !self.spool.is_satisfied(sink);
        while Instant::now() < deadline && self.couriers.iter().any(is_busy) {
            std::thread::sleep(LAST_LOOKS);
        }
        self.leaving.extend(self.couriers.into_iter().map(|(name, (_, courier))| (name, courier)));
        self.leaving.values().for_each(Courier::dismiss);
        while Instant::now() < deadline && !self.leaving.values().all(Courier::has_ended) {
            std::thread::sleep(LAST_LOOKS);
        }
        self.spool.come_to_an_end();
        let bytes = self.spool.bytes();
        match self.spool.condition() {
            _ if bytes == 0 => {}
            Condition::Durable => {
                tracing::warn!(bytes, "documents stay in the spool: they are sent after the next start");
            }
            Condition::InMemory(reason) => {
                tracing::error!(bytes, reason, "documents are lost: they were in memory only")
            }
        }
    }
}

#[cfg(test)]
mod tests;
