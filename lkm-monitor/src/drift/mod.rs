//! What changed while nobody looked: the state of the host is looked at when the daemon starts and from time to time, compared with the
//! last look, and put on record for the next one.
//!
//! ```text
//! look (settings, /proc/modules, inspect/contents/survey) ──> compare <── record: the last look, and what was seen live since (seen)
//!                                                                │
//!                    pipeline/drift tells what no event explains <── packages: what do packages say of it
//!                                                                │
//!                                            when all of it is told, this look is the record
//! ```
//!
//! A thread of its own does it, which gives way to all others; `pipeline/drift` tells it when. A look begins when the probes report, so that
//! nothing falls between the two, and is compared when everything that happened before it has come out of the pipeline.

mod compare;
mod host;
mod look;
mod packages;
mod record;
#[cfg(test)]
mod samples;
mod seen;
mod service;
mod settings;

pub use self::{
    compare::Watch,
    look::Subjects,
    seen::Seen,
    service::{Found, Question, Service, Settings},
};
