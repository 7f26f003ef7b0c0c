//! Modules that no list leads to, by what lies in the memory of modules.

use super::{MOST_MODULES, pages};
use crate::{
    integrity::{
        claims::Claims,
        layout::ModuleLayout,
        memory::{Memory, MemoryError},
        module::{ALIGNMENT, Module},
    },
    model::{Extent, text},
};

const PAGE_BYTES: u64 = 4096;
/// Pages that are asked for at once.
const PAGES_AT_ONCE: usize = 256;

/// What was found there.
#[derive(Debug, Default)]
pub(in crate::integrity) struct Searched {
    pub(in crate::integrity) modules: Vec<Module>,
    /// There are more than are taken.
    pub(in crate::integrity) is_cut: bool,
    /// What a known module says of its memory that cannot be believed, a clause.
    pub(in crate::integrity) doubt: Option<String>,
}

/// Looks through the pages of `mapped` that are none of the `known` modules' own, and gives the modules in them. The pages of BPF programs,
/// trampolines and probes are such too, and hold none.
///
/// A module is believed as far as its memory is mapped in one piece, and no other one's: or else who is known could claim who hides.
pub(in crate::integrity) fn unknown(
    memory: &mut dyn Memory,
    mapped: &[Extent],
    known: &[Module],
    layout: &ModuleLayout,
    area: Extent,
) -> Result<Searched, MemoryError> {
    let is_in_one_piece = |extent: &Extent| {
        let before = mapped.partition_point(|piece| piece.address <= extent.address).checked_sub(1);
        let piece = before.and_then(|before| mapped.get(before));
        piece.is_some_and(|piece| extent.bytes <= piece.bytes.saturating_sub(extent.address - piece.address))
    };
    let claims = Claims::of(known, is_in_one_piece);
    let mut searched = Searched { doubt: doubt(known, &claims, is_in_one_piece), ..Searched::default() };
    let is_own = |page: &u64| claims.owner(*page).is_some_and(|owner| !owner.is_disputed);
    let is_known = |address: &u64| known.binary_search_by_key(address, |module| module.address).is_ok();
    let mut pages = mapped.iter().flat_map(pages::each).filter(|page| !is_own(page)).peekable();
    while pages.peek().is_some() {
        let some: Vec<u64> = pages.by_ref().take(PAGES_AT_ONCE).collect();
        let mut places = likely(memory, &some, layout)?;
        places.retain(|place| !is_known(place));
        memory.read_each(&places, layout.bytes, &mut |address, bytes| {
            let module = bytes.and_then(|bytes| Module::parse(address, bytes, layout, area));
            let Some(module) = module.filter(Module::looks_loaded) else { return };
            searched.is_cut |= searched.modules.len() >= MOST_MODULES;
            if !searched.is_cut {
                searched.modules.push(module);
            }
        })?;
    }
    Ok(searched)
}

fn doubt(known: &[Module], claims: &Claims, is_in_one_piece: impl Fn(&Extent) -> bool) -> Option<String> {
    let torn = known.iter().find(|module| !module.memory.iter().all(&is_in_one_piece));
    let disputed = claims.disputed();
    let disputed = known.iter().find(|module| Some(module.address) == disputed);
    let named = |module: &Module, what: &str| format!("what `{}` calls its memory {what}", text::text(&module.name));
    let torn = torn.map(|module| named(module, "is not mapped in one piece"));
    torn.or_else(|| disputed.map(|module| named(module, "another module does, too")))
}

/// Places in these pages where a `struct module` may begin: a state, then the first letter of a name, which is in the same page where the
/// page does not end in between.
fn likely(memory: &mut dyn Memory, pages: &[u64], layout: &ModuleLayout) -> Result<Vec<u64>, MemoryError> {
    let mut places = Vec::new();
    memory.read_each(pages, PAGE_BYTES as usize, &mut |page, bytes| {
        let bytes = bytes.unwrap_or_default();
        let may_begin = |start: &usize| {
            let state = bytes.get(start + layout.state..).and_then(<[u8]>::first_chunk);
            let letter = bytes.get(start + layout.name);
            state.is_some_and(|state| u32::from_le_bytes(*state) <= 3) && letter.is_none_or(u8::is_ascii_graphic)
        };
        places.extend((0..bytes.len()).step_by(ALIGNMENT).filter(may_begin).map(|start| page + start as u64));
    })?;
    Ok(places)
}
