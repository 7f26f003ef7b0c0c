//! The images of modules that alerts were about, and when they were loaded.
//!
//! ```text
//! evidence/                      0700
//!   <sha256>.evidence            0600: the image, see `header`
//!   <sha256>.json                0600: its loads, see `record`
//!   clock.json                   0600: how long daemons have run, see `clock`
//!   <one of these>.new           a file that is being written, or was when the daemon died
//! ```
//!
//! The hash is that of the bytes that are kept, so that a file can be checked by itself. One process writes; any number read meanwhile,
//! because a file appears whole under its name and is never changed afterwards. The folder can be copied and read elsewhere.
//!
//! The host may be compromised. What is in the folder may be anybody's work when it is read: every reader is bounded. What is written
//! never goes anywhere else, whatever the folder is exchanged for.

mod archive;
mod clock;
mod count;
mod file;
mod folder;
mod header;
mod listing;
mod name;
mod record;
mod replace;
mod retention;
#[cfg(test)]
pub(crate) mod samples;
mod service;
mod step;
mod store;

pub use self::{
    archive::{Archive, ArchiveError},
    count::{Count, Totals},
    file::FileError,
    folder::FolderError,
    header::{Header, MAX_IMAGE_BYTES},
    listing::Strangers,
    name::Digest,
    record::{Record, RecordError, RecordedLoad},
    retention::Limits,
    service::{QueueError, Service, ServiceError},
    store::{EvidenceError, Kept, Settings, Store},
};

/// Where the store is.
pub const PATH: &str = "/var/lib/lkm-monitor/evidence";
