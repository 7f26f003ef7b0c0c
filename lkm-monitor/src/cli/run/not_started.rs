//! The end of a daemon that cannot start: it tells those who get its documents, since nobody else will.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{RunArgs, finish::finish, way_out};
use crate::{
    alert::{Document, Renderer},
    assess,
    config::{Config, Problems, SpoolConfig},
    inspect::{self, Patterns},
    lifecycle::{DRAIN, notify::ServiceManager},
    model::{Agent, Host, NotStarted},
    output::{Priority, Target as _},
    pipeline::boot_ns,
    spool::{Condition, Spool},
};

/// Between two tries of a service manager. What hinders may last, and each try is a document and the verifier's time.
const BETWEEN_TRIES: Duration = Duration::from_secs(30);

/// Tells why nothing is watched, with the settings that hold. Where a service manager would start the daemon anew at once, this returns
/// when it is time for that. What cannot be told is in the log.
pub(super) fn tell(args: &RunArgs, config: &Config, reason: &str) {
    let begun = Instant::now();
    if let Err(error) = deliver(args, config, reason, begun + DRAIN) {
        tracing::error!("nobody is told that nothing is watched: {error:#}");
    }
    if ServiceManager::of_environment().not_ready(reason) {
        std::thread::sleep(BETWEEN_TRIES.saturating_sub(begun.elapsed()));
    }
}

/// Through the spool to the sinks. What they have not got until `deadline` waits for the next start.
fn deliver(args: &RunArgs, config: &Config, reason: &str, deadline: Instant) -> anyhow::Result<()> {
    let (host, agent) = identity()?;
    let (delivery, carriers) = way_out(args, config, &host, &agent)?;
    delivery.output.send(document(host, agent, reason), Priority::Reserved);
    Ok(finish(delivery.output, carriers, deadline, || ())?)
}

/// Leaves word of settings that cannot be used in the spool at its usual place, if it is there: who its sinks are is among what is wrong, so
/// it goes out with the next start.
pub(super) fn leave_word(usual: &SpoolConfig, problems: &Problems) {
    if let Err(error) = put(usual, &summary(problems)) {
        tracing::error!("nobody is told that nothing is watched: {error:#}");
    }
}

fn put(usual: &SpoolConfig, reason: &str) -> anyhow::Result<()> {
    let (host, agent) = identity()?;
    let mut spool = Arc::new(Spool::open_existing(usual.settings()?)?);
    spool.take(&mut vec![document(host, agent, reason)]).context("the spool takes nothing")?;
    match spool.condition() {
        Condition::Durable => Ok(()),
        Condition::InMemory(reason) => anyhow::bail!(reason),
    }
}

/// The first of them stands for all: the log has the others.
fn summary(problems: &Problems) -> String {
    let first = problems.lines().into_iter().next().unwrap_or_default();
    match problems.number() {
        0 | 1 => first,
        number => format!("{first}, and {} more", number - 1),
    }
}

fn identity() -> anyhow::Result<(Host, Agent)> {
    let host = inspect::read_host(&Patterns::default())?;
    let agent = inspect::identify_agent(&host, std::process::id(), boot_ns());
    Ok((host, agent))
}

fn document(host: Host, agent: Agent, reason: &str) -> Document {
    let not_started = NotStarted { boot_ns: boot_ns(), reason: reason.to_owned() };
    let verdict = assess::assess_not_started(&not_started);
    Renderer::new(host, agent, inspect::read_clock()).render_not_started(&not_started, &verdict)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;

    use super::*;
    use crate::{config, spool::Leave};

    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn write(path: &Path, settings: &str) -> Result<Config, Problems> {
        fs::write(path, settings).unwrap();
        config::load(Some(path)).map(|loaded| loaded.config)
    }

    #[test]
    fn the_sinks_get_the_reason_before_the_daemon_ends() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("events.ndjson");
        let spool = folder.path().join("spool.redb");
        let settings = format!("spool.path = {spool:?}\nsinks.log.file.path = {log:?}\n");
        let config = write(&folder.path().join("config.toml"), &settings).unwrap();
        let args = RunArgs { stdout: false, events: false, record: None, config: None };
        deliver(&args, &config, "no type information", in_time()).unwrap();
        let written = fs::read_to_string(&log).unwrap();
        let last: Value = serde_json::from_str(written.lines().last().unwrap()).unwrap();
        assert_eq!((&last["event"]["action"], &last["event"]["kind"]), (&"sensor-not-started".into(), &"alert".into()));
        assert_eq!(last["event"]["reason"], "no type information");
    }

    #[test]
    fn wrong_settings_are_told_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let usual = SpoolConfig { path: folder.path().join("spool.redb"), ..SpoolConfig::default() };
        assert!(put(&usual, "no spool yet").is_err());
        let first = Spool::open(usual.settings().unwrap()).unwrap();
        first.set_sinks([("siem".to_owned(), true)].into()).unwrap();
        drop(first);

        let problems = write(&folder.path().join("wrong.toml"), "a = 1\nb = 2\nc = 3\n").unwrap_err();
        leave_word(&usual, &problems);

        let next = Spool::open(usual.settings().unwrap()).unwrap();
        next.set_sinks([("siem".to_owned(), true)].into()).unwrap();
        let batch = next.next("siem", (10, 1 << 20), Duration::ZERO, &Leave::default()).unwrap();
        let [entry] = batch.entries.as_slice() else { panic!("one document, not {batch:?}") };
        let document: Value = serde_json::from_slice(&entry.json).unwrap();
        assert_eq!(document["event"]["action"], "sensor-not-started");
        let reason = document["event"]["reason"].as_str().unwrap();
        assert!(reason.contains("wrong.toml:1: a: ") && reason.ends_with(", and 2 more"), "{reason}");
    }
}
