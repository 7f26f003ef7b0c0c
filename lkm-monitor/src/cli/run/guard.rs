//! The daemon's eye on itself: links that somebody takes away, signs of life, the record for the next run.

use std::time::{Duration, Instant};

use crate::{
    config::{Config, HeartbeatConfig, SensorConfig},
    inspect::{self, own_usage},
    model::{Agent, Heartbeat, Host, Metric, Moment, RunRecord},
    pipeline::{Pipeline, boot_ns},
    runs::Recorder,
    sensor::{
        attach::Programs,
        losses::Totals,
        own_objects::{self, Links},
        report,
    },
};

/// How often links are looked at.
const LINKS_EVERY: Duration = Duration::from_secs(5);

/// The sensor's links.
#[derive(Debug)]
pub(super) struct LinkWatch {
    links: Links,
    /// Programs that could not be attached again yet, with the descriptors that their links had.
    detached: Vec<(&'static str, u32)>,
    looked: Instant,
    /// When all of them were there the last time, in nanoseconds since boot.
    seen_boot_ns: u64,
}

impl LinkWatch {
    /// Begins with the links as they are.
    pub(super) fn start(programs: &mut Programs, pipeline: &mut Pipeline) -> Self {
        programs.follow_blindness(boot_ns());
        let (links, detached) = (Links::default(), Vec::new());
        let mut watch = Self { links, detached, looked: Instant::now(), seen_boot_ns: boot_ns() };
        watch.find(programs, pipeline);
        watch
    }

    /// Looks whether links were lost, from time to time and on suspicion; attaches again, and tells.
    pub(super) fn follow(&mut self, suspicious: bool, programs: &mut Programs, pipeline: &mut Pipeline) {
        if !suspicious && self.looked.elapsed() < LINKS_EVERY {
            return;
        }
        self.looked = Instant::now();
        self.recover(programs, pipeline);
        let now_ns = boot_ns();
        let lost = self.links.lost();
        if lost.is_empty() {
            self.seen_boot_ns = now_ns;
            return;
        }
        // Their successors are found below, or at the next look.
        self.links.forget(&lost);
        let hooks = programs.attach_again(&lost, self.seen_boot_ns);
        for hook in &hooks {
            let attached_again = hook.error.is_none();
            tracing::error!(
                hook = hook.hook,
                attached_again,
                error = hook.error,
                "a hook was lost, and not by the daemon"
            );
        }
        let failed = |program| hooks.iter().any(|hook| hook.probe == program && hook.error.is_some());
        self.detached.extend(lost.iter().filter(|(program, _)| failed(*program)));
        programs.follow_blindness(self.seen_boot_ns);
        self.find(programs, pipeline);
        self.seen_boot_ns = now_ns;
        pipeline.tell_state(&report::detached(programs, hooks, boot_ns()));
    }

    /// Tries again what failed before: to attach, and to find the links. Tells when it is better.
    fn recover(&mut self, programs: &mut Programs, pipeline: &mut Pipeline) {
        let mut hooks = programs.attach_again(&self.detached, self.seen_boot_ns);
        hooks.retain(|hook| hook.error.is_none());
        self.detached.retain(|(program, _)| hooks.iter().all(|hook| hook.probe != *program));
        let were_unwatched = programs.links_unwatched;
        if were_unwatched || !hooks.is_empty() {
            self.find(programs, pipeline);
        }
        if hooks.is_empty() && were_unwatched == programs.links_unwatched {
            return;
        }
        programs.follow_blindness(boot_ns());
        for hook in &hooks {
            tracing::warn!(hook = hook.hook, "a hook that was lost is attached again");
        }
        pipeline.tell_state(&report::restored(programs, boot_ns()));
    }

