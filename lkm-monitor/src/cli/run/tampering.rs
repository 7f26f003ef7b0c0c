//! The daemon's eye on what it keeps in the kernel.

use std::time::{Duration, Instant};

use crate::{
    pipeline::{Pipeline, boot_ns},
    sensor::{attach::Programs, report, rings::Rings},
};

/// Time between two documents: who does it again and again is not to fill the spool with that.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Tells of tampering.
#[derive(Debug, Default)]
pub(super) struct TamperWatch {
    told: Option<Instant>,
}

impl TamperWatch {
    /// Tells what was found since the last time, at once or when that is long enough ago.
    pub(super) fn follow(&mut self, programs: &Programs, rings: &mut Rings, pipeline: &mut Pipeline) {
        if self.told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return;
        }
        let found = rings.take_tampering();
        if found.is_empty() {
            return;
        }
        self.told = Some(Instant::now());
        tracing::error!(
            found = found.join("; "),
            "what the sensor keeps in the kernel was changed, and not by the daemon"
        );
        pipeline.tell_state(&report::tampered_with(programs, found, boot_ns()));
    }
}
