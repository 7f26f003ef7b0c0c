//! Modules that no list leads to, by what lies in the memory of modules.

use crate::{
    integrity::{
        layout::ModuleLayout,
        memory::{Memory, MemoryError},
        module::{ALIGNMENT, Module},
    },
    model::Extent,
};

const PAGE_BYTES: u64 = 4096;
/// Pages that are asked for at once.
const PAGES_AT_ONCE: usize = 256;

/// Looks through the pages of `mapped` that none of the `known` modules says are its own, and gives the modules in them. The pages of BPF
/// programs, trampolines and probes are such too, and hold none.
pub(in crate::integrity) fn unknown(
    memory: &mut dyn Memory,
    mapped: &[Extent],
    known: &[Module],
    layout: &ModuleLayout,
    area: Extent,
) -> Result<Vec<Module>, MemoryError> {
    let mut places = Vec::new();
    let mut pages = Vec::with_capacity(PAGES_AT_ONCE);
    for page in unclaimed(mapped, known) {
        pages.push(page);
        if pages.len() == PAGES_AT_ONCE {
            likely(memory, &pages, layout, &mut places)?;
            pages.clear();
        }
    }
    likely(memory, &pages, layout, &mut places)?;
    let mut found = Vec::new();
    memory.read_each(&places, layout.bytes, &mut |address, bytes| {
        let module = bytes.and_then(|bytes| Module::parse(address, bytes, layout, area));
        found.extend(module.filter(Module::looks_loaded));
    })?;
    Ok(found)
}

/// Places in these pages where a `struct module` may begin: a state, then the first letter of a name, which is in the same page where the
/// page does not end in between.
fn likely(
    memory: &mut dyn Memory,
    pages: &[u64],
    layout: &ModuleLayout,
    places: &mut Vec<u64>,
) -> Result<(), MemoryError> {
    memory.read_each(pages, PAGE_BYTES as usize, &mut |page, bytes| {
        let bytes = bytes.unwrap_or_default();
        let may_begin = |start: &usize| {
            let state = bytes.get(start + layout.state..).and_then(<[u8]>::first_chunk);
            let letter = bytes.get(start + layout.name);
            state.is_some_and(|state| u32::from_le_bytes(*state) <= 3) && letter.is_none_or(u8::is_ascii_graphic)
        };
        places.extend((0..bytes.len()).step_by(ALIGNMENT).filter(may_begin).map(|start| page + start as u64));
    })
}

/// Pages that no known module claims.
fn unclaimed(mapped: &[Extent], known: &[Module]) -> impl Iterator<Item = u64> {
    let mut claimed: Vec<Extent> = known.iter().flat_map(|module| module.memory.iter().copied()).collect();
    claimed.sort_unstable();
    let mut claims = claimed.into_iter().peekable();
    let pages =
        mapped.iter().flat_map(|piece| (piece.address..piece.address + piece.bytes).step_by(PAGE_BYTES as usize));
    let mut claimed_to = 0;
    pages.filter(move |page| {
        while let Some(claim) = claims.next_if(|claim| claim.address <= *page) {
            claimed_to = claimed_to.max(claim.address + claim.bytes);
        }
        *page >= claimed_to
    })
}
