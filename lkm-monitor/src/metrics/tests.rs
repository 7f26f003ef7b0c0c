//! What is served, read back by somebody who takes the format to the letter.

mod exposition;
mod place;
mod served;
mod shipped;

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use self::exposition::{Exposition, parse};
use super::{
    Board, Snapshot, Waiting,
    page::{Format, write},
};
use crate::{
    dispatch::Status,
    evidence::Count as Fate,
    latency::Latencies,
    ledger::Ledger,
    model::{
        BlindHook, Coverage, Heartbeat, KernelFinding, LossReason, Metric, RingFill, SensorChange, SensorState,
        SyscallHooks,
    },
    sinks::courier::Health,
    spool::{Condition, Count, Counter, Counts},
};

fn metric(name: &'static str, labels: &[(&'static str, &str)], value: u64) -> Metric {
    Metric { name, labels: labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), value }
}

/// A daemon that has seen something of everything. Names are as others may choose them.
fn snapshot(hook: &str, sink: &str) -> Snapshot {
    let mut ledger = Ledger::default();
    ledger.add(LossReason::DecodeError, 3, None);
    let mut metrics: Vec<_> = ledger
        .totals()
        .map(|(reason, value)| metric("lost", &[("stage", reason.stage()), ("reason", reason.name())], value))
        .collect();
    let own = [("documents", 90), ("folded", 4), ("excluded", 5), ("run_record_failed", 1)];
    let of_state = [("state_looks", 3), ("state_drifts", 2), ("state_record_failed", 1), ("state_overdue", 4)];
    let own = own.into_iter().chain(of_state);
    metrics.extend(own.map(|(name, value)| metric(name, &[], value)));
    let of_image =
        |(number, fate): (u64, Fate)| metric("evidence", &[("stage", "evidence"), ("reason", fate.name())], number);
    metrics.extend((10..).zip(Fate::ALL).map(of_image));
    metrics.extend([("evidence_bytes", 4096), ("evidence_images", 2)].map(|(name, value)| metric(name, &[], value)));
    let of_finding = |(number, kind)| metric("integrity_findings", &[("stage", "integrity"), ("reason", kind)], number);
    metrics.extend((20..).zip(KernelFinding::KINDS).map(of_finding));
    let looks = [
        ("integrity_looks", 9),
        ("integrity_looks_incomplete", 2),
        ("integrity_unavailable", 3),
        ("integrity_findings_beyond", 4),
        ("integrity_other_code_pages", 70),
        ("integrity_look_us", 34_000),
        ("integrity_look_cpu_us", 21_500),
    ];
    metrics.extend(looks.map(|(name, value)| metric(name, &[], value)));
    let blind = BlindHook {
        hook: hook.to_owned(),
        probe: "module_load".to_owned(),
        not_seen: "loads".to_owned(),
        cause: "it is gone".to_owned(),
        since_boot_ns: 40_000_000_000,
    };
    let state = SensorState {
        change: SensorChange::Started,
        boot_ns: 100_000_000_000,
        coverage: Coverage::Partial,
        syscall_hooks: SyscallHooks::Fentry,
        probes: Vec::new(),
        blind: vec!["loads".to_owned()],
        blind_hooks: vec![blind],
        lost_hooks: Vec::new(),
        tampering: Vec::new(),
        counters: vec![("calls_entered", 70), ("calls_unseen", 2), ("ring_full", 0), ("submitted", 200)],
    };
    let mut latency = Latencies::default();
    [0, 3, 40, 40_000, 7_200_000].into_iter().for_each(|ms| latency.note(ms));
    let failing = Health { failure: Some("nobody is there".to_owned()), failures: 6, latency: latency.clone() };
    let counts = [
        (Counter::of(Count::Spooled), 90),
        (Counter::of_sink(Count::Acked, sink), 80),
        (Counter::of_sink(Count::Acked, "of old"), 7),
        (Counter::of_sink(Count::FileRemoved, sink), 2),
    ];
    Snapshot {
        taken_ms: 1_700_000_000_500,
        started_ms: 1_699_999_910_250,
        heartbeat: Heartbeat {
            state,
            interval_s: 60,
            uptime_ns: 90_000_000_000,
            memory_bytes: Some(17 << 20),
            cpu_ns: Some(1_250_000_000),
            rings: ["calls", "truth", "files"]
                .map(|name| RingFill { name, used_bytes: 96, size_bytes: 1 << 19 })
                .into(),
            metrics,
        },
        waiting: Waiting { calls: 3, open_files: 2, documents: 1 },
        carried: Some(Status {
            counts: counts.into(),
            before: Counts::new(),
            bytes: 2048,
            max_bytes: 1 << 28,
            waiting: [(sink.to_owned(), 10)].into(),
            dead_letters: 1,
            condition: Condition::Durable,
            sinks: [(sink.to_owned(), failing), ("well".to_owned(), Health::default())].into(),
            durable: latency,
            failure: None,
        }),
    }
}

