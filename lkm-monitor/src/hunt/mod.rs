//! The hunt on demand: what is rare among the documents of one host or of many.
//!
//! Lines come from a [source]; of each document a [record] keeps what the hunts ask for; [groups] count records; a [query] says which
//! groups are rare, and in which order they are shown. A [scan] does that for all input, with all processors.

pub mod groups;
pub mod query;
pub mod record;
pub mod scan;
pub mod source;

pub use groups::{Group, Groups};
pub use query::{Query, Subject};
pub use record::{Record, RecordError};

#[cfg(test)]
mod tests;
