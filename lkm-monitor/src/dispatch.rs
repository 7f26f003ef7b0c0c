//! The way out: the spool, and a courier for each sink. Made from settings, and made anew when these change.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::sinks::{Documents, Plan},
    database::DatabaseError,
    model::{Agent, Host},
    sinks::courier::{Courier, Health, Route},
    spool::{Settings, Spool},
};

/// How often it is looked whether everything has been brought away, at the end.
const LOOK: Duration = Duration::from_millis(20);

/// Why documents cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Spool(#[from] DatabaseError),
    #[error("no thread for the sink {sink}: {source}")]
    Thread { sink: String, source: std::io::Error },
    #[error("the courier of the sink {sink} has died")]
    Died { sink: String },
}

/// See the module.
#[derive(Debug)]
pub struct Dispatch {
    spool: Arc<Spool>,
    host: Host,
    agent: Agent,
    couriers: BTreeMap<String, Courier>,
    /// Couriers that were asked to end: their sinks are still in their hands.
    leaving: BTreeMap<String, Courier>,
    /// Sinks without a courier.
    vacant: BTreeMap<String, Plan>,
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
        let mut dispatch = Self {
            spool,
            host: host.clone(),
            agent: agent.clone(),
            couriers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            vacant: BTreeMap::new(),
        };
        dispatch.follow(plans)?;
        Ok(dispatch)
    }

    /// Where documents go into.
    pub const fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Uses these sinks, and no others, from now on. Each goes on where its courier has got to; a courier may take as long as its
    /// timeout to end, which [`Self::look_after`] waits for.
    pub fn follow(&mut self, plans: BTreeMap<String, Plan>) -> Result<(), DispatchError> {
        let wants = |plan: &Plan| plan.documents == Documents::Alerts;
        self.spool.set_sinks(plans.iter().map(|(name, plan)| (name.clone(), wants(plan))).collect())?;
        for (name, courier) in std::mem::take(&mut self.couriers) {
            courier.dismiss();
            self.leaving.insert(name, courier);
        }
        self.vacant = plans;
        self.look_after()
    }

    /// Gives sinks their couriers. An error where one has ended by itself.
    pub fn look_after(&mut self) -> Result<(), DispatchError> {
        if let Some((sink, _)) = self.couriers.iter().find(|(_, courier)| courier.has_ended()) {
            return Err(DispatchError::Died { sink: sink.clone() });
        }
        self.leaving.retain(|_, courier| !courier.has_ended());
        for (name, plan) in std::mem::take(&mut self.vacant) {
            if self.leaving.contains_key(&name) {
                self.vacant.insert(name, plan);
                continue;
            }
            let route = Route::new(&name, plan.batch_documents, plan.batch_bytes);
            let courier = Courier::start(Arc::clone(&self.spool), plan.sink(&self.host, &self.agent), route)
                .map_err(|source| DispatchError::Thread { sink: name.clone(), source })?;
            self.couriers.insert(name, courier);
        }
        Ok(())
    }

    /// By sink, how it is doing.
    pub fn health(&self) -> BTreeMap<String, Health> {
        self.couriers.iter().map(|(name, courier)| (name.clone(), courier.health())).collect()
    }

    /// Lets the couriers bring away what they can until `deadline`. What is left stays in the spool.
    pub fn finish(mut self, deadline: Instant) {
        let is_well = |courier: &Courier| courier.health().failure.is_none() && !courier.has_ended();
        while Instant::now() < deadline && self.spool.bytes() > 0 && self.couriers.values().any(is_well) {
            std::thread::sleep(LOOK);
        }
        let bytes = self.spool.bytes();
        if bytes > 0 {
            tracing::warn!(bytes, "documents stay in the spool: they are sent after the next start");
        }
        self.leaving.append(&mut self.couriers);
        self.leaving.values().for_each(Courier::dismiss);
        while Instant::now() < deadline && !self.leaving.values().all(Courier::has_ended) {
            std::thread::sleep(LOOK);
        }
    }
}
