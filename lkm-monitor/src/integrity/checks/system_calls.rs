//! The tables of system calls. Newer kernels call through a switch (`x64_sys_call`) and keep the table for those who trace; nobody but the
//! kernel has a place in it all the same.

use super::Owners;
use crate::{
    integrity::memory::{Memory, MemoryError, u64_at},
    model::{Extent, Sight, SystemCallEntry, SystemCallTable},
};

/// Lower ones are no addresses of the kernel's: with them a table ends, whose length the kernel tells nowhere.
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// There are no more than 600.
const MOST_ENTRIES: u64 = 4096;

/// Entries that lead out of the kernel's text.
pub(in crate::integrity) fn look(
    memory: &mut dyn Memory,
    tables: &[(SystemCallTable, Extent)],
    owners: &Owners<'_>,
) -> Result<(Vec<SystemCallEntry>, Sight), MemoryError> {
    let (mut found, mut count, mut broken) = (Vec::new(), 0, None);
    for &(table, extent) in tables {
        let entries = (extent.bytes / 8).min(MOST_ENTRIES);
        let addresses: Vec<u64> = (0..entries).map(|entry| extent.address.wrapping_add(entry * 8)).collect();
        let mut targets = Vec::new();
        memory.read_each(&addresses, 8, &mut |_, bytes| targets.push(bytes.and_then(|bytes| u64_at(bytes, 0))))?;
        if targets.contains(&None) {
            broken = Some(format!("a part of {} cannot be read", table.symbol()));
        }
        let targets =
            (0..).zip(targets).map_while(|(number, target)| Some((number, target.filter(|at| *at >= KERNEL)?)));
        for (number, target) in targets {
            count += 1;
            found.extend(owners.outside(target).map(|target| SystemCallEntry { table, number, target }));
        }
    }
    let sight = match broken {
        _ if tables.is_empty() => Sight::Unavailable { why: "the kernel's symbols have no table".to_owned() },
        Some(why) => Sight::Incomplete { count, why },
        None => Sight::Whole { count },
    };
    Ok((found, sight))
}
