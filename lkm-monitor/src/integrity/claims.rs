//! Whose memory is whose, by what modules say of themselves. That may be anything: the smallest claim counts, and who disputes it is known.

use std::collections::{BTreeMap, BTreeSet};

use super::module::Module;
use crate::model::Extent;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// In ascending order, none of them in another.
    parts: Vec<Part>,
}

/// A piece of memory that one and the same modules claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    extent: Extent,
    owner: Owner,
}

/// Who claims an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// Where the `struct module` is that claims least around it.
    pub(super) module: u64,
    /// Another module claims it as well.
    pub(super) is_disputed: bool,
}

impl Claims {
    /// Of these modules' memory as far as `counts` of each piece.
    pub(super) fn of<'a>(modules: impl IntoIterator<Item = &'a Module>, counts: impl Fn(&Extent) -> bool) -> Self {
        let claims = modules.into_iter().flat_map(|module| {
            let counted = module.memory.iter().filter(|extent| counts(extent));
            counted.map(|extent| (*extent, module.address))
        });
        // A claim begins and ends somewhere; between two such places nothing changes.
        let mut places: BTreeMap<u64, Vec<(bool, Extent, u64)>> = BTreeMap::new();
        for (extent, module) in claims {
            places.entry(extent.address).or_default().push((true, extent, module));
            let end = extent.address.saturating_add(extent.bytes);
            places.entry(end).or_default().push((false, extent, module));
        }
        let mut parts = Vec::new();
        let mut open: BTreeSet<(u64, u64, u64)> = BTreeSet::new();
        let mut modules: BTreeMap<u64, usize> = BTreeMap::new();
        let mut last = 0;
        for (address, changes) in places {
            if let Some((_, module, _)) = open.first() {
                let extent = Extent { address: last, bytes: address - last };
                let owner = Owner { module: *module, is_disputed: modules.len() > 1 };
                parts.push(Part { extent, owner });
            }
            for (begins, extent, module) in changes {
                let claims = modules.entry(module).or_default();
                let claim = (extent.bytes, module, extent.address);
                if begins {
                    *claims += 1;
                    open.insert(claim);
                } else {
                    *claims = claims.saturating_sub(1);
                    open.remove(&claim);
                }
                if *claims == 0 {
                    modules.remove(&module);
                }
            }
            last = address;
        }
        Self { parts }
    }

    /// Who claims `address`.
    pub(super) fn owner(&self, address: u64) -> Option<Owner> {
        let before = self.parts.partition_point(|part| part.extent.address <= address).checked_sub(1)?;
        let part = self.parts.get(before).filter(|part| part.extent.contains(address))?;
        Some(part.owner)
    }

    /// A module whose memory another one claims as well.
    pub(super) fn disputed(&self) -> Option<u64> {
        self.parts.iter().find(|part| part.owner.is_disputed).map(|part| part.owner.module)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ModuleState;

    fn module(address: u64, memory: &[(u64, u64)]) -> Module {
        let memory = memory.iter().map(|&(address, bytes)| Extent { address, bytes }).collect();
        Module { address, name: Vec::new(), state: ModuleState::Live, taints: 0, memory }
    }

    #[test]
    fn the_smallest_claim_counts_and_who_disputes_it_is_known() {
        let modules = [module(1, &[(0x1000, 0x4000)]), module(2, &[(0x2000, 0x1000)]), module(3, &[(0x8000, 0x1000)])];
        let claims = Claims::of(&modules, |_| true);
        let owner = |address| claims.owner(address).map(|owner| (owner.module, owner.is_disputed));
        let places = [0xfff, 0x1000, 0x2000, 0x2fff, 0x3000, 0x4fff, 0x5000, 0x8000, 0x9000].map(owner);
        let (one, two) = (Some((1, false)), Some((2, true)));
        assert_eq!(places, [None, one, two, two, one, one, None, Some((3, false)), None]);
        assert_eq!(claims.disputed(), Some(2));
        let small = Claims::of(&modules, |extent| extent.bytes < 0x2000);
        assert_eq!((small.owner(0x1000), small.disputed()), (None, None));
    }

    proptest! {
        /// As by going through all of them.
        #[test]
        fn any_claims_are_settled(
            claims in prop::collection::vec((0..6_u64, 0..20_u64, 1..9_u64), 0..12),
            address in 0..30_u64,
        ) {
            let modules: Vec<_> = (0..6_u64)
                .map(|number| {
                    let own = claims.iter().filter(|(module, ..)| *module == number);
                    let memory: BTreeSet<_> = own.map(|(_, address, bytes)| (*address, *bytes)).collect();
                    // One module's pieces are told apart by their places.
                    let memory: BTreeMap<u64, (u64, u64)> = memory.into_iter().map(|piece| (piece.1, piece)).collect();
                    module(number, &memory.into_values().collect::<Vec<_>>())
                })
                .collect();
            let claiming: BTreeSet<(u64, u64)> = modules
                .iter()
                .flat_map(|module| module.memory.iter().map(move |extent| (extent, module.address)))
                .filter(|(extent, _)| extent.contains(address))
                .map(|(extent, module)| (extent.bytes, module))
                .collect();
            let all: BTreeSet<u64> = claiming.iter().map(|(_, module)| *module).collect();
            let expected = claiming.first().map(|(_, module)| Owner { module: *module, is_disputed: all.len() > 1 });
            prop_assert_eq!(Claims::of(&modules, |_| true).owner(address), expected);
        }
    }
}
