//! How often, and where, things like an event happened.

pub mod name;
pub mod store;
mod sweep;
pub mod tally;
