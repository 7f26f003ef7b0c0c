//! The hunt on demand: what is rare among the documents of one host or of many.
//!
//! Lines come from a [source]; of each document a [record] keeps what the hunts ask for; [groups] count records; a [query] says which
//! groups are rare, and in which order they are shown. What the daemon of this host has counted is a source of its [own]. A [scan] does that for all input, with all processors. For a report it keeps the
//! [evidence] of each event too, as a [detail] of its group; [relations] link rows of different hunts by it.

pub mod detail;
pub mod evidence;
pub mod groups;
pub mod own;
pub mod query;
pub mod record;
pub mod relations;
pub mod scan;
pub mod source;
mod text;

pub use detail::{Day, Detail};
pub use groups::{Group, Groups};
pub use query::{Query, Subject};
pub use record::{Record, RecordError};

#[cfg(test)]
mod tests;
