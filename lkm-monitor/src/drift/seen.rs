//! What was seen live since a look: it moves on what the next look is compared with.
//!
//! A note explains a difference only if it happened before the look and leads from what the last look saw to what this one sees, as far as
//! that is known: neither a change that came later, nor one of another content, nor an opening that changed nothing.

use serde::{Deserialize, Serialize};

use crate::model::{
    Content, ContentStatus, FileAction, FileReport, FileSeen, FileState, ModuleCall, Subject,
    text::{hex, text},
};

/// Notes that are kept, and bytes of their names and hashes.
const MAX_NOTES: usize = 4096;
const MAX_BYTES: usize = 1 << 20;
/// Notes of one file; then the oldest two become one.
const MAX_OF_ONE: usize = 8;
/// How long a load may be under way when the kernel lists its module.
const LOADING_NS: u64 = 10_000_000_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    files: Vec<FileNote>,
    modules: Vec<ModuleNote>,
    /// When the last one that there was no room for was over, in nanoseconds since boot; 0: there was room for all. With some missing,
    /// nothing can be explained.
    overflowed_ns: u64,
}

/// A change of a file, or of a folder and so of all files in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileNote {
    path: String,
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
    name: String,
    came: bool,
    /// Taints that it brought.
    taints: u64,
    boot_ns: u64,
}

/// A file at one moment, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    #[default]
    Unknown,
    Absent,
    File {
        sha256: Option<String>,
        target: Option<String>,
        /// Permission bits.
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// The value of a kernel setting.
    Value(String),
}

/// How much is known of the time from the last look to these notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// Somebody watched without a break, and it was before this look: notes of the run that looked last.
    Carried,
    /// Somebody watched without a break.
    Watched,
    /// Nobody watched for a while before the first of these notes.
    Broken,
}

/// Notes with their span, in the order of time; and when the look began and ended.
pub(super) struct Notes<'a> {
    pub(super) parts: [(&'a Seen, Span); 2],
    pub(super) look_ns: (u64, u64),
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
        let note = |path: &[u8], before, after| FileNote {
            path: text(path),
            is_folder: report.whole_folder,
            begun_ns: change.boot_ns,
            ended_ns,
            before,
            after,
        };
        let renamed = matches!(change.action, FileAction::Renamed | FileAction::Exchanged);
        if let Some(old) = change.old_path.as_ref().filter(|_| renamed) {
            let gone = change.action == FileAction::Renamed && !report.whole_folder;
            let (before, after) = if gone { (before_of_old(report), Version::Absent) } else { Default::default() };
            self.push_file(note(&old.absolute, before, after));
        }
        if report.whole_folder {
            self.push_file(note(path, Version::Unknown, Version::Unknown));
        } else if !report.has_left() {
            self.push_file(note(path, before(change.action, &report.content), after(change.action, &report.content)));
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
        for came in [came.then_some(true), went.then_some(false)].into_iter().flatten() {
            let note = ModuleNote { name: text(&name.bytes), came, taints, boot_ns: call.boot_ns };
            // A call that takes long is told more than once.
            if !self.modules.contains(&note) && self.has_room(note.name.len(), note.boot_ns) {
                self.modules.push(note);
            }
        }
        came || went
    }

    /// Leaves what was not over at this time, in nanoseconds since boot: what came before is part of the last look.
    pub fn leave_since(&mut self, boot_ns: u64) {
        self.files.retain(|note| note.ended_ns >= boot_ns);
        // The kernel lists a module a moment after the call that brought it began, and with another size while it begins to work.
        self.modules.retain(|note| note.boot_ns.saturating_add(LOADING_NS) >= boot_ns);
        if self.overflowed_ns < boot_ns {
            self.overflowed_ns = 0;
        }
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.modules.is_empty() && self.overflowed_ns == 0
    }

    fn push_file(&mut self, note: FileNote) {
        let of_it = self.files.iter().enumerate().filter(|(_, other)| other.path == note.path);
        let of_it: Vec<_> = of_it.map(|(place, _)| place).collect();
        if let [first, second, rest @ ..] = of_it.as_slice()
            && rest.len() + 2 >= MAX_OF_ONE
        {
            let FileNote { ended_ns, after, .. } = self.files.remove(*second);
            if let Some(first) = self.files.get_mut(*first) {
                (first.ended_ns, first.after) = (ended_ns, after);
            }
        }
        if self.has_room(note.bytes(), note.ended_ns) {
            self.files.push(note);
        }
    }

    /// Whether there is room for a note of so many bytes.
    fn has_room(&mut self, bytes: usize, ended_ns: u64) -> bool {
        let held = self.files.iter().map(FileNote::bytes).chain(self.modules.iter().map(|note| note.name.len()));
        let number = self.files.len() + self.modules.len();
        let has_room = number < MAX_NOTES && held.sum::<usize>() + bytes <= MAX_BYTES;
        if !has_room {
            self.overflowed_ns = self.overflowed_ns.max(ended_ns);
        }
        has_room
    }
}

impl Notes<'_> {
    /// Whether there was more to see than was kept.
    pub(super) fn are_cut(&self) -> bool {
        self.parts.iter().any(|(seen, _)| seen.overflowed_ns > 0)
    }

    /// Whether what is there now at `path` came of what was there before by what was seen.
    pub(super) fn explain_file(&self, path: &str, before: Option<&FileSeen>, now: Option<&FileSeen>) -> bool {
        self.explain(path, Version::of(before), &Version::of(now))
    }

    /// The same of a kernel setting and its value.
    pub(super) fn explain_setting(&self, path: &str, before: &str, now: &str) -> bool {
        self.explain(path, Version::Value(before.to_owned()), &Version::Value(now.to_owned()))
    }

    fn explain(&self, path: &str, before: Version, now: &Version) -> bool {
        let mut current = before;
        let mut could_be = Vec::new();
        let mut any = false;
        for (note, span) in self.files().filter(|(note, _)| note.concerns(path)) {
            let leads_on = match (span, &note.before) {
                (Span::Carried | Span::Watched, _) => true,
                // What happened while nobody watched may be in it.
                (Span::Broken, Version::Unknown) => false,
                (Span::Broken, before) => before.agrees(&current),
            };
            if !leads_on {
                continue;
            }
            any = true;
            if span != Span::Carried && note.ended_ns >= self.look_ns.0 {
                // The look may have come before it; or while a writer was at it, who may have left anything there.
                could_be.push(if note.ended_ns > note.begun_ns { Version::Unknown } else { current.clone() });
            }
            current = if note.path == path { note.after.clone() } else { Version::Unknown };
        }
        could_be.push(current);
        any && !self.are_cut() && could_be.iter().any(|version| version.agrees(now))
    }

    /// Whether something was seen to happen at this place as a whole.
    pub(super) fn explain_place(&self, path: &str) -> bool {
        !self.are_cut() && self.files().any(|(note, _)| note.is_folder && note.concerns(path))
    }

    /// Whether a module of this name was seen to come, or to go.
    pub(super) fn explain_module(&self, name: &str, came: bool) -> bool {
        let notes = self.parts.iter().flat_map(|(seen, span)| seen.modules.iter().map(move |note| (note, *span)));
        let mut in_time = notes.filter(|(note, span)| *span == Span::Carried || note.boot_ns <= self.look_ns.1);
        !self.are_cut() && in_time.any(|(note, _)| note.name == name && note.came == came)
    }

    /// The taints that modules brought which were seen to come before the look began.
    pub(super) fn taints(&self) -> u64 {
        let before = |note: &&ModuleNote, span: Span| span == Span::Carried || note.boot_ns < self.look_ns.0;
        let of = |(seen, span): &(&Seen, Span)| {
            let in_time = seen.modules.iter().filter(|note| before(note, *span));
            in_time.fold(0, |taints, note| taints | note.taints)
        };
        self.parts.iter().map(of).fold(0, |taints, more| taints | more)
    }

    /// Those that happened before the look had ended.
    fn files(&self) -> impl Iterator<Item = (&FileNote, Span)> {
        let notes = self.parts.iter().flat_map(|(seen, span)| seen.files.iter().map(move |note| (note, *span)));
        notes.filter(|(note, span)| *span == Span::Carried || note.begun_ns <= self.look_ns.1)
    }
}

