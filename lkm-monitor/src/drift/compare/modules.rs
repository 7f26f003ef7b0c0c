//! Modules that came or went.

use std::collections::{BTreeMap, BTreeSet};

use super::{Between, Compared};
use crate::{
    drift::seen::{Found, Notes, can_be_same},
    model::{Drift, Drifted, ModuleSeen},
};

type Modules = BTreeMap<String, ModuleSeen>;

pub(super) fn compare(between: &Between<'_>, same_boot: bool, compared: &mut Compared) {
    let Some(now) = &between.now.modules else { return };
    if same_boot {
        if let Some(last) = &between.last.modules {
            let names = last.keys().chain(now.keys()).map(String::as_str).chain(between.notes.names()).collect();
            let drift = |what| between.drift(what);
            compare_each(names, (last, now), between, &between.notes, compared, drift);
        }
    } else if !between.last.modules_of_boot.is_empty() {
        compare_boots(between, now, compared);
    }
}

fn compare_each(
    names: BTreeSet<&str>,
    (last, now): (&Modules, &Modules),
    between: &Between<'_>,
    notes: &Notes<'_>,
    compared: &mut Compared,
    drift: impl Fn(Drifted) -> Drift,
) {
    for name in names {
        let (before, module) = (last.get(name), now.get(name));
        let found = notes.find_module(name, before, module);
        let before = match &found {
            Found::Another(expected) => expected.as_ref(),
            _ => before,
        };
        let is_another = match (before, module) {
            (Some(before), Some(module)) => matches!(found, Found::Another(_)) || !can_be_same(before, module),
            // What is missing in a list that could not be read whole says nothing.
            (Some(_), None) => between.now.lists_all_modules(),
            (None, module) => module.is_some(),
        };
        if !is_another {
            continue;
        }
        if found == Found::Expected {
            compared.explained += 1;
            continue;
        }
        let name = name.to_owned();
        let what = match (before.cloned(), module.cloned()) {
            (before, Some(now)) => Drifted::ModuleLoaded { name, now, before, file: None },
            (Some(before), None) => Drifted::ModuleGone { name, before },
            (None, None) => continue,
        };
        compared.drifts.push(drift(what));
    }
}

/// Each boot has modules of its own. What was never there in the boot before, as far as looks and events tell, is worth a word; and what
/// went or was exchanged after its load in this boot was seen.
fn compare_boots(between: &Between<'_>, now: &Modules, compared: &mut Compared) {
    let (before, since) = between.notes.by_boot();
    let was_there = |name: &str| between.last.modules_of_boot.contains(name) || before.names().any(|it| it == name);
    let new = now.keys().map(String::as_str).filter(|name| !was_there(name));
    let names = new.chain(since.names()).collect();
    let drift = |what| between.drift_of_boot(what);
    compare_each(names, (&Modules::new(), now), between, &since, compared, drift);
}
