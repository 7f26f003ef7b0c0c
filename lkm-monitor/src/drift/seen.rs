//! What was seen live since a look: it moves on what the next look is compared with.
//!
//! A note explains a difference only if it happened before the look and leads from what the last look saw to what this one sees, as far as
//! that is known: neither a change that came later, nor one of another content, nor an opening that changed nothing.

mod notes;
mod version;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::version::{Loaded, Version};
pub(super) use self::{
    notes::{Found, Notes, Part},
    version::can_be_same,
};
use crate::model::{FileAction, FileReport, ModuleCall, ModuleSeen, Subject, taint, text::text};

/// Notes that are kept, and bytes of their names and of what they say.
const MAX_NOTES: usize = 4096;
const MAX_BYTES: usize = 2 << 20;
/// Notes of one file, and of one module; then the oldest two become one.
const MAX_OF_ONE: usize = 8;
/// A change is reported a moment before it has its effect: a look within that time of it may have come before it.
const EFFECT_NS: u64 = 1_000_000_000;
/// modpost writes 23 digits (scripts/mod/sumversion.c).
pub(super) const MAX_SRCVERSION_BYTES: usize = 64;
/// How long a load may be under way when the kernel lists its module.
const LOADING_NS: u64 = 10_000_000_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// By path, in the order in which they were over: who looks at a file may be done with a later change first.
    files: BTreeMap<String, Vec<FileNote>>,
    /// By name, in the order of time.
    modules: BTreeMap<String, Vec<ModuleNote>>,
    /// Of the next one.
    number: u64,
    held: Held,
    /// When the last one that there was no room for was over, in nanoseconds since boot; 0: there was room for all. With some missing,
    /// nothing can be explained.
    overflowed_ns: u64,
}

/// What is held, so that nobody has to count it for each note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Held {
    notes: usize,
    bytes: usize,
}

/// A change of a file, or of a folder and so of all files in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileNote {
    /// Its place among all notes of files.
    number: u64,
    is_folder: bool,
    /// Nanoseconds since boot at which it began and at which it was over.
    begun_ns: u64,
    ended_ns: u64,
    before: Version,
    after: Version,
}

/// A module came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ModuleNote {
    /// What it was then; `None` where it went.
    loaded: Loaded,
    /// Taints that were brought by it, and by those of notes that became one with this.
    taints: u64,
    /// When the call began, and when it returned, where that was seen.
    boot_ns: u64,
    ended_ns: Option<u64>,
}

impl Seen {
    /// Notes a change of a file of the host, if it had an effect. Of module files there is no look: everybody can make them, anywhere.
    /// Whether there is something to remember.
    pub fn note_file(&mut self, report: &FileReport) -> bool {
        let change = &report.change;
        if report.is_without_effect() || !report.of_host || report.subject == Subject::Module {
            return false;
        }
        let path = report.content.resolved_path.as_ref().unwrap_or(&change.path.absolute);
        let ended_ns = change.closed_boot_ns.unwrap_or(change.boot_ns).max(change.boot_ns);
        let note = |before, after| FileNote {
            number: 0,
            is_folder: report.whole_folder,
            begun_ns: change.boot_ns,
            ended_ns,
            before,
            after,
        };
        let renamed = matches!(change.action, FileAction::Renamed | FileAction::Exchanged);
        if let Some(old) = change.old_path.as_ref().filter(|_| renamed) {
            let gone = change.action == FileAction::Renamed && !report.whole_folder;
            // Of a file that left its watched name: what was kept under that name.
            let before = if gone && report.has_left() { Version::before(report) } else { Version::Unknown };
            let after = if gone { Version::Absent } else { Version::Unknown };
            self.push_file(text(&old.absolute), note(before, after));
        }
        if report.whole_folder {
            self.push_file(text(path), note(Version::Unknown, Version::Unknown));
        } else if !report.has_left() {
            self.push_file(text(path), note(Version::before(report), Version::after(report)));
        }
        true
    }

    /// Notes a call, if a module came or went by it. Whether there is something to remember.
    pub fn note_call(&mut self, call: &ModuleCall) -> bool {
        let Some(name) = call.name() else { return false };
        let is_load = call.operation.is_load();
        // One that failed in its init function came, was in the list for a moment, and went.
        let came = is_load && call.stage.init_ran() == Some(true);
        let went = call.freed || (!is_load && call.succeeded() == Some(true));
        let taints = call.module.taints.filter(|_| is_load).unwrap_or_default();
        let loaded = ModuleSeen {
            taints: taint::letters(taints),
            srcversion: call.module.srcversion.as_ref().filter(|it| !it.truncated).and_then(|it| srcversion(&it.bytes)),
            ..ModuleSeen::default()
        };
        for loaded in [came.then_some(Some(loaded)), went.then_some(None)].into_iter().flatten() {
            let ended_ns = call.outcome.map(|outcome| outcome.boot_ns);
            self.push_module(text(&name.bytes), ModuleNote { loaded, taints, boot_ns: call.boot_ns, ended_ns });
        }
        came || went
    }

