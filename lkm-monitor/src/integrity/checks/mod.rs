//! What in the kernel leads to code, and whether somebody answers for that code.

pub(super) mod ftrace;
pub(super) mod kprobes;
pub(super) mod system_calls;
pub(super) mod taint;
pub(super) mod tracefs;

use std::collections::BTreeSet;

use super::{census::Census, claims::Claims, memory::Chain};
use crate::model::{Extent, HiddenModule, Place, Sight, text};

/// More hooks than that are a list that was forged.
const MOST_HOOKS: usize = 1 << 14;

/// Who answers for which code.
#[derive(Debug)]
pub(super) struct Owners<'a> {
    text: Extent,
    census: &'a Census,
    claims: Claims,
    hidden: BTreeSet<u64>,
}

impl<'a> Owners<'a> {
    pub(super) fn new(text: Extent, census: &'a Census, hidden: &[HiddenModule]) -> Self {
        let hidden = hidden.iter().filter_map(|module| module.address).collect();
        Self { text, census, claims: Claims::of(census.modules.values(), |_| true), hidden }
    }

    /// Whether this is in the kernel's text.
    fn has(&self, address: u64) -> bool {
        self.text.contains(address)
    }

    /// Where this is, if it is not in the kernel's text.
    fn outside(&self, address: u64) -> Option<Place> {
        if self.has(address) {
            return None;
        }
        let owner = self.claims.owner(address).and_then(|owner| self.census.modules.get(&owner.module));
        Some(Place {
            address,
            module: owner.map(|module| text::text(&module.name)),
            hidden: owner.is_some_and(|module| self.hidden.contains(&module.address)),
        })
    }

    /// A hidden module of this name, which is told where its memory begins: nothing else is known of the place. A name that a module which
    /// does not hide has as well is no word.
    fn hidden(&self, name: &[u8]) -> Option<Place> {
        let named = || self.census.modules.values().filter(|module| module.name == name);
        let module = named().next().filter(|_| named().all(|module| self.hidden.contains(&module.address)))?;
        let address = module.memory.first().map_or(module.address, |extent| extent.address);
        Some(Place { address, module: Some(text::text(&module.name)), hidden: true })
    }

    /// Where this is, if it is neither in the kernel's text nor in that of a module that all views have. Memory that two modules call theirs
    /// is nobody's.
    fn foreign(&self, address: u64) -> Option<Place> {
        let is_disputed = || self.claims.owner(address).is_some_and(|owner| owner.is_disputed);
        self.outside(address).filter(|place| place.hidden || place.module.is_none() || is_disputed())
    }
}

/// How well a list of hooks could be looked at.
fn sight(chain: &Chain) -> Sight {
    let count = chain.pointers.len();
    match &chain.broken {
        Some(why) => Sight::Incomplete { count, why: why.clone() },
        None => Sight::Whole { count },
    }
}
