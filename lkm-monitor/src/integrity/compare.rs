//! What one view has and another has not.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    census::Census,
    files::{Names, Shown},
    module::Module,
};
use crate::model::{HiddenModule, ModuleHistory, ReadingsDiffer, Sight, View, text};

impl Census {
    /// Modules that some view has and another, which was looked at whole, has not.
    pub(super) fn hidden(&self, history: &ModuleHistory) -> Vec<HiddenModule> {
        let in_memory = self.modules.values().map(|module| self.in_memory(module, history));
        let named: BTreeSet<&Vec<u8>> = self.named.values().flat_map(Names::keys).collect();
        let in_files =
            named.into_iter().filter(|name| !self.is_in_memory(name)).map(|name| self.in_files(name, history));
        let strange = self.strange.iter().map(|(address, ways)| self.strange(*address, ways));
        let modules = in_memory.chain(strange).chain(in_files).chain(self.in_history(history));
        modules.filter(|module| !module.missing_from.is_empty() && !only_a_reading_differs(module)).collect()
    }

    /// Whether the two ways to read /proc/modules differ in what they show.
    pub(super) fn readings(&self) -> Option<ReadingsDiffer> {
        let (whole, pieces) = (self.whole(View::ProcModules)?, self.whole(View::ProcModulesInPieces)?);
        let beyond = |one: &Names, other: &Names| -> Vec<String> {
            one.keys().filter(|name| !other.contains_key(*name)).map(|name| text::text(name)).collect()
        };
        let differ = ReadingsDiffer { only_whole: beyond(whole, pieces), only_pieces: beyond(pieces, whole) };
        (!differ.only_whole.is_empty() || !differ.only_pieces.is_empty()).then_some(differ)
    }

    fn whole(&self, view: View) -> Option<&Names> {
        self.is_whole(view).then(|| self.named.get(&view)).flatten()
    }

    fn is_whole(&self, view: View) -> bool {
        self.sights.get(&view).is_some_and(Sight::is_whole)
    }

    /// Views that were looked at whole and are not among those that have it. What the daemon did not see loaded was loaded before it, and
    /// what has no symbols is in no list of them.
    fn missing_from(&self, seen_in: &[View]) -> Vec<View> {
        let views = View::ALL.into_iter().filter(|view| !matches!(view, View::Kallsyms | View::History));
        views.filter(|view| self.is_whole(*view) && !seen_in.contains(view)).collect()
    }

    /// The same of a module of which only the name is known: areas have none.
    fn missing_by_name(&self, seen_in: &[View]) -> Vec<View> {
        let missing = self.missing_from(seen_in).into_iter();
        missing.filter(|view| *view != View::Vmallocinfo).collect()
    }

    fn in_memory(&self, module: &Module, history: &ModuleHistory) -> HiddenModule {
        let name = text::text(&module.name);
        let loaded_boot_ns = loaded(history, &name);
        let has = |view: &View| match view {
            View::History => loaded_boot_ns.is_some(),
            view => {
                self.found.get(view).is_some_and(|found| found.contains(&module.address))
                    || self
                        .named
                        .get(view)
                        .and_then(|names| names.get(&module.name))
                        .is_some_and(|shown| is(module, shown))
            }
        };
        let seen_in: Vec<View> = View::ALL.into_iter().filter(has).collect();
        HiddenModule {
            missing_from: self.missing_from(&seen_in),
            name,
            address: Some(module.address),
            memory: module.memory.clone(),
            state: Some(module.state),
            taints: Some(module.taints),
            loaded_boot_ns,
            seen_in,
        }
    }

    /// What stands where modules do, and does not let itself be read as one: it has a place and no name.
    fn strange(&self, address: u64, ways: &BTreeSet<View>) -> HiddenModule {
        let of_memory = [View::List, View::AddressTree, View::Kset, View::Memory];
        let others = of_memory.into_iter().filter(|view| !ways.contains(view) && self.is_whole(*view));
        let (missing_from, seen_in) = (others.collect(), ways.iter().copied().collect());
        HiddenModule { address: Some(address), missing_from, ..nowhere(String::new(), None, seen_in) }
    }

    fn is_in_memory(&self, name: &[u8]) -> bool {
        let shown: Vec<&Shown> = self.named.values().filter_map(|names| names.get(name)).collect();
        self.modules.values().any(|module| module.name == name && shown.iter().any(|shown| is(module, shown)))
    }

    fn in_files(&self, name: &[u8], history: &ModuleHistory) -> HiddenModule {
        let readable = text::text(name);
        let loaded_boot_ns = loaded(history, &readable);
        let has = |view: &View| match view {
            View::History => loaded_boot_ns.is_some(),
            view => self.named.get(view).is_some_and(|names| names.contains_key(name)),
        };
        let seen_in: Vec<View> = View::ALL.into_iter().filter(has).collect();
        HiddenModule { missing_from: self.missing_by_name(&seen_in), ..nowhere(readable, loaded_boot_ns, seen_in) }
    }

    /// What was loaded and not unloaded, and is in no other view: of some modules with one name those that were loaded first. A history with
    /// gaps is no evidence.
    fn in_history(&self, history: &ModuleHistory) -> Vec<HiddenModule> {
        if history.gap.is_some() || history.unavailable.is_some() {
            return Vec::new();
        }
        let mut there: BTreeMap<String, usize> = BTreeMap::new();
        for module in self.modules.values() {
            *there.entry(text::text(&module.name)).or_default() += 1;
        }
        for name in self.named.values().flat_map(Names::keys) {
            there.entry(text::text(name)).or_insert(1);
        }
        let mut last_first: Vec<_> = history.loaded.iter().collect();
        last_first.sort_unstable_by(|one, other| other.cmp(one));
        last_first.retain(|(name, _)| match there.get_mut(name) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        });
        let gone = last_first.into_iter().map(|(name, loaded_boot_ns)| HiddenModule {
            missing_from: self.missing_by_name(&[View::History]),
            ..nowhere(name.clone(), Some(*loaded_boot_ns), vec![View::History])
        });
        gone.collect()
    }
}

/// Of which nothing is known from kernel memory.
const fn nowhere(name: String, loaded_boot_ns: Option<u64>, seen_in: Vec<View>) -> HiddenModule {
    HiddenModule {
        name,
        address: None,
        memory: Vec::new(),
        state: None,
        taints: None,
        loaded_boot_ns,
        seen_in,
        missing_from: Vec::new(),
    }
}

fn loaded(history: &ModuleHistory, name: &str) -> Option<u64> {
    history.loaded.iter().rev().find(|(loaded, _)| loaded == name).map(|(_, boot_ns)| *boot_ns)
}

/// Whether a file means this module and not another one of that name, as far as it says.
fn is(module: &Module, shown: &Shown) -> bool {
    shown.text.is_none_or(|text| module.memory.iter().any(|extent| extent.address == text))
}

/// That is told of the readings and not of the module.
fn only_a_reading_differs(module: &HiddenModule) -> bool {
    module.missing_from == [View::ProcModulesInPieces]
}
