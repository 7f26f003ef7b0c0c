//! Renders what happened as documents of the Elastic Common Schema 9.4. Pure but for the sequence number: it reads no file
//! and no clock.
//!
//! Every document stays under [`limit::MAX_DOCUMENT_BYTES`], holds no empty value and no number that a SIEM could not store,
//! whatever the observed process put into its names, paths and arguments.

mod burst;
mod call;
mod common;
mod configuration;
mod drift;
mod event_id;
mod file;
mod file_change;
mod finding;
mod heartbeat;
mod host_state;
mod image;
mod json;
pub mod limit;
mod object_access;
mod process;
mod rarity;
mod request;
mod run;
mod scene;
mod sensor;
mod spool;
#[cfg(test)]
mod tests;
mod tool_run;

use std::cell::{Cell, RefCell};

use crate::model::{
    Accounts, Agent, Class, Clock, ClockStep, Drift, Excluded, FileBurst, Heartbeat, Host, Loss, ModuleCall,
    NotStarted, Observation, Reload, SensorState, Severity, SpoolChange, StateReport, Succession, Verdict,
};
use common::Common;
use event_id::EventKey;
use json::{Value, json, long, merge};
use scene::Scene;

/// The version of ECS that the documents follow.
pub const ECS_VERSION: &str = "9.4.0";

/// `event.dataset` and `data_stream.dataset`.
pub const DATASET: &str = "lkm_monitor.events";

/// Fields that hold a hash, for `related.hash`. The file's and the image's are the same as a rule.
const HASHES: [&str; 3] = ["file.hash.sha256", "lkm_monitor.image.sha256", "lkm_monitor.image.unpacked_sha256"];

/// One rendered document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// `event.id`: the same for the same event, so that sending it twice does not make two of it.
    pub id: String,
    pub class: Class,
    /// When it happened, in milliseconds of the wall clock.
    pub happened_ms: u64,
    /// A JSON object in one line, with its newline.
    pub line: Vec<u8>,
}

/// Renders documents and numbers them.
#[derive(Debug)]
pub struct Renderer {
    host: Host,
    common: Common,
    clock: Clock,
    /// A cell, since documents borrow the rest while they get their number.
    sequence: Cell<u64>,
    /// Where a document is written, until its length is known. It stays as long as the longest one.
    line: RefCell<Vec<u8>>,
}

/// `event.id` of the document on a call.
pub fn call_id(call: &ModuleCall, boot_id: &str) -> String {
    EventKey::of_call(call).id(boot_id)
}

impl Renderer {
    /// Documents of this run of the daemon on this host.
    pub fn new(host: Host, agent: Agent, clock: Clock) -> Self {
        Self { common: Common::new(&host, &agent), host, clock, sequence: Cell::new(0), line: RefCell::default() }
    }

    /// Follows a step of the wall clock.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The alert of an observation with findings; telemetry of one without.
    pub fn render_observation(
        &mut self,
        observation: &Observation,
        verdict: &Verdict,
        accounts: &Accounts,
    ) -> Document {
        let scene = Scene { host: &self.host, clock: self.clock, accounts };
        let (key, mut document) = match observation {
            Observation::Call(observed) => (EventKey::of_call(observed), call::render(observed, &scene)),
            Observation::Request(observed) => (EventKey::of_request(observed), request::render(observed, &scene)),
            Observation::File(observed) => (EventKey::of_file(&observed.change), file_change::render(observed, &scene)),
            Observation::Tool(observed) => (EventKey::of_tool(observed), tool_run::render(observed, &scene)),
            Observation::Object(observed) => (EventKey::of_object(observed), object_access::render(observed, &scene)),
        };
        merge(&mut document, finding::render(verdict));
        self.finish(&key, document)
    }

    /// The alert on many changes of files.
    pub fn render_burst(&mut self, observed: &FileBurst, verdict: &Verdict, accounts: &Accounts) -> Document {
        let scene = Scene { host: &self.host, clock: self.clock, accounts };
        let mut document = burst::render(observed, &scene);
        merge(&mut document, finding::render(verdict));
        self.finish(&EventKey::of_burst(observed), document)
    }

    /// The metric of changes that exclusions kept back.
    pub fn render_excluded(&mut self, counts: &[Excluded], boot_ns: u64) -> Document {
        self.finish(&EventKey::of_excluded(boot_ns), sensor::render_excluded(counts))
    }

    /// The metric of a loss.
    pub fn render_loss(&mut self, loss: &Loss) -> Document {
        self.finish(&EventKey::of_loss(loss), sensor::render_loss(loss))
    }

