//! Which modules are loaded by the kernel's word on loads and unloads, since somebody listens.

use std::collections::BTreeMap;

use crate::model::{ModuleCall, ModuleHistory, text::text};

/// Modules that are remembered: a host has some hundreds.
const MAX_MODULES: usize = 4096;

/// What of the kernel's word is heard now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    pub loads: bool,
    pub unloads: bool,
}

/// See the module. It is no evidence while an unload may have been missed, and begins anew after that.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Times of loads in nanoseconds since boot, by name: one that hides leaves its name to others.
    loaded: BTreeMap<String, Vec<u64>>,
    /// When a module of this name was last unloaded of which no load was known: word of that may come later.
    unloaded: BTreeMap<String, u64>,
    /// Of all loads.
    taints: u64,
    /// Events lost so far that may have been unloads.
    lost: u64,
    /// There were more modules than are remembered.
    overflown: bool,
    gap: Option<String>,
    unavailable: Option<String>,
    /// Something is another than when it was last taken.
    changed: bool,
}

impl History {
    /// Takes in a load or unload. What was only tried leaves its taints, and nothing else.
    pub(super) fn note(&mut self, call: &ModuleCall) {
        let Some(name) = &call.module.name else { return };
        let name = text(&name.bytes);
        match call.module.taints {
            _ if !call.operation.is_load() => {
                if call.freed {
                    self.unload(name, call.boot_ns);
                }
            }
            Some(taints) => {
                self.changed |= taints & !self.taints != 0;
                self.taints |= taints;
                if !call.freed {
                    self.load(name, call.boot_ns);
                }
            }
            None => {}
        }
    }

    fn load(&mut self, name: String, boot_ns: u64) {
        // It is gone already.
        if self.unloaded.get(&name).is_some_and(|unloaded_ns| boot_ns < *unloaded_ns) {
            return;
        }
        if self.loaded.values().map(Vec::len).sum::<usize>() >= MAX_MODULES {
            self.loaded.clear();
            self.overflown = true;
        }
        let loads = self.loaded.entry(name).or_default();
        loads.push(boot_ns);
        loads.sort_unstable();
        self.changed = true;
    }

    /// Of several modules of one name the last is the one that can be unloaded: the others are there no more for the kernel.
    fn unload(&mut self, name: String, boot_ns: u64) {
        let loads = self.loaded.get_mut(&name);
        let last = loads.and_then(|loads| Some((loads.iter().rposition(|load_ns| *load_ns <= boot_ns)?, loads)));
        let Some((last, loads)) = last else {
            self.forget_an_unload();
            self.unloaded.insert(name, boot_ns);
            return;
        };
        loads.remove(last);
        if loads.is_empty() {
            self.loaded.remove(&name);
        }
        self.changed = true;
    }

    /// The oldest, where there are many: word of a load comes within seconds.
    fn forget_an_unload(&mut self) {
        if self.unloaded.len() < MAX_MODULES {
            return;
        }
        let oldest = self.unloaded.iter().min_by_key(|(_, unloaded_ns)| **unloaded_ns).map(|(name, _)| name.clone());
        oldest.and_then(|name| self.unloaded.remove(&name));
    }

