//! Which modules are loaded by the kernel's word on loads and unloads, since somebody listens.

use std::collections::BTreeMap;

use crate::model::{ModuleCall, ModuleHistory, text::text};

/// Modules that are remembered, the last ones: a host has some hundreds.
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
    /// By name, with the time of the load in nanoseconds since boot.
    loaded: BTreeMap<String, u64>,
    /// Events lost so far that may have been unloads.
    lost: u64,
    gap: Option<String>,
    unavailable: Option<String>,
    /// Something is another than when it was last taken.
    changed: bool,
}

impl History {
    /// Takes in a load or unload. What was only tried changes nothing.
    pub(super) fn note(&mut self, call: &ModuleCall) {
        let Some(name) = &call.module.name else { return };
        let (name, linked) = (text(&name.bytes), call.module.taints.is_some());
        if call.freed {
            self.loaded.remove(&name);
        } else if call.operation.is_load() && linked {
            self.make_room();
            self.loaded.insert(name, call.boot_ns);
        } else {
            return;
        }
        self.changed = true;
    }

    fn make_room(&mut self) {
        if self.loaded.len() < MAX_MODULES {
            return;
        }
        let oldest = self.loaded.iter().min_by_key(|(_, loaded_ns)| **loaded_ns).map(|(name, _)| name.clone());
        oldest.and_then(|name| self.loaded.remove(&name));
    }

    /// The history, if it is another than when it was last taken. `lost` events may have been unloads, since the start.
    pub(super) fn take(&mut self, heard: Heard, lost: u64) -> Option<ModuleHistory> {
        let gap = match () {
            () if !heard.unloads => Some("unloads are not seen".to_owned()),
            () if lost > self.lost => Some("events were lost, unloads perhaps among them".to_owned()),
            () => None,
        };
        let unavailable = (!heard.loads).then(|| "loads are not seen".to_owned());
        self.lost = lost;
        if gap.is_some() {
            self.loaded.clear();
        }
        self.changed |= (&gap, &unavailable) != (&self.gap, &self.unavailable);
        (self.gap, self.unavailable) = (gap, unavailable);
        std::mem::take(&mut self.changed).then(|| ModuleHistory {
            loaded: self.loaded.iter().map(|(name, at)| (name.clone(), *at)).collect(),
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
        assert_eq!(names(history.take(ALL, 0)), [("a".to_owned(), 3), ("b".to_owned(), 2)]);
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
    fn the_last_modules_are_remembered() {
        let mut history = History::default();
        for number in 0..=MAX_MODULES as u64 {
            history.note(&load(&format!("m{number}"), number));
        }
        let kept = history.take(ALL, 0).unwrap().loaded;
        assert_eq!(kept.len(), MAX_MODULES);
        assert!(kept.iter().all(|(name, _)| name != "m0"));
    }
}