    /// What the sensor can see, and the alert if that is cause for one.
    pub fn render_state(&mut self, state: &SensorState, verdict: &Verdict) -> Document {
        let mut document = sensor::render_state(state, self.clock);
        merge(&mut document, finding::render(verdict));
        self.finish(&EventKey::of_state(state), document)
    }

    /// The alert of a daemon that ends before it watches anything.
    pub fn render_not_started(&mut self, not_started: &NotStarted, verdict: &Verdict) -> Document {
        let mut document = sensor::render_not_started(not_started);
        merge(&mut document, finding::render(verdict));
        self.finish(&EventKey::of_not_started(not_started), document)
    }

    /// The state of settings that were read anew.
    pub fn render_reload(&mut self, reload: &Reload) -> Document {
        self.finish(&EventKey::of_reload(reload), configuration::render(reload))
    }

    /// What a run finds of the one before, and the alert if that is cause for one.
    pub fn render_succession(&mut self, succession: &Succession, verdict: &Verdict) -> Document {
        let mut document = run::render(succession);
        merge(&mut document, finding::render(verdict));
        self.finish(&EventKey::of_succession(succession), document)
    }

    /// The alert of a difference that a look found which ended at this time since boot; its number among them tells it from the others.
    pub fn render_drift(&mut self, drift: &Drift, number: u32, boot_ns: u64, verdict: &Verdict) -> Document {
        let mut document = drift::render(drift);
        merge(&mut document, finding::render(verdict));
        self.finish(&EventKey::of_drift(drift::action(&drift.what), number, boot_ns), document)
    }

    /// The state of the host as a look found it.
    pub fn render_host_state(&mut self, report: &StateReport) -> Document {
        self.finish(&EventKey::of_host_state(report.state.ended.boot_ns), host_state::render(report))
    }

    /// The metric that says that the daemon is alive.
    pub fn render_heartbeat(&mut self, heartbeat: &Heartbeat) -> Document {
        self.finish(&EventKey::of_heartbeat(heartbeat), heartbeat::render(heartbeat, self.clock))
    }

    /// Whether documents are durable, and the alert when they are not.
    pub fn render_spool(&mut self, change: &SpoolChange, verdict: &Verdict) -> Document {
        let mut document = spool::render(change);
        merge(&mut document, finding::render(verdict));
        self.finish(&EventKey::of_spool(change), document)
    }

    /// The state of a clock that jumped, in the new time.
    pub fn render_clock_step(&mut self, step: &ClockStep) -> Document {
        self.finish(&EventKey::of_clock_step(step), sensor::render_clock_step(step))
    }

    /// Adds what all documents have. Each gets the next number, so what is rendered should be sent: a gap means loss.
    fn finish(&self, key: &EventKey<'_>, document: Value<'_>) -> Document {
        self.sequence.set(self.sequence.get() + 1);
        let id = key.id(&self.host.boot_id);
        let Common { ecs, data_stream, host, agent, observer } = &self.common;
        let mut hashes: Vec<_> = HASHES.iter().filter_map(|field| document.field(field)?.as_text().cloned()).collect();
        hashes.dedup();
        let mut whole = json!({
            "@timestamp": scene::timestamp(self.clock, key.boot_ns),
            "ecs": ecs,
            "event": {
                "id": &id,
                "sequence": long(self.sequence.get()),
                "dataset": DATASET,
                "module": "lkm_monitor",
            },
            "data_stream": data_stream,
            "host": host,
            "agent": agent,
            "observer": observer,
            "related": {
                "user": scene::user_names(&document),
                "hosts": [&self.host.hostname],
                "hash": Value::from_iter(hashes),
            },
        });
        merge(&mut whole, document);
        let happened_ms = u64::try_from(self.clock.realtime_ns(key.boot_ns) / 1_000_000).unwrap_or_default();
        let class = class(&whole);
        let mut line = self.line.borrow_mut();
        limit::write_line(whole, &mut line);
        Document { id, class, happened_ms, line: line.clone() }
    }
}

/// What a document is worth, by what it says.
fn class(document: &Value<'_>) -> Class {
    let text = |field: &str| document.field(field).and_then(Value::as_text).map_or("", |text| text);
    let severity = || match document.field("event.severity")? {
        Value::Number(number) => Severity::from_number(u64::try_from(*number).ok()?),
        _ => None,
    };
    match text("event.kind") {
        "alert" => Class::of_alert(severity().unwrap_or(Severity::Critical)),
        "event" => Class::Telemetry,
        _ if text("event.action") == sensor::LOST_EVENTS => Class::Loss,
        _ => Class::State,
    }
}
