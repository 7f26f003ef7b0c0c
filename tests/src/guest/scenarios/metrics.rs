//! What the daemon serves to Prometheus. The scenario has a daemon of its own.

use std::collections::BTreeMap;

use crate::{document::Document, metrics::fetch, sensor::Sensor, stage::Stage};

const SOCKET: &str = "/run/metrics.sock";

fn beat(sensor: &mut Sensor) -> Document {
    sensor.begin_scenario();
    sensor.expect("a sign of life", |document| document.text("event.action") == "heartbeat")
}

/// The counters of a heartbeat that have no more than a name, losses, and what became of images.
fn counters(beat: &Document) -> BTreeMap<String, f64> {
    let row = |row: &serde_json::Value| {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let name = match text("name") {
            "lost" => {
                format!("lkm_monitor_lost_total{{stage=\"{}\",reason=\"{}\"}}", text("stage"), text("reason"))
            }
            "run_record_failed" => "lkm_monitor_run_record_failures_total".to_owned(),
            "evidence" => {
                format!("lkm_monitor_evidence_total{{stage=\"{}\",reason=\"{}\"}}", text("stage"), text("reason"))
            }
            name @ ("evidence_bytes" | "evidence_images") => format!("lkm_monitor_{name}"),
            "state_record_failed" => "lkm_monitor_state_record_failures_total".to_owned(),
            name if name.starts_with("state_") => format!("lkm_monitor_{name}_total"),
            "documents" => "lkm_monitor_documents_total{stage=\"daemon\",reason=\"told\"}".to_owned(),
            name => format!("lkm_monitor_documents_total{{stage=\"daemon\",reason=\"{name}\"}}"),
        };
        (name, row["value"].as_f64().unwrap_or_else(|| panic!("no number: {row}")))
    };
    beat.list("lkm_monitor.heartbeat.metrics").iter().map(row).collect()
}

/// What is served lies between the heartbeat before and the one after.
pub(super) fn as_in_heartbeats(stage: &mut Stage) {
    let settings = format!(
        "[rarity]\nenabled = false\n[heartbeat]\ninterval_s = 1\nrun_record = \"/tmp/metrics/run.json\"\n\
         [metrics]\nlisten = \"unix:{SOCKET}\"\n"
    );
    let mut sensor = Sensor::start_set(stage.hooks, &[], "metrics", &settings, &[]);
    sensor.says("metrics are served");
    // Published at the next look after this one, at the latest.
    let before = beat(&mut sensor);
    beat(&mut sensor);
    let served = fetch(SOCKET);
    beat(&mut sensor);
    let after = beat(&mut sensor);

    let (before, counted) = (counters(&before), counters(&after));
    assert!(counted.len() >= 16, "{}", after.value());
    for (name, most) in &counted {
        let value = served.get(name).unwrap_or_else(|| panic!("{name} is not served: {served:?}"));
        assert!(before[name] <= *value && value <= most, "{name}: {} <= {value} <= {most}", before[name]);
    }
    for ring in after.list("lkm_monitor.heartbeat.rings") {
        let name = ring["name"].as_str().unwrap_or_default();
        assert_eq!(
            Some(served[&format!("lkm_monitor_ring_size_bytes{{ring=\"{name}\"}}")]),
            ring["size_bytes"].as_f64()
        );
    }
    let is_full = after.text("lkm_monitor.sensor.status") == "full";
    assert_eq!(served["lkm_monitor_sensor_full_coverage"], f64::from(u8::from(is_full)));
    assert_eq!(served["lkm_monitor_sensor_blind_hooks"], after.list("lkm_monitor.sensor.blind_hooks").len() as f64);
    assert!(served["process_resident_memory_bytes"] > 1e6 && served["process_cpu_seconds_total"] > 0.0, "{served:?}");
    sensor.stop();
}
