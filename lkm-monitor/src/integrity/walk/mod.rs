//! The ways to modules in kernel memory. Each ends in bounded time on whatever is there.

pub(super) mod kset;
pub(super) mod list;
pub(super) mod pages;
pub(super) mod search;
pub(super) mod tree;

use std::collections::BTreeSet;

/// A host has some hundreds. Whoever forges a list can make it as long as memory is, and must not make this process so large.
pub(super) const MOST_MODULES: usize = 4096;

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
