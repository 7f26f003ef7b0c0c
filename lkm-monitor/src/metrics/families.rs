//! The metrics by their names. docs/operations.md lists them, `dist/prometheus` and `dist/grafana` make use of them: tests hold these
//! together.
//!
//! A counter is there from the start, with 0: of one that comes up later Prometheus does not see the first growth.

use std::fmt;

use super::{
    Snapshot,
    page::{Labels, Page, Rows, single},
};
use crate::{
    dispatch::Status,
    model::{Coverage, Metric},
    spool::{Condition, Count, Counter, Scope},
};

impl Snapshot {
    /// All of it.
    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.write_daemon(page)?;
        self.write_sensor(page)?;
        self.write_fates(page)?;
        self.write_evidence(page)?;
        self.write_integrity(page)?;
        self.carried.as_ref().map_or(Ok(()), |carried| write_carried(carried, page))
    }

    fn write_daemon(&self, page: &mut Page<'_>) -> fmt::Result {
        let heartbeat = &self.heartbeat;
        let taken_s = self.taken_ms as f64 / 1000.0;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        page.info("lkm_monitor_build", "The daemon's version", &version)?;
        page.gauge(
            "process_start_time_seconds",
            "When the daemon was started, in seconds since 1970",
            &single(self.started_ms as f64 / 1000.0),
        )?;
        let cpu = heartbeat.cpu_ns.map(|ns| (Labels::new(), seconds(ns)));
        page.counter("process_cpu_seconds", "Processor time that the daemon has used", &cpu.into_iter().collect())?;
        let memory = heartbeat.memory_bytes.map(|bytes| (Labels::new(), bytes as f64));
        page.gauge(
            "process_resident_memory_bytes",
            "Memory that the daemon has in use",
            &memory.into_iter().collect(),
        )?;
        page.gauge(
            "lkm_monitor_snapshot_timestamp_seconds",
            "When the main loop published these values, in seconds since 1970: twice a second, unless it stands still",
            &single(taken_s),
        )?;
        page.gauge(
            "lkm_monitor_heartbeat_interval_seconds",
            "Between two documents that say that the daemon is alive; 0 where there are none",
            &single(heartbeat.interval_s.into()),
        )?;
        page.counter(
            "lkm_monitor_run_record_failures",
            "Attempts to put the run on record that failed",
            &single(self.counted("run_record_failed")),
        )?;
        page.counter(
            "lkm_monitor_state_looks",
            "Looks at the state of the host that were told",
            &single(self.counted("state_looks")),
        )?;
        page.counter(
            "lkm_monitor_state_drifts",
            "Differences that looks found and no event explains",
            &single(self.counted("state_drifts")),
        )?;
        page.counter(
            "lkm_monitor_state_record_failures",
            "Attempts to put the last look on record that failed",
            &single(self.counted("state_record_failed")),
        )?;
        page.counter(
            "lkm_monitor_state_overdue",
            "Looks at the state of the host that came to no end in ten minutes",
            &single(self.counted("state_overdue")),
        )
    }

    fn write_sensor(&self, page: &mut Page<'_>) -> fmt::Result {
        let (state, waiting) = (&self.heartbeat.state, &self.waiting);
        page.gauge(
            "lkm_monitor_sensor_full_coverage",
            "1: all is seen that the daemon can see; 0: not all",
            &single(flag(state.coverage == Coverage::Full)),
        )?;
        page.gauge(
            "lkm_monitor_sensor_blind_hooks",
            "Hooks that do not report, though they should",
            &single(state.blind_hooks.len() as f64),
        )?;
        let since_s = |boot_ns| self.taken_ms as f64 / 1000.0 - seconds(state.boot_ns.saturating_sub(boot_ns));
        let blind = state.blind_hooks.iter().map(|blind| {
            (vec![("hook", blind.hook.clone()), ("probe", blind.probe.clone())], since_s(blind.since_boot_ns))
        });
        page.gauge(
            "lkm_monitor_sensor_blind_hook_timestamp_seconds",
            "Since when a hook does not report, in seconds since 1970",
            &blind.collect(),
        )?;
        let rings = |value: fn(&crate::model::RingFill) -> u64| -> Rows<f64> {
            self.heartbeat.rings.iter().map(|ring| (label("ring", ring.name), value(ring) as f64)).collect()
        };
        page.gauge(
            "lkm_monitor_ring_used_bytes",
            "Of a ring, what is waiting for the daemon",
            &rings(|ring| ring.used_bytes),
        )?;
        page.gauge("lkm_monitor_ring_size_bytes", "The size of a ring", &rings(|ring| ring.size_bytes))?;
        let counted = |name: &str| {
            let found = state.counters.iter().find(|(known, _)| *known == name);
            single(found.map_or(0, |(_, value)| *value) as f64)
        };
        page.counter("lkm_monitor_calls", "Module calls that began", &counted("calls_entered"))?;
        page.counter(
            "lkm_monitor_calls_unseen",
            "Of these, calls of which nothing else is known",
            &counted("calls_unseen"),
        )?;
        page.counter("lkm_monitor_events", "Events that the probes wrote to the rings", &counted("submitted"))?;
        page.gauge("lkm_monitor_calls_waiting", "Calls of which parts are to come", &single(waiting.calls as f64))?;
        page.gauge(
            "lkm_monitor_files_being_written",
            "Watched files that somebody has open for writing",
            &single(waiting.open_files as f64),
        )?;
        page.gauge(
            "lkm_monitor_output_queue_documents",
            "Documents on their way to the spool",
            &single(waiting.documents as f64),
        )
    }

    /// What became of events and documents.
    fn write_fates(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "lkm_monitor_lost",
            "Events and documents that were lost, since the daemon was started; each is told by a document lost-events",
            &self.rows("lost"),
        )?;
        let mut fates: Rows<f64> = ["documents", "folded", "excluded"]
            .into_iter()
            .map(|name| (fate("daemon", if name == "documents" { "told" } else { name }, None), self.counted(name)))
            .collect();
        fates.extend(self.carried.iter().flat_map(fates_of));
        page.counter(
            "lkm_monitor_documents",
            "Documents by what became of them: in the daemon since it was started, in the spool and at the sinks since the spool was made",
            &fates,
        )
    }

    /// Of images that are kept, where any are.
    fn write_evidence(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "lkm_monitor_evidence",
            "Images of modules that alerts were about, and those in the store of evidence, by what became of them, since the daemon was started",
            &self.rows("evidence"),
        )?;
        page.gauge(
            "lkm_monitor_evidence_bytes",
            "Bytes of images and their records in the store of evidence",
            &self.rows("evidence_bytes"),
        )?;
        page.gauge("lkm_monitor_evidence_images", "Images in the store of evidence", &self.rows("evidence_images"))
    }

    /// Of looks at the kernel, where there are any.
    fn write_integrity(&self, page: &mut Page<'_>) -> fmt::Result {
        let seconds = |name| self.rows(name).into_iter().map(|(labels, us)| (labels, us / 1e6)).collect();
        page.counter("lkm_monitor_integrity_looks", "Looks at the kernel", &self.rows("integrity_looks"))?;
        page.counter(
            "lkm_monitor_integrity_looks_incomplete",
            "Looks at which a view or a check was not whole, because it changed while it was read or was too much",
            &self.rows("integrity_looks_incomplete"),
        )?;
        page.gauge(
            "lkm_monitor_integrity_unavailable",
            "Views and checks that the last look could not look at; documents integrity-looked name them",
            &self.rows("integrity_unavailable"),
        )?;
        page.counter(
            "lkm_monitor_integrity_findings",
            "What was found in the kernel by two looks; each is told by an alert",
            &self.rows("integrity_findings"),
        )?;
        page.gauge(
            "lkm_monitor_integrity_findings_beyond",
            "Findings of the last look beyond those of each kind that are kept",
            &self.rows("integrity_findings_beyond"),
        )?;
        page.gauge(
            "lkm_monitor_integrity_other_code_pages",
            "Pages of code in the memory of modules that no module calls its own: BPF programs, trampolines and probes, or who hides",
            &self.rows("integrity_other_code_pages"),
        )?;
        page.gauge("lkm_monitor_integrity_look_seconds", "How long the last look took", &seconds("integrity_look_us"))?;
        page.gauge(
            "lkm_monitor_integrity_look_cpu_seconds",
            "Processor time that the last look took",
            &seconds("integrity_look_cpu_us"),
        )
    }

    /// All of this name that heartbeats tell.
    fn rows(&self, name: &str) -> Rows<f64> {
        let found = self.heartbeat.metrics.iter().filter(|metric| metric.name == name);
        found.map(|Metric { labels, value, .. }| (labels.clone(), *value as f64)).collect()
    }

    /// A counter of the pipeline, or of the record.
    fn counted(&self, name: &str) -> f64 {
        let found = self.heartbeat.metrics.iter().find(|metric| metric.name == name && metric.labels.is_empty());
        found.map_or(0, |metric| metric.value) as f64
    }
}

