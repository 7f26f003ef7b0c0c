//! What the notes lead to: what a look should find where nothing happened that nobody saw.

use super::{
    EFFECT_NS, FileNote, ModuleNote, Seen,
    version::{Loaded, Version, can_be_same, can_be_told},
};
use crate::model::{FileSeen, ModuleSeen};

/// How long a load, or an unload, may be under way when the kernel's list is read.
const UNDER_WAY_NS: u64 = 10_000_000_000;

/// The notes of one run, after the last look or after the notes of the run before it.
#[derive(Clone, Copy, Debug)]
pub(in crate::drift) struct Part<'a> {
    pub(in crate::drift) seen: &'a Seen,
    /// Nobody watched for a while before the first of them.
    pub(in crate::drift) after_break: bool,
    /// All of them are of a run that is over, and so of a time before this look; of another boot even.
    pub(in crate::drift) is_past: bool,
}

/// Notes in the order of time; and when the look began and ended, in nanoseconds since boot.
pub(in crate::drift) struct Notes<'a> {
    pub(in crate::drift) parts: Vec<Part<'a>>,
    pub(in crate::drift) look_ns: (u64, u64),
}

/// What is found, held against what the notes lead to.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::drift) enum Found<T> {
    /// No note is of it: what the last look saw is what should be there.
    Unnoted,
    Expected,
    /// It may be what an event told of, and it may have become so while nobody watched.
    Perhaps,
    /// It is another than this.
    Another(T),
}

