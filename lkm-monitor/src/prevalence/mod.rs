//! How often, and where, things like an event happened: on this host, in a store on disk, and in the fleet, in one that all hosts share.
//!
//! [`groups`] says which group an observation counts in; the [`service`] counts it in threads of its own and answers how the group
//! stands: from the [`store`] of this host, and then, where one is set, from the [`fleet`]'s. A [`baseline`] tells a store what is normal.

pub mod baseline;
mod file;
pub mod fleet;
pub mod groups;
pub mod link;
pub mod name;
pub mod service;
pub mod store;
mod sweep;
pub mod tally;

pub use groups::{Grouped, Thresholds, group_of};
pub use service::{Answered, Question, Service, Settings};
