//! The daemon's eye on what it keeps in the kernel.

use std::time::{Duration, Instant};

use super::watches::ToolWatch;
use crate::{
    pipeline::{Pipeline, boot_ns},
    sensor::{attach::Programs, images::ImageReader, own_objects, report, rings::Rings},
};

/// How often the tables are looked at.
const TABLES_EVERY: Duration = Duration::from_secs(5);

/// Time between two documents: who does it again and again is not to fill the spool with that.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Looks at the rings and at the tables that the probes go by, and puts in order what it finds.
#[derive(Debug)]
pub(super) struct TamperWatch {
    looked: Instant,
    told: Option<Instant>,
    /// What was found and not told yet.
    found: Vec<String>,
}

impl TamperWatch {
    /// Begins with tables that were filled just now.
    pub(super) fn start() -> Self {
        Self { looked: Instant::now(), told: None, found: Vec::new() }
    }

    /// Looks from time to time and on suspicion. Tells what was found, at once or when the last time is long enough ago.
    pub(super) fn follow(
        &mut self,
        suspicious: bool,
        programs: &mut Programs,
        (rings, images): (&mut Rings, Option<&ImageReader>),
        pipeline: &mut Pipeline,
        tools: &ToolWatch,
    ) {
        if suspicious || self.looked.elapsed() >= TABLES_EVERY {
            self.looked = Instant::now();
            for sentence in mend_tables(programs, pipeline, tools) {
                if !self.found.contains(&sentence) {
                    self.found.push(sentence);
                }
            }
        }
        if self.told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return;
        }
        let mut found = std::mem::take(&mut self.found);
        found.extend(rings.take_tampering());
        found.extend(images.into_iter().flat_map(|reader| reader.images().take_tampering()));
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

/// Puts back what the tables should hold. A sentence for each that held something else.
fn mend_tables(programs: &mut Programs, pipeline: &Pipeline, tools: &ToolWatch) -> Vec<String> {
    let names = programs.know_names(pipeline.watched_names()).map_err(|error| error.to_string());
    let tools = programs.know_tools(&tools.known).map_err(|error| error.to_string());
    let own = own_objects::remind(programs).map_err(|error| error.to_string());
    let own = own.map(|knew_others| if knew_others { vec!["OWN_OBJECTS"] } else { Vec::new() });
    let mut found = Vec::new();
    for mended in [names, tools, own] {
        match mended {
            Ok(maps) => found.extend(
                maps.into_iter().map(|map| format!("map {map}: it held something else than the daemon put there")),
            ),
            Err(error) => tracing::error!(%error, "whether the probes' tables are what they should be is not seen"),
        }
    }
    found
}
