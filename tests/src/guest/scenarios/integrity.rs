//! What hides in the kernel or leads out of it, and what only looks as if it did. The scenarios share a daemon that looks every second; what
//! it tells was found by two looks.

pub(crate) mod crowds;
pub(super) mod hidden;
pub(super) mod tampering;
pub(super) mod views;

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{document::Document, metrics::fetch, process::program, sensor};

/// An emulated machine looks for seconds.
const LOOKS_DEADLINE: Duration = Duration::from_secs(120);
const BETWEEN_READINGS: Duration = Duration::from_millis(200);
const LOOKS: &str = "lkm_monitor_integrity_looks_total";

/// A thing that was found in the kernel.
fn is_finding(document: &Document) -> bool {
    ["160", "161", "162", "163", "164"].contains(&document.text("event.code"))
}

fn is_of(document: &Document, rule: &str) -> bool {
    document.is_alert() && document.text("rule.id") == rule
}

/// How often the daemon that serves its counters there has looked.
fn looks(socket: &str) -> f64 {
    fetch(socket).get(LOOKS).copied().unwrap_or(0.0)
}

/// Until the daemon that serves its counters there has looked so many times from beginning to end.
pub(crate) fn wait_for_looks(socket: &str, number: u32) {
    // The one that is under way may have begun before.
    let (enough, deadline) = (looks(socket) + f64::from(number) + 1.0, Instant::now() + LOOKS_DEADLINE);
    while looks(socket) < enough {
        assert!(Instant::now() < deadline, "the daemon does not look any more");
        // Who looks gives way to everybody who has something to do.
        thread::sleep(BETWEEN_READINGS);
    }
}

/// What a look by hand came to.
struct ByHand {
    /// 0 nothing was found, 1 something was, 69 there was no way to look.
    status: i32,
    told: Value,
}

/// Looks by hand.
fn by_hand() -> ByHand {
    let looked = program(sensor::PROGRAM, ["integrity", "--format", "json"]);
    let told = serde_json::from_str(&looked.output).unwrap_or_else(|error| panic!("{error} in {:?}", looked.output));
    ByHand { status: looked.status, told }
}

impl ByHand {
    /// Nothing was found, though everything was looked at.
    fn found_nothing(&self) -> &Self {
        assert_eq!(self.status, 0, "{}", self.told);
        assert_eq!(self.told["findings"], Value::Array(Vec::new()), "{}", self.told);
        self
    }

    /// Each view shows so many modules, the daemon's own history apart: nobody keeps one here.
    fn saw(&self, modules: usize) -> &Self {
        let views = self.told["views"].as_array().expect("the views");
        for view in views.iter().filter(|view| view["name"] != "history") {
            assert_eq!((&view["status"], &view["count"]), (&json!("whole"), &json!(modules)), "{}", self.told);
        }
        self
    }
}