    /// Whether what one of these left is not known whole: who looks soon knows it again.
    pub fn is_unclear(&self) -> bool {
        let unclear = |notes: &Vec<FileNote>| notes.last().is_some_and(|note| !note.after.is_whole());
        self.overflowed_ns > 0 || !self.modules.is_empty() || self.files.values().any(unclear)
    }

    /// Leaves what was not over at this time, in nanoseconds since boot: what came before is part of the last look.
    pub fn leave_since(&mut self, boot_ns: u64) {
        self.files
            .values_mut()
            .for_each(|notes| notes.retain(|note| note.ended_ns.saturating_add(EFFECT_NS) >= boot_ns));
        self.files.retain(|_, notes| !notes.is_empty());
        // The kernel lists a module a moment after the call that brought it began, and with another size while it begins to work.
        let is_late = |note: &ModuleNote| note.boot_ns.saturating_add(LOADING_NS) >= boot_ns;
        self.modules.values_mut().for_each(|notes| notes.retain(is_late));
        self.modules.retain(|_, notes| !notes.is_empty());
        if self.overflowed_ns < boot_ns {
            self.overflowed_ns = 0;
        }
        let files = self.files.iter().flat_map(|(path, notes)| notes.iter().map(|note| note.bytes(path)));
        let modules = self.modules.iter().flat_map(|(name, notes)| notes.iter().map(|note| note.bytes(name)));
        self.held = files
            .chain(modules)
            .fold(Held::default(), |Held { notes, bytes }, more| Held { notes: notes + 1, bytes: bytes + more });
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.modules.is_empty() && self.overflowed_ns == 0
    }

    fn push_file(&mut self, path: String, mut note: FileNote) {
        note.number = self.number;
        self.number += 1;
        if !self.has_room(note.bytes(&path), note.ended_ns) {
            return;
        }
        let bytes_before = |notes: &[FileNote]| notes.iter().map(|note| note.bytes(&path)).sum::<usize>();
        let of_it = self.files.entry(path.clone()).or_default();
        let before = bytes_before(of_it);
        if of_it.len() >= MAX_OF_ONE {
            let FileNote { ended_ns, after, .. } = of_it.remove(1);
            if let Some(first) = of_it.first_mut() {
                (first.ended_ns, first.after) = (ended_ns, after);
            }
            self.held.notes = self.held.notes.saturating_sub(1);
        }
        let at = of_it.partition_point(|other| other.ended_ns <= note.ended_ns);
        of_it.insert(at, note);
        self.held.notes += 1;
        self.held.bytes = (self.held.bytes + bytes_before(of_it)).saturating_sub(before);
    }

    fn push_module(&mut self, name: String, note: ModuleNote) {
        // A call that takes long is told more than once; the last time it has returned.
        let is_it = |other: &&mut ModuleNote| {
            other.boot_ns == note.boot_ns && other.loaded == note.loaded && other.taints == note.taints
        };
        if let Some(known) = self.modules.get_mut(&name).and_then(|notes| notes.iter_mut().find(is_it)) {
            known.ended_ns = note.ended_ns.or(known.ended_ns);
            return;
        }
        let bytes = note.bytes(&name);
        if !self.has_room(bytes, note.ended_ns.unwrap_or(note.boot_ns)) {
            return;
        }
        let of_it = self.modules.entry(name.clone()).or_default();
        if of_it.len() >= MAX_OF_ONE {
            let second = of_it.remove(1);
            let bytes = second.bytes(&name);
            if let Some(first) = of_it.first_mut() {
                let removed = first.bytes(&name);
                *first = ModuleNote { taints: first.taints | second.taints, ..second };
                self.held.bytes = (self.held.bytes + first.bytes(&name)).saturating_sub(removed);
            }
            self.held = Held { notes: self.held.notes.saturating_sub(1), bytes: self.held.bytes.saturating_sub(bytes) };
        }
        let at = of_it.partition_point(|other| other.boot_ns <= note.boot_ns);
        of_it.insert(at, note);
        self.held = Held { notes: self.held.notes + 1, bytes: self.held.bytes + bytes };
    }

    /// Whether there is room for a note of so many bytes.
    const fn has_room(&mut self, bytes: usize, ended_ns: u64) -> bool {
        let has_room = self.held.notes < MAX_NOTES && self.held.bytes + bytes <= MAX_BYTES;
        if !has_room && ended_ns > self.overflowed_ns {
            self.overflowed_ns = ended_ns;
        }
        has_room
    }
}

/// As /sys/module shows it; none of one that no compiler of modules makes so long.
pub(super) fn srcversion(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.trim_ascii();
    (!bytes.is_empty() && bytes.len() <= MAX_SRCVERSION_BYTES).then(|| text(bytes))
}

impl FileNote {
    fn bytes(&self, path: &str) -> usize {
        path.len() + self.before.bytes() + self.after.bytes()
    }
}

impl ModuleNote {
    fn bytes(&self, name: &str) -> usize {
        let srcversion = self.loaded.as_ref().and_then(|module| module.srcversion.as_ref());
        name.len() + srcversion.map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests;