    /// Makes the sensor's objects known, and finds its links. Where that fails, those that were found before are looked at on.
    fn find(&mut self, programs: &mut Programs, pipeline: &mut Pipeline) {
        match own_objects::announce(programs) {
            Ok(names) => pipeline.know_objects(names),
            Err(error) => tracing::error!(%error, "other processes at the sensor's programs and maps are not seen"),
        }
        let found = Links::find(programs);
        programs.links_unwatched = found.is_err();
        match found {
            Ok(links) => self.links = links,
            Err(error) => tracing::error!(%error, "whether the sensor's hooks stay attached is not seen"),
        }
    }
}

/// Signs of life.
#[derive(Debug)]
pub(super) struct Heart {
    config: HeartbeatConfig,
    sensor: SensorConfig,
    recorder: Option<Recorder>,
    began: Moment,
    told: Instant,
    recorded: Instant,
}

impl Heart {
    /// Begins to keep the record of this run.
    pub(super) fn start(config: &Config, configuration_sha256: String, host: &Host, agent: &Agent) -> Self {
        let began = inspect::now();
        let run = RunRecord {
            ephemeral_id: agent.ephemeral_id.clone(),
            boot_id: host.boot_id.clone(),
            began,
            seen: began,
            configuration_sha256,
            ..RunRecord::default()
        };
        let recorder = Recorder::start(config.heartbeat.run_record.clone(), run)
            .inspect_err(|error| tracing::error!(%error, "the run is not on record"))
            .ok();
        let (heartbeat, sensor) = (config.heartbeat.clone(), config.sensor.clone());
        let started = Instant::now();
        Self { config: heartbeat, sensor, recorder, began, told: started, recorded: started }
    }

    /// When the run began.
    pub(super) const fn began(&self) -> Moment {
        self.began
    }

    /// Puts on record with which settings the run goes on.
    pub(super) fn follow_settings(&mut self, configuration_sha256: String) {
        if let Some(recorder) = &mut self.recorder {
            recorder.follow(configuration_sha256);
            recorder.beat(inspect::now());
        }
    }

    /// Beats when it is time, and tells what was found of the run before. `totals` are the probes' counters, where they can be read, and
    /// `more` those that others keep.
    pub(super) fn follow(
        &mut self,
        programs: &mut Programs,
        pipeline: &mut Pipeline,
        totals: Option<&Totals>,
        more: Vec<Metric>,
    ) {
        if let Some(recorder) = &self.recorder {
            if let Some(succession) = recorder.succession() {
                pipeline.tell_succession(&succession);
            }
            if self.recorded.elapsed() >= self.config.record_interval() {
                self.recorded = Instant::now();
                recorder.beat(inspect::now());
            }
        }
        if self.config.interval().is_some_and(|interval| self.told.elapsed() >= interval) {
            self.told = Instant::now();
            let heartbeat = self.heartbeat(programs, pipeline, totals, more);
            pipeline.tell_heartbeat(&heartbeat);
        }
    }

    /// What there is to tell now. See [`Self::follow`].
    pub(super) fn heartbeat(
        &self,
        programs: &mut Programs,
        pipeline: &Pipeline,
        totals: Option<&Totals>,
        more: Vec<Metric>,
    ) -> Heartbeat {
        let boot_ns = boot_ns();
        let mut state = report::alive(programs, totals, boot_ns);
        state.counters.extend(pipeline.counters());
        let mut metrics = pipeline.metrics();
        let failed = self.recorder.as_ref().map_or(0, Recorder::failed);
        metrics.push(Metric { name: "run_record_failed", labels: Vec::new(), value: failed });
        metrics.extend(more);
        Heartbeat {
            state,
            interval_s: self.config.interval_s,
            uptime_ns: boot_ns.saturating_sub(self.began.boot_ns),
            memory_bytes: own_usage::memory_bytes(),
            cpu_ns: Some(own_usage::cpu_ns()),
            rings: programs.ring_fills(&self.sensor),
            metrics,
        }
    }

    /// Puts on record that the run was told to stop.
    pub(super) fn stop(self, deadline: Instant) {
        if let Some(recorder) = self.recorder
            && !recorder.stop(inspect::now(), deadline)
        {
            tracing::warn!("that this run was stopped is not on record: the next one will take it for killed");
        }
    }
}