/// Of the spool and the sinks. Sinks that are there no more keep their counts.
fn fates_of(carried: &Status) -> Rows<f64> {
    let documents = |count: &Count| *count != Count::FileRemoved;
    let of_spool = |count: &Count| count.scope() != Scope::EachSink;
    let of_sinks = |count: &Count| count.scope() != Scope::Spool;
    let own = Count::ALL.into_iter().filter(of_spool).map(Counter::of);
    let each = Count::ALL
        .into_iter()
        .filter(of_sinks)
        .flat_map(|count| carried.sinks.keys().map(move |sink| Counter::of_sink(count, sink)));
    let zeros = own.chain(each).map(|counter| (counter, 0));
    let counted = carried.counts.iter().map(|(counter, value)| (counter.clone(), *value));
    zeros
        .chain(counted)
        .filter(|(counter, _)| documents(&counter.count))
        .map(|(Counter { count, sink }, value)| (fate(count.stage(), count.name(), sink), value as f64))
        .collect()
}

fn write_carried(carried: &Status, page: &mut Page<'_>) -> fmt::Result {
    page.gauge("lkm_monitor_spool_bytes", "Bytes of documents in the spool", &single(carried.bytes as f64))?;
    page.gauge("lkm_monitor_spool_max_bytes", "How many there may be", &single(carried.max_bytes as f64))?;
    page.gauge(
        "lkm_monitor_spool_durable",
        "1: documents are on the disk before they are sent; 0: they are kept in memory only, because the disk takes none",
        &single(flag(carried.condition == Condition::Durable)),
    )?;
    page.gauge(
        "lkm_monitor_spool_waiting_documents",
        "At the most so many documents wait for a sink: those that came in after the last one that it has",
        &carried.waiting.iter().map(|(sink, waiting)| (label("sink", sink), *waiting as f64)).collect(),
    )?;
    page.gauge(
        "lkm_monitor_dead_letters",
        "Documents that were refused and are kept for lkm-monitor spool",
        &single(carried.dead_letters as f64),
    )?;
    let sinks = |value: fn(&crate::sinks::courier::Health) -> f64| -> Rows<f64> {
        carried.sinks.iter().map(|(sink, health)| (label("sink", sink), value(health))).collect()
    };
    page.gauge(
        "lkm_monitor_sink_well",
        "1: a sink took what it was given last; 0: it did not, and it is tried again",
        &sinks(|health| flag(health.failure.is_none())),
    )?;
    page.gauge(
        "lkm_monitor_sink_consecutive_failures",
        "Attempts at a sink that failed since the last one that did not",
        &sinks(|health| health.failures.into()),
    )?;
    let removed = carried.sinks.keys().map(|sink| {
        let counter = Counter::of_sink(Count::FileRemoved, sink);
        (label("sink", sink), carried.counts.get(&counter).copied().unwrap_or_default() as f64)
    });
    page.counter(
        "lkm_monitor_sink_files_removed",
        "Renamed files that a sink removed to keep to its limits",
        &removed.collect(),
    )?;
    page.histogram(
        "lkm_monitor_durable_latency_seconds",
        "From what happened to its document on the disk",
        &single(&carried.durable),
    )?;
    page.histogram(
        "lkm_monitor_acknowledged_latency_seconds",
        "From what happened to the moment in which a sink's receiver has its document",
        &carried.sinks.iter().map(|(sink, health)| (label("sink", sink), &health.latency)).collect(),
    )
}

fn fate(stage: &str, reason: &str, sink: Option<String>) -> Labels {
    let mut labels = vec![("stage", stage.to_owned()), ("reason", reason.to_owned())];
    labels.extend(sink.map(|sink| ("sink", sink)));
    labels
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
