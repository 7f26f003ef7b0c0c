//! lkm-monitor: sees loadable kernel modules come and go, and tells the SIEM.
//!
//! A **probe** on a kernel hook writes a fixed-layout **event** to the ring buffer; the **sensor** decodes and joins events; **select**
//! keeps the changes of files that are watched; **inspect** adds facts from file, process and host; **assess** weighs them with rules, and
//! with how **prevalence** says that they stand, into a **verdict**; **fold** makes one alert of a burst; **alert** renders ECS; the
//! **spool** makes it durable; **sinks** deliver it to the SIEM and acknowledge.
//!
//! `pipeline` wires the stages: read it first.
#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used))]

pub mod alert;
pub mod assess;
pub mod cli;
pub mod config;
mod database;
pub mod dispatch;
pub mod drift;
mod durable;
pub mod evidence;
pub mod fold;
pub mod hunt;
pub mod image;
pub mod inspect;
pub mod integrity;
pub mod inventory;
pub mod latency;
pub mod ledger;
pub mod lifecycle;
pub mod metrics;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod prevalence;
pub mod provenance;
pub mod runs;
pub mod select;
pub mod sensor;
pub mod signature;
pub mod sinks;
pub mod spool;
pub mod telemetry;

/// A static binary would have musl's, which makes rendering a document take twice as long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