impl FileNote {
    fn bytes(&self) -> usize {
        let of = |version: &Version| match version {
            Version::Unknown | Version::Absent => 0,
            Version::Value(value) => value.len(),
            Version::File { sha256, target, .. } => {
                sha256.as_ref().map_or(0, String::len) + target.as_ref().map_or(0, String::len)
            }
        };
        self.path.len() + of(&self.before) + of(&self.after)
    }

    fn concerns(&self, path: &str) -> bool {
        let below = || path.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        self.path == path || (self.is_folder && below())
    }
}

impl Version {
    fn of(seen: Option<&FileSeen>) -> Self {
        seen.map_or(Self::Absent, |seen| Self::File {
            sha256: seen.sha256.clone(),
            target: seen.target.as_ref().map(|target| target.says.clone()),
            mode: seen.mode & 0o7777,
            uid: seen.uid,
            gid: seen.gid,
        })
    }

    fn of_state(state: &FileState) -> Self {
        Self::File {
            sha256: state.sha256.map(|hash| hex(&hash)),
            target: state.link_target.as_ref().map(|target| text(target)),
            mode: state.mode & 0o7777,
            uid: state.uid,
            gid: state.gid,
        }
    }

    /// Whether both can be the same.
    fn agrees(&self, other: &Self) -> bool {
        let alike = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) | (Self::Absent, Self::Absent) => true,
            (
                Self::File { sha256, target, mode, uid, gid },
                Self::File { sha256: sha256_2, target: target_2, mode: mode_2, uid: uid_2, gid: gid_2 },
            ) => {
                alike(sha256, sha256_2)
                    && alike(target, target_2)
                    && (mode, uid, gid) == (mode_2, uid_2, gid_2)
                    // A link is no file of the same mode.
                    && (target.is_some() == target_2.is_some() || sha256.is_none() && sha256_2.is_none())
            }
            (Self::Value(one), Self::Value(other)) => one == other,
            _ => false,
        }
    }
}

fn before(action: FileAction, content: &Content) -> Version {
    match (&content.before, &content.value_before) {
        (_, Some(value)) => Version::Value(text(value)),
        (Some(state), None) => Version::of_state(state),
        // These fail where something has the name.
        (None, None) if matches!(action, FileAction::Created | FileAction::Linked | FileAction::Symlinked) => {
            Version::Absent
        }
        (None, None) => Version::Unknown,
    }
}

/// Of a file that left its watched name: what was kept under that name.
fn before_of_old(report: &FileReport) -> Version {
    if report.has_left() { before(report.change.action, &report.content) } else { Version::Unknown }
}

fn after(action: FileAction, content: &Content) -> Version {
    if let Some(value) = &content.value {
        return Version::Value(text(value));
    }
    match (content.status, &content.after) {
        _ if action == FileAction::Removed => Version::Absent,
        // Of the very file of the event, and whole.
        (ContentStatus::Read, Some(state)) => Version::of_state(state),
        _ => Version::Unknown,
    }
}

#[cfg(test)]
mod tests;
