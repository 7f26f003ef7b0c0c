//! Modules that came or went.

use std::collections::BTreeMap;

use super::{Between, Compared};
use crate::model::{Drifted, ModuleSeen};

pub(super) fn compare(between: &Between<'_>, same_boot: bool, compared: &mut Compared) {
    let Some(now) = &between.now.modules else { return };
    if same_boot {
        if let Some(last) = &between.last.modules {
            compare_lists(between, last, now, compared);
        }
    } else if !between.last.modules_of_boot.is_empty() {
        compare_boots(between, now, compared);
    }
}

fn compare_lists(
    between: &Between<'_>,
    last: &BTreeMap<String, ModuleSeen>,
    now: &BTreeMap<String, ModuleSeen>,
    compared: &mut Compared,
) {
    for (name, module) in now {
        let before = last.get(name);
        if before.is_some_and(|before| is_same(before, module)) {
            continue;
        }
        if between.notes.explain_module(name, true) {
            compared.explained += 1;
            continue;
        }
        let what =
            Drifted::ModuleLoaded { name: name.clone(), now: module.clone(), before: before.cloned(), file: None };
        compared.drifts.push(between.drift(what));
    }
    for (name, before) in last.iter().filter(|(name, _)| !now.contains_key(*name)) {
        if between.notes.explain_module(name, false) {
            compared.explained += 1;
            continue;
        }
        let what = Drifted::ModuleGone { name: name.clone(), before: before.clone() };
        compared.drifts.push(between.drift(what));
    }
}

/// Each boot has modules of its own. What was never there in the boot before is worth a word.
fn compare_boots(between: &Between<'_>, now: &BTreeMap<String, ModuleSeen>, compared: &mut Compared) {
    for (name, module) in now.iter().filter(|(name, _)| !between.last.modules_of_boot.contains(*name)) {
        if between.notes.explain_module(name, true) {
            compared.explained += 1;
            continue;
        }
        let what = Drifted::ModuleLoaded { name: name.clone(), now: module.clone(), before: None, file: None };
        compared.drifts.push(between.drift_of_boot(what));
    }
}

/// Whether it can be the very module. The size of one that was just being loaded, or unloaded, is not known.
fn is_same(before: &ModuleSeen, now: &ModuleSeen) -> bool {
    (before.size == now.size || before.size == 0 || now.size == 0) && before.taints == now.taints
}
