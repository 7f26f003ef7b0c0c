//! The tables of system calls. Newer kernels call through a switch (`x64_sys_call`) and keep the table for those who trace; nobody but the
//! kernel has a place in it all the same.

use std::collections::BTreeMap;

use super::Owners;
use crate::{
    integrity::memory::{Memory, MemoryError, u64_at},
    model::{Extent, Sight, SystemCallEntry, SystemCallTable},
};

/// Lower ones are no addresses of the kernel's.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// There are no more than 550, and those after them are not looked for.
const MOST_ENTRIES: u64 = 640;

/// How many entries each table had in this boot: their number does not shrink.
pub(in crate::integrity) type Lengths = BTreeMap<SystemCallTable, usize>;

/// Entries that lead out of the kernel's text.
pub(in crate::integrity) fn look(
    memory: &mut dyn Memory,
    tables: &[(SystemCallTable, Extent)],
    lengths: &mut Lengths,
    owners: &Owners<'_>,
) -> Result<(Vec<SystemCallEntry>, Sight), MemoryError> {
    let (mut found, mut count, mut broken) = (Vec::new(), 0, None);
    for &(table, extent) in tables {
        let entries = (extent.bytes / 8).min(MOST_ENTRIES);
        let addresses: Vec<u64> = (0..entries).map(|entry| extent.address.wrapping_add(entry * 8)).collect();
        let mut targets = Vec::new();
        memory.read_each(&addresses, 8, &mut |_, bytes| targets.push(bytes.and_then(|bytes| u64_at(bytes, 0))))?;
        let length = lengths.entry(table).or_default();
        *length = ended(&targets, owners).max(*length);
        for (number, target) in (0..).zip(targets).take(*length) {
            count += 1;
            match target {
                Some(target) => {
                    found.extend(owners.outside(target).map(|target| SystemCallEntry { table, number, target }));
                }
                None => broken = Some(format!("a part of {} cannot be read", table.symbol())),
            }
        }
    }
    let sight = match broken {
        _ if tables.is_empty() => Sight::Unavailable { why: "the kernel's symbols have no table".to_owned() },
        Some(why) => Sight::Incomplete { count, why },
        None => Sight::Whole { count },
    };
    Ok((found, sight))
}

/// Where a table ends, whose length the kernel tells nowhere, before the next thing that has a symbol: behind the last entry that leads into
/// the kernel's text, and behind those that follow it and are addresses of the kernel's at all. An entry that somebody has emptied ends
/// nothing.
fn ended(targets: &[Option<u64>], owners: &Owners<'_>) -> usize {
    let is_own = |target: &Option<u64>| target.is_some_and(|target| owners.has(target));
    let own = targets.iter().rposition(is_own).map_or(0, |last| last + 1);
    let others = targets.iter().skip(own).take_while(|target| target.is_none_or(|target| target >= KERNEL));
    own + others.count()
}
