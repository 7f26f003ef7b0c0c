//! Kernel memory, as the walks see it.

use std::collections::HashSet;

use lkm_monitor_common::peek::SLOTS;

/// Kernel memory cannot be read any more. The reason is a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct MemoryError(pub(super) String);

/// Bytes at one address, or nothing where none can be read.
pub(super) type Bytes<'a> = Option<&'a [u8]>;

/// Reads kernel memory. Addresses come from kernel memory themselves, so they may be anything.
pub(super) trait Memory {
    /// Reads `bytes` bytes, a page at the most, at each of the addresses, and hands on what is there in their order. Many at once are much
    /// cheaper than one by one.
    fn read_each(
        &mut self,
        addresses: &[u64],
        bytes: usize,
        take: &mut dyn FnMut(u64, Bytes<'_>),
    ) -> Result<(), MemoryError>;

    /// Reads the pointer at `address`, then the one `offset` bytes behind where it points to, and so on, up to so many as one run reads. Fewer
    /// where memory cannot be read.
    fn follow(&mut self, address: u64, offset: u64) -> Result<Vec<u64>, MemoryError>;

    /// Reads one number.
    fn read_u64(&mut self, address: u64) -> Result<Option<u64>, MemoryError> {
        let mut found = None;
        self.read_each(&[address], 8, &mut |_, bytes| found = bytes.and_then(|bytes| u64_at(bytes, 0)))?;
        Ok(found)
    }

    /// The chain of pointers that begins with the one at `address`; the next one is `offset` bytes behind where each points to.
    fn chain(&mut self, address: u64, offset: u64, end: End, most: usize) -> Result<Chain, MemoryError> {
        let mut pointers = Vec::new();
        let mut seen = HashSet::new();
        let mut next = address;
        loop {
            let found = self.follow(next, offset)?;
            let whole = found.len() == SLOTS as usize;
            for pointer in found {
                if pointer == end.pointer() {
                    return Ok(Chain { pointers, broken: None });
                }
                if pointers.len() == most {
                    return Ok(Chain { pointers, broken: Some(format!("it has more than {most} members")) });
                }
                if !seen.insert(pointer) {
                    return Ok(Chain {
                        pointers,
                        broken: Some(format!("it comes back to {pointer:#x} and has no end")),
                    });
                }
                pointers.push(pointer);
                next = pointer.wrapping_add(offset);
            }
            if !whole {
                return Ok(Chain { pointers, broken: Some(format!("{next:#x}, where it leads, cannot be read")) });
            }
        }
    }
}

/// What ends a chain.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// A pointer to this: the head of a `list_head`, a sentinel.
    At(u64),
    /// A null pointer: a `hlist_head`.
    Null,
}

impl End {
    const fn pointer(self) -> u64 {
        match self {
            Self::At(address) => address,
            Self::Null => 0,
        }
    }
}

/// The members of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) pointers: Vec<u64>,
    /// Why it does not end where it ought to, a clause.
    pub(super) broken: Option<String>,
}

/// The number at `offset`.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The number at `offset`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
