//! The ways to modules in kernel memory. Each ends in bounded time on whatever is there.

pub(super) mod kset;
pub(super) mod list;
pub(super) mod pages;
pub(super) mod search;
pub(super) mod tree;

use std::collections::BTreeSet;

/// Modules take a page each at least, of the gigabyte at the most that they share. A list with more members than that is none.
pub(super) const MOST_MODULES: usize = (1 << 30) / 4096;

/// What one way leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    /// Addresses of what ought to be a `struct module`.
    pub(super) modules: BTreeSet<u64>,
    /// Why there may be more, a clause.
    pub(super) broken: Option<String>,
}

#[cfg(test)]
mod tests;
