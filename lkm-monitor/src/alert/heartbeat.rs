//! Signs of life.

use serde_json::{Map, Value, json};

use super::{
    json::{long, merge},
    sensor,
};
use crate::model::{Clock, Heartbeat, Metric, RingFill, text::text};

/// The document of a heartbeat.
pub(super) fn render(heartbeat: &Heartbeat, clock: Clock) -> Value {
    let mut document = json!({
        "message": "Kernel module sensor is alive",
        "event": {
            "kind": "metric",
            "category": ["host"],
            "type": ["info"],
            "action": "heartbeat",
            "provider": "lkm-monitor",
        },
        "lkm_monitor": {
            "heartbeat": {
                "interval_s": heartbeat.interval_s,
                "uptime_s": long(heartbeat.uptime_ns / 1_000_000_000),
                "memory_bytes": heartbeat.memory_bytes.map(long),
                "cpu_ms": heartbeat.cpu_ns.map(|ns| long(ns / 1_000_000)),
                "rings": heartbeat.rings.iter().map(ring).collect::<Vec<_>>(),
                "metrics": heartbeat.metrics.iter().map(metric).collect::<Vec<_>>(),
            },
        },
    });
    merge(&mut document, json!({ "lkm_monitor": { "sensor": sensor::sight(&heartbeat.state, clock) } }));
    document
}

fn ring(ring: &RingFill) -> Value {
    json!({ "name": ring.name, "used_bytes": long(ring.used_bytes), "size_bytes": long(ring.size_bytes) })
}

fn metric(metric: &Metric) -> Value {
    let mut row: Map<_, _> =
        metric.labels.iter().map(|(name, value)| ((*name).to_owned(), text(value.as_bytes()).into())).collect();
    row.insert("name".to_owned(), metric.name.into());
    row.insert("value".to_owned(), long(metric.value).into());
    row.into()
}
