//! What of the room for modules is mapped, by the kernel's own page tables: whoever hides its memory from the kernel's books must still leave
//! it where the processor finds it. Their layout is the processor's and the same in all kernels (Intel's manual, volume 3, 4.5).

use crate::{
    integrity::memory::{Memory, MemoryError, u64_at},
    model::Extent,
};

const PAGE_BYTES: u64 = 4096;
/// What one entry of the table above that of pages stands for.
const LARGE_PAGE_BYTES: u64 = 2 << 20;
const ENTRIES: usize = 512;
/// Where the last but one entry of `level3_kernel_pgt` leads: `__START_KERNEL_map` of arch/x86/include/asm/page_64_types.h.
const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// `MODULES_END` of arch/x86/include/asm/pgtable_64_types.h.
const MODULES_END: u64 = 0xffff_ffff_ff00_0000;
/// `__PAGE_OFFSET_BASE_L4`, where the kernel has no variable for it.
const PAGE_OFFSET: u64 = 0xffff_8880_0000_0000;

const PRESENT: u64 = 1;
/// In that table: a large page, and no table below.
const LARGE: u64 = 1 << 7;
/// In each table: nothing below can be run.
const NO_EXECUTE: u64 = 1 << 63;
/// Bits of an entry that are an address, but for those of encrypted memory.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Where page tables begin, and how to read them.
#[derive(Clone, Copy, Debug)]
pub(in crate::integrity) struct Tables {
    /// `level3_kernel_pgt`: the table that covers the last 512 gigabytes.
    pub(in crate::integrity) top: u64,
    /// `page_offset_base`: the variable that says where all memory is mapped.
    pub(in crate::integrity) page_offset_base: Option<u64>,
    /// `physical_mask`: the variable with the bits of addresses, where some may mean encryption.
    pub(in crate::integrity) physical_mask: Option<u64>,
}

/// The room for modules in a kernel that ends at `kernel_end`. Kernels differ in how much of it they use.
pub(in crate::integrity) fn area(kernel_end: u64) -> Option<Extent> {
    let start = kernel_end.checked_next_multiple_of(LARGE_PAGE_BYTES)?;
    (KERNEL_MAP < start && start < MODULES_END).then(|| Extent { address: start, bytes: MODULES_END - start })
}

/// What is mapped, in ascending order, each piece as long as it goes without a gap. Between allocations the kernel leaves a page free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::integrity) struct Mapped {
    pub(in crate::integrity) all: Vec<Extent>,
    /// What of it can be run.
    pub(in crate::integrity) code: Vec<Extent>,
}

/// Mapped pieces of `area`. An error is a clause.
pub(in crate::integrity) fn mapped(
    memory: &mut dyn Memory,
    tables: &Tables,
    area: Extent,
) -> Result<Result<Mapped, String>, MemoryError> {
    let variable = |memory: &mut dyn Memory, at: Option<u64>, otherwise| match at {
        Some(at) => memory.read_u64(at),
        None => Ok(Some(otherwise)),
    };
    let (Some(offset), Some(mask)) =
        (variable(memory, tables.page_offset_base, PAGE_OFFSET)?, variable(memory, tables.physical_mask, u64::MAX)?)
    else {
        return Ok(Err("it is not known where all memory is mapped".to_owned()));
    };
    let table = |entry: u64| offset.wrapping_add(entry & ADDRESS & mask);
    let mut pieces = Pieces { area, found: Vec::new() };
    let mut code = Pieces { area, found: Vec::new() };
    let last_two = tables.top.wrapping_add((ENTRIES as u64 - 2) * 8);
    let mut next = Vec::new();
    memory.read_each(&[last_two], 16, &mut |_, bytes| {
        next.extend(bytes.into_iter().flat_map(|bytes| [u64_at(bytes, 0), u64_at(bytes, 8)]).flatten());
    })?;
    let mut tables_of_pages = Vec::new();
    let mut unreadable = next.len() < 2;
    for (gigabyte, entry) in (0..).zip(next).filter(|(_, entry)| entry & PRESENT != 0) {
        let start = KERNEL_MAP + gigabyte * (ENTRIES as u64 * LARGE_PAGE_BYTES);
        memory.read_each(&[table(entry)], ENTRIES * 8, &mut |_, bytes| {
            unreadable |= bytes.is_none();
            let inherited = entry & NO_EXECUTE;
            let below = entries(bytes).map(|(number, entry)| (start + number * LARGE_PAGE_BYTES, entry | inherited));
            tables_of_pages.extend(below);
        })?;
    }
    let wanted = |start: u64| start.saturating_add(LARGE_PAGE_BYTES) > area.address;
    tables_of_pages.retain(|(start, entry)| wanted(*start) && entry & PRESENT != 0);
    for some in tables_of_pages.chunk_by(|(_, one), (_, other)| one & LARGE == other & LARGE) {
        if some.first().is_some_and(|(_, entry)| entry & LARGE != 0) {
            for (start, entry) in some {
                pieces.add(*start, LARGE_PAGE_BYTES);
                if entry & NO_EXECUTE == 0 {
                    code.add(*start, LARGE_PAGE_BYTES);
                }
            }
            continue;
        }
        let below: Vec<u64> = some.iter().map(|(_, entry)| table(*entry)).collect();
        let mut tables = some.iter();
        memory.read_each(&below, ENTRIES * 8, &mut |_, bytes| {
            unreadable |= bytes.is_none();
            let (start, inherited) = tables.next().copied().unwrap_or((MODULES_END, NO_EXECUTE));
            for (number, entry) in entries(bytes).filter(|(_, entry)| entry & PRESENT != 0) {
                pieces.add(start + number * PAGE_BYTES, PAGE_BYTES);
                if (entry | inherited) & NO_EXECUTE == 0 {
                    code.add(start + number * PAGE_BYTES, PAGE_BYTES);
                }
            }
        })?;
    }
    Ok(if unreadable {
        Err("a page table cannot be read".to_owned())
    } else {
        Ok(Mapped { all: pieces.found, code: code.found })
    })
}

/// The pages of a mapped piece.
pub(in crate::integrity) fn each(piece: &Extent) -> impl Iterator<Item = u64> + use<> {
    (piece.address..piece.address + piece.bytes).step_by(PAGE_BYTES as usize)
}

/// A table's entries with their numbers.
fn entries(bytes: Option<&[u8]>) -> impl Iterator<Item = (u64, u64)> {
    let (entries, _) = bytes.unwrap_or_default().as_chunks();
    (0..).zip(entries.iter().map(|entry| u64::from_le_bytes(*entry)))
}

/// What was found, in ascending order.
struct Pieces {
    area: Extent,
    found: Vec<Extent>,
}

impl Pieces {
    fn add(&mut self, address: u64, bytes: u64) {
        if !self.area.contains(address) {
            return;
        }
        match self.found.last_mut() {
            Some(last) if last.address + last.bytes == address => last.bytes += bytes,
            _ => self.found.push(Extent { address, bytes }),
        }
    }
}
