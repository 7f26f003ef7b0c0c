//! Whether the kernel is what it shows: several views of its modules, compared, and what leads out of its own code.
//!
//! A rootkit takes its module out of the kernel's books and must leave something: the list is not the tree, the tree is not the set behind
//! /sys/module, and none of them is the page tables. So all of them are read, by a BPF program that reads memory and nothing else (`peek`);
//! what it means is decided here, where a forged pointer costs a bounded walk and no more (`walk`). `census` takes all views, `compare` says
//! what differs, `checks` look at hooks, and `confirm` holds back what may be a race.

mod areas;
mod census;
mod checks;
mod claims;
mod compare;
pub mod confirm;
#[cfg(test)]
mod fake;
mod files;
mod ground;
mod layout;
mod memory;
mod module;
mod pass;
mod peek;
mod scanner;
mod symbols;
mod walk;

pub use confirm::Confirm;
pub use scanner::Scanner;
