//! Files, and the places that they lie in.

use std::collections::BTreeSet;

use super::{Between, Compared};
use crate::{
    drift::{
        look::{plain_path, stands_for},
        seen::Found,
    },
    model::{Drift, Drifted, FileSeen, HostState, PlaceSeen, PlaceSight},
    select::Selection,
};

/// What is made anew at each boot.
const VOLATILE: &str = "/run/";
/// On record of a file, besides its path and where it leads; and of all files that are kept although they cannot be looked at.
const FILE_BYTES: usize = 400;
const MAX_FILES_BYTES: usize = 10 << 20;

pub(super) fn compare(between: &Between<'_>, same_boot: bool, compared: &mut Compared) {
    let (last, now) = (between.last, between.now);
    for (path, place) in &now.places {
        let Some(before) = last.places.get(path) else { continue };
        // Without the kernel's list nobody knows what is in it; a place that is gone shows in its files.
        let list_is_gone = path == HostState::MODULES && before.sight != place.sight && place.sight == PlaceSight::Gone;
        if !list_is_gone && !is_another(before, place) {
            continue;
        }
        let found = between.notes.find_place(path);
        if found == Found::Expected {
            compared.explained += 1;
            continue;
        }
        let what = Drifted::Place { path: path.clone(), before: before.clone(), now: place.clone() };
        compared.add_file(between.drift(what), found == Found::Perhaps);
    }
    let paths: BTreeSet<&str> =
        last.files.keys().chain(now.files.keys()).map(String::as_str).chain(between.notes.paths()).collect();
    let selections = Selections::of(last, now);
    for path in paths {
        let (before, file) = (last.files.get(path), now.files.get(path));
        let found = between.notes.find_file(path, before, file);
        let (before, was_known) = match &found {
            Found::Another(expected) => (expected.as_deref(), true),
            _ => (before, is_missed(last, path)),
        };
        let is_another = match (before, file) {
            (Some(before), Some(file)) => matches!(found, Found::Another(_)) || is_changed(before, file),
            (Some(_), None) => {
                is_missed(now, path) && selections.have(path) && (same_boot || !path.starts_with(VOLATILE))
            }
            // Of a place that is looked at for the first time nothing was known.
            (None, Some(_)) => was_known && selections.had(path),
            (None, None) => false,
        };
        if !is_another {
            continue;
        }
        if found == Found::Expected {
            compared.explained += 1;
            continue;
        }
        let what = Drifted::File { path: path.to_owned(), before: boxed(before), now: boxed(file) };
        compared.add_file(between.drift(what), found == Found::Perhaps);
    }
}

impl Compared {
    fn add_file(&mut self, mut drift: Drift, perhaps_seen: bool) {
        drift.perhaps_seen |= perhaps_seen;
        self.drifts.push(drift);
    }
}

/// What was known of a place that cannot be looked at stays what it is compared with, as far as there is room for it: who has names come
/// and go in a place that is full must not fill the record.
pub(super) fn settle(last: &HostState, now: &mut HostState) {
    let bytes = |path: &str, file: &FileSeen| {
        path.len() + file.target.as_ref().map_or(0, |target| target.says.len()) + FILE_BYTES
    };
    for (path, place) in now.places.iter_mut().filter(|(_, place)| !place.sight.is_known()) {
        place.was_known = last.places.get(path).is_some_and(|place| place.sight.is_known() || place.was_known);
    }
    let mut left = MAX_FILES_BYTES;
    left = left.saturating_sub(now.files.iter().map(|(path, file)| bytes(path, file)).sum());
    for (path, seen) in last.files.iter() {
        let is_kept = place_of(now, path).is_some_and(|place| !place.sight.is_known());
        if !is_kept || now.files.contains_key(path) {
            continue;
        }
        match left.checked_sub(bytes(path, seen)) {
            Some(rest) => {
                left = rest;
                now.files.insert(path.clone(), seen.clone());
            }
            None => {
                if let Some(place) = place_of_mut(now, path) {
                    place.was_known = false;
                }
            }
        }
    }
}

fn boxed(file: Option<&FileSeen>) -> Option<Box<FileSeen>> {
    file.cloned().map(Box::new)
}

/// The place that a file lies in, or is.
pub(super) fn place_of<'a>(state: &'a HostState, path: &str) -> Option<&'a PlaceSeen> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    state.places.get(path).or_else(|| state.places.get(folder))
}

fn place_of_mut<'a>(state: &'a mut HostState, path: &str) -> Option<&'a mut PlaceSeen> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let key = if state.places.contains_key(path) { path } else { folder };
    state.places.get_mut(key)
}

/// Whether a look would have shown the file at this path, or what earlier ones showed is kept. A place that one of the patterns would have
/// found is one where nothing was.
fn is_missed(state: &HostState, path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let was_none = || state.patterns.iter().any(|pattern| stands_for(pattern, path) || stands_for(pattern, folder));
    place_of(state, path).map_or_else(was_none, |place| place.sight.is_known() || place.was_known)
}

/// Which files were looked at, and which are now; `None` where the settings are the same.
struct Selections(Option<[Selection; 2]>);

impl Selections {
    fn of(last: &HostState, now: &HostState) -> Self {
        let are_others = last.selected != now.selected;
        Self(are_others.then(|| [&last.selected, &now.selected].map(Selection::new)))
    }

    fn had(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|[before, _]| has(before, path))
    }

    fn have(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|[_, now]| has(now, path))
    }
}

fn has(selection: &Selection, path: &str) -> bool {
    plain_path(path).is_none_or(|path| selection.has(path.as_os_str().as_encoded_bytes()))
}

/// Whether a place cannot be looked at as it was, or is another. That it is there or not shows in its files.
fn is_another(before: &PlaceSeen, now: &PlaceSeen) -> bool {
    let lost = before.sight.shows_files() && !now.sight.shows_files();
    let full = before.sight.is_known() && now.sight.is_partial();
    let are_there = before.sight.shows_files()
        && now.sight.shows_files()
        && [before, now].iter().all(|place| place.sight != PlaceSight::Gone);
    lost || full || (are_there && (before.leads_to != now.leads_to || before.mount_point != now.mount_point))
}

fn is_changed(before: &FileSeen, now: &FileSeen) -> bool {
    let content = match (&before.sha256, &now.sha256) {
        (Some(before), Some(now)) => before != now,
        // Where it was not read, its inode has to do.
        _ => {
            let of = |file: &FileSeen| (file.inode, file.size, file.modified_ns, file.changed_ns);
            before.target.is_none() && now.target.is_none() && of(before) != of(now)
        }
    };
    let attributes = |file: &FileSeen| (file.mode, file.uid, file.gid);
    content || attributes(before) != attributes(now) || before.target != now.target
}