impl Notes<'_> {
    /// Whether there was more to see than was kept.
    pub(in crate::drift) fn are_cut(&self) -> bool {
        self.parts.iter().any(|part| part.seen.overflowed_ns > 0)
    }

    /// Those of runs that are over, and those of this one.
    pub(in crate::drift) fn by_boot(&self) -> (Notes<'_>, Notes<'_>) {
        let of = |is_past| Notes {
            parts: self.parts.iter().filter(|part| part.is_past == is_past).copied().collect(),
            look_ns: self.look_ns,
        };
        (of(true), of(false))
    }

    /// Paths of files and settings that notes are of.
    pub(in crate::drift) fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.seen.files.keys().map(String::as_str))
    }

    /// Names of modules that notes are of.
    pub(in crate::drift) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.seen.modules.keys().map(String::as_str))
    }

    /// The file at `path`, by what the last look saw there and what is there now.
    pub(in crate::drift) fn find_file(
        &self,
        path: &str,
        before: Option<&FileSeen>,
        now: Option<&FileSeen>,
    ) -> Found<Option<Box<FileSeen>>> {
        match self.find(path, Version::of(before), &Version::of(now)) {
            Found::Another(expected) => Found::Another(expected.into_file()),
            Found::Unnoted => Found::Unnoted,
            Found::Expected => Found::Expected,
            Found::Perhaps => Found::Perhaps,
        }
    }

    /// The same of a kernel setting and its value.
    pub(in crate::drift) fn find_setting(&self, path: &str, before: &str, now: &str) -> Found<String> {
        match self.find(path, Version::Value(before.to_owned()), &Version::Value(now.to_owned())) {
            Found::Another(Version::Value(expected)) => Found::Another(expected),
            Found::Another(_) | Found::Unnoted => Found::Unnoted,
            Found::Expected => Found::Expected,
            Found::Perhaps => Found::Perhaps,
        }
    }

    fn find(&self, path: &str, before: Version, now: &Version) -> Found<Version> {
        let mut current = before;
        let mut could_be = Vec::new();
        // Whether nobody watched for a while since it was what it is expected to be.
        let mut is_open = false;
        let mut any = false;
        for part in &self.parts {
            is_open |= part.after_break;
            for (of, note) in part.seen.notes_of(path) {
                if !part.is_past && note.begun_ns > self.look_ns.1 {
                    continue;
                }
                // What happened while nobody watched may be in it.
                if is_open && !note.before.is(&current) {
                    continue;
                }
                is_open = false;
                any = true;
                if !part.is_past && note.ended_ns.saturating_add(EFFECT_NS) >= self.look_ns.0 {
                    // The look may have come before it; or while a writer was at it, who may have left anything there.
                    could_be.push(if note.ended_ns > note.begun_ns { Version::Unknown } else { current.clone() });
                }
                current = if of == path { note.after.clone() } else { Version::Unknown };
            }
        }
        if !any || self.are_cut() {
            return Found::Unnoted;
        }
        could_be.push(current.clone());
        if could_be.iter().any(|version| if is_open { version.is(now) } else { version.agrees(now) }) {
            return Found::Expected;
        }
        if could_be.iter().any(|version| version.agrees(now)) { Found::Perhaps } else { Found::Another(current) }
    }

    /// This place, where something may have been seen to happen to it as a whole: what that left is not known.
    pub(in crate::drift) fn find_place(&self, path: &str) -> Found<()> {
        let is_seen = |part: &Part<'_>| {
            let mut notes = part.seen.notes_of(path);
            notes.any(|(_, note)| note.is_folder && (part.is_past || note.begun_ns <= self.look_ns.1))
        };
        let since_break = self.parts.iter().rposition(|part| part.after_break).unwrap_or_default();
        let (before, since) = self.parts.split_at(since_break);
        match () {
            () if self.are_cut() => Found::Unnoted,
            () if since.iter().any(is_seen) => Found::Expected,
            () if before.iter().any(is_seen) => Found::Perhaps,
            () => Found::Unnoted,
        }
    }

    /// The module of this name, by what the last look saw of it and what is there now.
    pub(in crate::drift) fn find_module(
        &self,
        name: &str,
        before: Option<&ModuleSeen>,
        now: Option<&ModuleSeen>,
    ) -> Found<Loaded> {
        let agree = |expected: &Loaded, is_told: bool| match (expected, now) {
            (Some(expected), Some(now)) if is_told => can_be_told(expected, now),
            (Some(expected), Some(now)) => can_be_same(expected, now),
            (None, None) => true,
            _ => false,
        };
        let mut current = (before.cloned(), false);
        let mut could_be = Vec::new();
        let mut any = false;
        for part in &self.parts {
            for note in part.seen.modules.get(name).into_iter().flatten() {
                if !part.is_past && note.boot_ns > self.look_ns.1 {
                    continue;
                }
                any = true;
                if !part.is_past && note.boot_ns.saturating_add(UNDER_WAY_NS) >= self.look_ns.0 {
                    could_be.push(current.clone());
                }
                current = (note.loaded.clone(), true);
            }
        }
        if !any || self.are_cut() {
            return Found::Unnoted;
        }
        could_be.push(current.clone());
        let is_expected = could_be.iter().any(|(expected, is_told)| agree(expected, *is_told));
        if is_expected { Found::Expected } else { Found::Another(current.0) }
    }

    /// The taints that modules brought whose load was over before the look began.
    pub(in crate::drift) fn taints(&self) -> u64 {
        let of = |part: &Part<'_>| {
            let notes = part.seen.modules.values().flatten();
            let in_time = |note: &&ModuleNote| part.is_past || note.ended_ns.is_some_and(|at| at < self.look_ns.0);
            notes.filter(in_time).fold(0, |taints, note| taints | note.taints)
        };
        self.parts.iter().map(of).fold(0, |taints, more| taints | more)
    }
}

impl Seen {
    /// What was noted of this path, and of folders above it as a whole, in the order of time; with the path that it was noted of.
    fn notes_of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, &'a FileNote)> {
        let above = path.rmatch_indices('/').filter_map(|(at, _)| path.get(..at)).filter(|above| !above.is_empty());
        let all = |of: &'a str| self.files.get(of).into_iter().flatten().map(move |note| (of, note));
        let of_folders = above.flat_map(all).filter(|(_, note)| note.is_folder);
        let mut notes: Vec<_> = all(path).chain(of_folders).collect();
        notes.sort_by_key(|(_, note)| (note.ended_ns, note.number));
        notes.into_iter()
    }
}
