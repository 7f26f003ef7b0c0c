//! Files, and the places that they lie in.

use std::collections::BTreeSet;

use super::{Between, Compared};
use crate::{
    drift::seen::Found,
    model::{Drifted, FileSeen, HostState, PlaceSeen, PlaceSight},
};

/// What is made anew at each boot.
const VOLATILE: &str = "/run/";

pub(super) fn compare(between: &Between<'_>, same_boot: bool, compared: &mut Compared) {
    let (last, now) = (between.last, between.now);
    for (path, place) in &now.places {
        let Some(before) = last.places.get(path).filter(|before| is_another(before, place)) else { continue };
        if between.notes.explain_place(path) {
            compared.explained += 1;
            continue;
        }
        let what = Drifted::Place { path: path.clone(), before: before.clone(), now: place.clone() };
        compared.drifts.push(between.drift(what));
    }
    let paths: BTreeSet<&str> =
        last.files.keys().chain(now.files.keys()).map(String::as_str).chain(between.notes.paths()).collect();
    for path in paths {
        let (before, file) = (last.files.get(path), now.files.get(path));
        let found = between.notes.find_file(path, before, file);
        let (before, was_known) = match &found {
            Found::Another(expected) => (expected.as_deref(), true),
            _ => (before, is_missed(last, path)),
        };
        let is_another = match (before, file) {
            (Some(before), Some(file)) => matches!(found, Found::Another(_)) || is_changed(before, file),
            (Some(_), None) => is_missed(now, path) && (same_boot || !path.starts_with(VOLATILE)),
            // Of a place that is looked at for the first time nothing was known.
            (None, Some(_)) => was_known,
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
        let mut drift = between.drift(what);
        drift.perhaps_seen |= found == Found::Perhaps;
        compared.drifts.push(drift);
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

/// Whether a look would have shown the file at this path.
fn is_missed(state: &HostState, path: &str) -> bool {
    place_of(state, path).is_some_and(|place| place.sight.is_known())
}

/// Whether a place cannot be looked at as it was, or is another. That it is there or not shows in its files.
fn is_another(before: &PlaceSeen, now: &PlaceSeen) -> bool {
    let lost = before.sight.shows_files() && !now.sight.shows_files();
    let full = before.sight.is_known() && now.sight == PlaceSight::TooManyFiles;
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