fn read(snapshot: Snapshot, format: Format) -> Exposition {
    let page = write(Arc::new(snapshot), format).unwrap();
    parse(&page, format).unwrap_or_else(|problem| panic!("{problem}\n{page}"))
}

fn both() -> [Exposition; 2] {
    [Format::OpenMetrics, Format::Prometheus].map(|format| read(snapshot("do_init_module", "siem"), format))
}

#[test]
fn every_value_arrives() {
    for page in both() {
        let value = |name: &str, labels: &[(&str, &str)]| {
            page.value(name, labels).unwrap_or_else(|| panic!("{name} {labels:?} is not in {page:?}"))
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(value("lkm_monitor_build_info", &[("version", version)]), 1.0);
        assert_eq!(value("process_start_time_seconds", &[]), 1_699_999_910.25);
        assert_eq!(value("process_cpu_seconds_total", &[]), 1.25);
        assert_eq!(value("process_resident_memory_bytes", &[]), f64::from(17 << 20));
        assert_eq!(value("lkm_monitor_snapshot_timestamp_seconds", &[]), 1_700_000_000.5);
        assert_eq!(value("lkm_monitor_heartbeat_interval_seconds", &[]), 60.0);
        assert_eq!(value("lkm_monitor_run_record_failures_total", &[]), 1.0);
        assert_eq!(value("lkm_monitor_state_looks_total", &[]), 3.0);
        assert_eq!(value("lkm_monitor_state_drifts_total", &[]), 2.0);
        assert_eq!(value("lkm_monitor_state_record_failures_total", &[]), 1.0);
        assert_eq!(value("lkm_monitor_state_overdue_total", &[]), 4.0);
        assert_eq!(value("lkm_monitor_sensor_full_coverage", &[]), 0.0);
        assert_eq!(value("lkm_monitor_sensor_blind_hooks", &[]), 1.0);
        let hook = [("hook", "do_init_module"), ("probe", "module_load")];
        assert_eq!(value("lkm_monitor_sensor_blind_hook_timestamp_seconds", &hook), 1_700_000_000.5 - 60.0);
        assert_eq!(value("lkm_monitor_ring_used_bytes", &[("ring", "truth")]), 96.0);
        assert_eq!(value("lkm_monitor_ring_size_bytes", &[("ring", "files")]), f64::from(1 << 19));
        assert_eq!(value("lkm_monitor_calls_total", &[]), 70.0);
        assert_eq!(value("lkm_monitor_calls_unseen_total", &[]), 2.0);
        assert_eq!(value("lkm_monitor_events_total", &[]), 200.0);
        assert_eq!(value("lkm_monitor_calls_waiting", &[]), 3.0);
        assert_eq!(value("lkm_monitor_files_being_written", &[]), 2.0);
        assert_eq!(value("lkm_monitor_output_queue_documents", &[]), 1.0);
        let documents = |stage, reason, sink: Option<&str>| {
            let labels: Vec<_> =
                [("stage", stage), ("reason", reason)].into_iter().chain(sink.map(|sink| ("sink", sink))).collect();
            value("lkm_monitor_documents_total", &labels)
        };
        assert_eq!(documents("daemon", "told", None), 90.0);
        assert_eq!(documents("daemon", "folded", None), 4.0);
        assert_eq!(documents("daemon", "excluded", None), 5.0);
        assert_eq!(documents("spool", "spooled", None), 90.0);
        assert_eq!(documents("sink", "acked", Some("siem")), 80.0);
        assert_eq!(documents("sink", "acked", Some("of old")), 7.0);
        for (number, fate) in (10..).zip(Fate::ALL) {
            let labels = [("stage", "evidence"), ("reason", fate.name())];
            assert_eq!(value("lkm_monitor_evidence_total", &labels), f64::from(number), "{fate:?}");
        }
        assert_eq!(value("lkm_monitor_evidence_bytes", &[]), 4096.0);
        assert_eq!(value("lkm_monitor_evidence_images", &[]), 2.0);
        for (number, kind) in (20..).zip(KernelFinding::KINDS) {
            let labels = [("stage", "integrity"), ("reason", kind)];
            assert_eq!(value("lkm_monitor_integrity_findings_total", &labels), f64::from(number), "{kind}");
        }
        assert_eq!(value("lkm_monitor_integrity_looks_total", &[]), 9.0);
        assert_eq!(value("lkm_monitor_integrity_looks_incomplete_total", &[]), 2.0);
        assert_eq!(value("lkm_monitor_integrity_unavailable", &[]), 3.0);
        assert_eq!(value("lkm_monitor_integrity_findings_beyond", &[]), 4.0);
        assert_eq!(value("lkm_monitor_integrity_other_code_pages", &[]), 70.0);
        assert_eq!(value("lkm_monitor_integrity_look_seconds", &[]), 0.034);
        assert_eq!(value("lkm_monitor_integrity_look_cpu_seconds", &[]), 0.0215);
        assert_eq!(value("lkm_monitor_spool_bytes", &[]), 2048.0);
        assert_eq!(value("lkm_monitor_spool_max_bytes", &[]), f64::from(1 << 28));
        assert_eq!(value("lkm_monitor_spool_durable", &[]), 1.0);
        assert_eq!(value("lkm_monitor_spool_waiting_documents", &[("sink", "siem")]), 10.0);
        assert_eq!(value("lkm_monitor_dead_letters", &[]), 1.0);
        assert_eq!(value("lkm_monitor_sink_well", &[("sink", "siem")]), 0.0);
        assert_eq!(value("lkm_monitor_sink_well", &[("sink", "well")]), 1.0);
        assert_eq!(value("lkm_monitor_sink_consecutive_failures", &[("sink", "siem")]), 6.0);
        assert_eq!(value("lkm_monitor_sink_files_removed_total", &[("sink", "siem")]), 2.0);
        let siem = ("sink", "siem");
        for (bound, count) in [("0.001", 1.0), ("0.005", 2.0), ("0.05", 3.0), ("30", 3.0), ("300", 4.0), ("inf", 5.0)] {
            assert_eq!(
                value("lkm_monitor_acknowledged_latency_seconds_bucket", &[siem, ("le", bound)]),
                count,
                "{bound}"
            );
            assert_eq!(value("lkm_monitor_durable_latency_seconds_bucket", &[("le", bound)]), count, "{bound}");
        }
        assert_eq!(value("lkm_monitor_durable_latency_seconds_sum", &[]), 7240.043);
        assert_eq!(value("lkm_monitor_acknowledged_latency_seconds_count", &[siem]), 5.0);
    }
}

/// The two clocks are not read at one moment, and the wall clock is set: `changes()` must not see a start in that.
#[test]
fn the_start_is_the_same_in_every_snapshot() {
    let early = snapshot("a", "siem");
    let mut late = early.clone();
    late.taken_ms += 5_001;
    late.heartbeat.uptime_ns += 5_000_000_000;
    let start = |snapshot| read(snapshot, Format::Prometheus).value("process_start_time_seconds", &[]).unwrap();
    assert_eq!(start(early), start(late));
}

/// Growth is seen from a 0 on: a counter that comes up with its first loss hides that one.
#[test]
fn every_counter_is_there_before_it_counts() {
    for page in both() {
        let lost = page.rows("lkm_monitor_lost_total");
        for (reason, _) in Ledger::default().totals() {
            let labels: BTreeMap<_, _> = [("stage", reason.stage()), ("reason", reason.name())]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            assert!(lost.contains_key(&labels), "{labels:?}");
        }
        let documents = page.rows("lkm_monitor_documents_total");
        for count in Count::ALL.into_iter().filter(|count| *count != Count::FileRemoved) {
            let of_count = |labels: &&BTreeMap<String, String>| labels["reason"] == count.name();
            assert!(documents.keys().any(|labels| of_count(&labels) && labels["stage"] == count.stage()), "{count:?}");
            if count != Count::TornRecord {
                let of_sinks = documents.keys().filter(of_count).filter(|labels| labels.contains_key("sink")).count();
                let own = documents.keys().filter(of_count).count() - of_sinks;
                assert!((of_sinks, own) == (0, 1) || (of_sinks >= 2 && own == 0), "{count:?}: {of_sinks}, {own}");
            }
        }
    }
}

/// With `--stdout` there is no spool.
#[test]
fn without_a_spool_there_is_the_rest() {
    let page = read(Snapshot { carried: None, ..snapshot("a", "siem") }, Format::OpenMetrics);
    assert_eq!(page.value("lkm_monitor_calls_total", &[]), Some(70.0));
    assert!(page.names().iter().all(|name| !name.contains("spool") && !name.contains("sink")), "{page:?}");
    assert_eq!(page.rows("lkm_monitor_documents_total").len(), 3);
}

/// Where nobody looks at the kernel, or the first look has not ended.
#[test]
fn without_looks_there_is_the_rest() {
    let mut snapshot = snapshot("a", "siem");
    snapshot.heartbeat.metrics.retain(|metric| !metric.name.starts_with("integrity"));
    let page = read(snapshot, Format::OpenMetrics);
    assert_eq!(page.value("lkm_monitor_calls_total", &[]), Some(70.0));
    assert!(page.names().iter().all(|name| !name.contains("integrity")), "{page:?}");
}

/// Where nothing is kept, or nothing can be.
#[test]
fn without_evidence_there_is_the_rest() {
    let mut snapshot = snapshot("a", "siem");
    snapshot.heartbeat.metrics.retain(|metric| !metric.name.starts_with("evidence"));
    for format in [Format::OpenMetrics, Format::Prometheus] {
        let page = read(snapshot.clone(), format);
        assert_eq!(page.value("lkm_monitor_documents_total", &[("stage", "daemon"), ("reason", "told")]), Some(90.0));
        assert!(page.names().iter().all(|name| !name.contains("evidence")), "{page:?}");
        let lost = LossReason::EvidenceLost;
        let lost = [("stage", lost.stage()), ("reason", lost.name())];
        assert_eq!(page.value("lkm_monitor_lost_total", &lost), Some(0.0));
    }
}

proptest! {
    /// Whatever somebody calls a hook or a sink, it arrives, and nothing else is made of it.
    #[test]
    fn no_value_of_a_label_breaks_the_format(hook: String, sink in "[^\0]{1,20}", quoted in "[\"\\\\\n\r{}, =#]{0,9}") {
        let hook = hook + &quoted;
        for format in [Format::OpenMetrics, Format::Prometheus] {
            let page = read(snapshot(&hook, &sink), format);
            let blind = [("hook", hook.as_str()), ("probe", "module_load")];
            prop_assert!(page.value("lkm_monitor_sensor_blind_hook_timestamp_seconds", &blind).is_some());
            prop_assert_eq!(page.value("lkm_monitor_sink_consecutive_failures", &[("sink", &sink)]), Some(6.0));
        }
    }

    /// Buckets add up whatever was noted: the reader checks.
    #[test]
    fn histograms_add_up(noted in prop::collection::vec(0..10_000_000_u64, 0..50)) {
        let mut snapshot = snapshot("a", "siem");
        let mut durable = Latencies::default();
        noted.iter().for_each(|ms| durable.note(*ms));
        snapshot.carried.as_mut().unwrap().durable = durable;
        let page = read(snapshot, Format::OpenMetrics);
        prop_assert_eq!(page.value("lkm_monitor_durable_latency_seconds_count", &[]), Some(noted.len() as f64));
    }
}

#[test]
fn the_last_snapshot_hangs_at_the_board_and_nobody_waits_to_hang_it() {
    let board = Board::default();
    assert_eq!(board.last(), None);
    board.publish(snapshot("one", "siem"));
    let one = board.last().unwrap();
    {
        let _taken_down = board.0.lock().unwrap();
        board.publish(snapshot("two", "siem"));
    }
    assert_eq!(board.last().unwrap(), one, "it was left out");
    board.publish(snapshot("three", "siem"));
    assert_eq!(board.last().unwrap().heartbeat.state.blind_hooks[0].hook, "three");
}