    /// The history, if it is another than when it was last taken. `lost` events may have been unloads, since the start.
    pub(super) fn take(&mut self, heard: Heard, lost: u64) -> Option<ModuleHistory> {
        let gap = match () {
            () if !heard.unloads => Some("unloads are not seen".to_owned()),
            () if self.overflown => Some("more modules were loaded than are remembered".to_owned()),
            () if lost > self.lost => Some("events were lost, unloads perhaps among them".to_owned()),
            () => None,
        };
        let unavailable = (!heard.loads).then(|| "loads are not seen".to_owned());
        (self.lost, self.overflown) = (lost, false);
        if gap.is_some() {
            self.loaded.clear();
        }
        self.changed |= (&gap, &unavailable) != (&self.gap, &self.unavailable);
        (self.gap, self.unavailable) = (gap, unavailable);
        std::mem::take(&mut self.changed).then(|| ModuleHistory {
            loaded: self.loaded.iter().flat_map(|(name, loads)| loads.iter().map(|at| (name.clone(), *at))).collect(),
            taints: self.taints,
            gap: self.gap.clone(),
            unavailable: self.unavailable.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, LoadStage, ModuleFacts, samples};

    const ALL: Heard = Heard { loads: true, unloads: true };

    fn named(call: ModuleCall, name: &str, boot_ns: u64) -> ModuleCall {
        let module = ModuleFacts { name: Some(Bytes::whole(name)), taints: Some(0), ..ModuleFacts::default() };
        ModuleCall { module, boot_ns, ..call }
    }

    fn load(name: &str, boot_ns: u64) -> ModuleCall {
        named(samples::load_from("/lib/modules/a.ko"), name, boot_ns)
    }

    fn unload(name: &str) -> ModuleCall {
        ModuleCall { freed: true, ..named(samples::unload(), name, 9) }
    }

    fn names(history: Option<ModuleHistory>) -> Vec<(String, u64)> {
        history.unwrap().loaded
    }

    #[test]
    fn what_was_loaded_and_not_unloaded_is_there() {
        let mut history = History::default();
        assert_eq!(history.take(ALL, 0), None);
        for call in [load("a", 1), load("b", 2), unload("a"), load("a", 3)] {
            history.note(&call);
        }
        assert_eq!(names(history.take(ALL, 0)), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
        assert_eq!(history.take(ALL, 0), None, "it is the same");
        let failed = ModuleCall { freed: true, stage: LoadStage::InitFailed, ..load("c", 4) };
        history.note(&failed);
        history.note(&ModuleCall { freed: false, ..unload("a") });
        assert_eq!(history.take(ALL, 0), None);
    }

    #[test]
    fn what_was_only_tried_is_no_load() {
        let mut history = History::default();
        history.note(&ModuleCall { module: ModuleFacts::default(), ..load("a", 1) });
        let mut refused = load("a", 1);
        refused.module.taints = None;
        history.note(&refused);
        assert_eq!(history.take(ALL, 0), None);
    }

    /// An unload that nobody saw would make a module that is gone a hidden one.
    #[test]
    fn it_begins_anew_when_an_unload_may_have_been_missed() {
        let mut history = History::default();
        history.note(&load("a", 1));
        let lossy = history.take(ALL, 3).unwrap();
        assert_eq!((lossy.loaded.len(), lossy.gap.is_some()), (0, true));
        history.note(&load("b", 2));
        let after = history.take(ALL, 3).unwrap();
        assert_eq!((names(Some(after.clone())), after.gap), (vec![("b".to_owned(), 2)], None));
        let deaf = Heard { unloads: false, ..ALL };
        assert_eq!(history.take(deaf, 3).unwrap().gap.as_deref(), Some("unloads are not seen"));
        history.note(&load("c", 3));
        assert_eq!(names(history.take(deaf, 3)), [], "as long as that is so");
        let none = Heard { loads: false, unloads: true };
        assert_eq!(history.take(none, 3).unwrap().unavailable.as_deref(), Some("loads are not seen"));
    }

    #[test]
    fn more_modules_than_are_remembered_are_a_gap() {
        let mut history = History::default();
        for number in 0..=MAX_MODULES as u64 {
            history.note(&load(&format!("m{number}"), number));
        }
        let kept = history.take(ALL, 0).unwrap();
        assert_eq!(kept.loaded, []);
        assert!(kept.gap.unwrap().contains("than are remembered"));
        history.note(&load("after", 9));
        let after = history.take(ALL, 0).unwrap();
        assert_eq!((after.gap, after.loaded), (None, vec![("after".to_owned(), 9)]));
    }

    /// It left the list, so that the kernel lets another one have its name.
    #[test]
    fn a_namesake_takes_only_itself_away() {
        let mut history = History::default();
        for call in [load("a", 1), load("a", 5), unload("a")] {
            history.note(&call);
        }
        assert_eq!(names(history.take(ALL, 0)), [("a".to_owned(), 1)]);
        let failed = ModuleCall { freed: true, stage: LoadStage::InitFailed, ..load("a", 6) };
        history.note(&failed);
        history.note(&load("b", 7));
        assert_eq!(names(history.take(ALL, 0)), [("a".to_owned(), 1), ("b".to_owned(), 7)]);
    }

    #[test]
    fn an_unload_that_comes_before_its_load_counts() {
        let mut history = History::default();
        for call in [unload("a"), load("a", 8), load("a", 10)] {
            history.note(&call);
        }
        assert_eq!(names(history.take(ALL, 0)), [("a".to_owned(), 10)]);
        (0..2 * MAX_MODULES).for_each(|number| history.note(&unload(&format!("m{number}"))));
        assert_eq!(history.unloaded.len(), MAX_MODULES);
    }

    #[test]
    fn taints_that_a_load_brought_stay() {
        let mut history = History::default();
        let tainted = |name: &str, taints, freed| {
            let mut call = ModuleCall { freed, ..load(name, 1) };
            call.module.taints = Some(taints);
            call
        };
        for call in [tainted("a", 1 << 12, false), tainted("b", 1 << 13, true), unload("a")] {
            history.note(&call);
        }
        assert_eq!(history.take(ALL, 3).unwrap().taints, 1 << 12 | 1 << 13);
        history.note(&tainted("b", 1, true));
        assert_eq!(history.take(ALL, 3).unwrap().taints, 1 << 12 | 1 << 13 | 1);
    }
}
