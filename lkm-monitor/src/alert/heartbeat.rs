//! Signs of life.

use super::{
    json::{Value, json, long, merge},
    sensor,
};
use crate::model::{Clock, Heartbeat, Metric, RingFill, text::readable};

/// The document of a heartbeat.
pub(super) fn render(heartbeat: &Heartbeat, clock: Clock) -> Value<'_> {
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

fn ring(ring: &RingFill) -> Value<'_> {
    json!({ "name": ring.name, "used_bytes": long(ring.used_bytes), "size_bytes": long(ring.size_bytes) })
}

fn metric(metric: &Metric) -> Value<'_> {
    let labels = metric.labels.iter().map(|(name, value)| (*name, readable(value.as_bytes()).into()));
    let mut row = Value::Object(labels.collect());
    merge(&mut row, json!({ "name": metric.name, "value": long(metric.value) }));
    row
}
