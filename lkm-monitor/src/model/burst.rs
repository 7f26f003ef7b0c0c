//! Many changes of one kind, by one program.

use super::ProcessTree;

/// Changes of module files that are told together.
#[derive(Clone, Debug, PartialEq)]
pub struct FileBurst {
    /// The first and the last change, in nanoseconds since boot.
    pub boot_ns: u64,
    pub last_boot_ns: u64,
    pub cpu: u32,
    pub tid: u32,
    pub count: u64,
    /// What was done, in a word for `event.action`.
    pub participle: &'static str,
    /// `creation`, `change` or `deletion`.
    pub event_type: &'static str,
    /// The deepest folder that holds all of them.
    pub directory: Vec<u8>,
    pub first: Vec<u8>,
    pub last: Vec<u8>,
    /// Of the first change.
    pub process: ProcessTree,
    /// An earlier burst of the same kind was told already: this one goes on.
    pub continued: bool,
    /// The first events of groups that are told by this: see [`super::Rarity::settles`].
    pub settles: Vec<u64>,
}
