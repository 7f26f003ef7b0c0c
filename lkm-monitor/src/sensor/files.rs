//! Makes changes of files out of their events: one for each, and one for each file that is written, from its opening until the
//! last writer has closed it.
//!
//! Time is the events' own, as in [`super::join`]. Pure: no clock, no file.

use std::collections::{BTreeMap, HashMap, VecDeque};

use lkm_monitor_common::{
    limits::DESCRIBED,
    section::{FileOperation, file_change_flags},
};

use super::{
    assemble,
    decode::{Event, FileOperationSeen},
};
use crate::model::{Clock, FileAction, FileChange, FileFacts, Process, ProcessTree, Writing, file_change};

/// How long a file may stay open before its change is passed on unfinished, in nanoseconds.
const OPEN_WINDOW_NS: u64 = 10_000_000_000;

/// How long after an open is about to make a file it may be told that the file is opened for writing, in nanoseconds. Both are told
/// by one thread through one ring, and few instructions lie between.
const CREATION_WINDOW_NS: u64 = 200_000_000;
/// Files that are about to be made at one time.
const CREATIONS: usize = 1024;

/// Descriptions of processes that are kept for their further changes. The probes leave out one that they sent less than two
/// seconds ago, and remember no more than these.
const DESCRIPTIONS: usize = DESCRIBED as usize;

/// Flags of mount(2) that change a mount: `MS_REMOUNT`, `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`.
const NO_NEW_MOUNT: u32 = 1 << 5 | 0b1111 << 17;

/// What is told of one file at its close: one writing for each process that opened it, and for each name that it got since. A link
/// is told by itself, however many there are.
const MAX_WRITINGS: usize = 4;

/// Files that are being written, by the time of the event that told of the first writer. The probes bound their number.
#[derive(Debug, Default)]
pub struct Files {
    /// For each the processes that opened it, and the names that it got since.
    written: BTreeMap<u64, Vec<FileChange>>,
    /// Files that an open is about to make, oldest first.
    created: VecDeque<FileChange>,
    /// By process and its start, with the time of the event that brought the description.
    described: HashMap<(u32, u64), (u64, ProcessTree)>,
}

impl Files {
    /// Takes an event in and gives the changes that it completes.
    pub fn push(&mut self, event: Event, clock: Clock) -> Vec<FileChange> {
        let Some(seen) = event.change else { return Vec::new() };
        let event = self.described(event);
        let session = event.call_id;
        match seen.operation {
            FileOperation::Close => self.close(&event, seen),
            FileOperation::Open => self.open(&event, seen, clock).into_iter().collect(),
            FileOperation::Create => {
                self.created.push_back(FileChange { action: FileAction::Created, ..change(&event, seen) });
                if self.created.len() > CREATIONS { self.created.pop_front().into_iter().collect() } else { Vec::new() }
            }
            FileOperation::Mount if seen.call_flags & NO_NEW_MOUNT != 0 => Vec::new(),
            FileOperation::Mode | FileOperation::Owner | FileOperation::Times if self.is_being_written(&event) => {
                Vec::new()
            }
            _ => {
                let changes = named(&event, seen);
                if let Some(change) = changes.first().filter(|_| session != 0) {
                    self.follow_name(session, change, clock);
                }
                changes
            }
        }
    }

    /// Who has a file open writes it under the name that it gets, too. A renamed file keeps the name that it was opened by beside
    /// the new one: what is told of it must not depend on the last one alone.
    fn follow_name(&mut self, session: u64, change: &FileChange, clock: Clock) {
        let names = self.written.entry(session).or_default();
        let renamed = matches!(change.action, FileAction::Renamed | FileAction::Exchanged);
        // The mount of a rename can be another than that of the open, but a file with one name has no other to be renamed.
        let has_one_name = change.facts.as_ref().is_some_and(|facts| facts.links <= 1);
        let former = change.old_path.as_ref().map(|path| &path.absolute);
        let is_former = |written: &FileChange| has_one_name || former == Some(&written.path.absolute);
        let mut is_known = false;
        for written in names.iter_mut().filter(|written| renamed && is_former(written)) {
            let opened_by = std::mem::replace(&mut written.path, change.path.clone());
            written.old_path.get_or_insert(opened_by);
            is_known = true;
        }
        if !is_known && names.len() < MAX_WRITINGS {
            names.push(FileChange {
                action: FileAction::Written,
                facts_before: change.facts.clone(),
                just_changed: is_just_changed(change.facts.as_ref(), change.boot_ns, clock),
                writing: Writing::Open,
                old_path: None,
                ..change.clone()
            });
        }
    }

    /// The event with the description of its process, which it brings or an earlier one brought.
    fn described(&mut self, mut event: Event) -> Event {
        let key = (event.thread.pid, event.thread.start_boot_ns);
        if !event.processes.is_empty() {
            if self.described.len() >= DESCRIPTIONS && !self.described.contains_key(&key) {
                let oldest = self.described.iter().min_by_key(|(_, (boot_ns, _))| *boot_ns).map(|(&key, _)| key);
                oldest.map(|key| self.described.remove(&key));
            }
            self.described.insert(key, (event.boot_ns, assemble::tree(&event)));
        } else if let Some((_, tree)) = self.described.get(&key) {
            // What the event's head says is of now.
            let caller = Process { tid: event.thread.tid, ids: event.thread.ids, ..tree.caller.clone() };
            event.processes = [caller].into_iter().chain(tree.ancestors.iter().cloned()).collect();
            event.more_ancestors = tree.more_ancestors;
        }
        event
    }

    /// Whether this process is writing the file of which it changes the attributes: then these are part of the writing, and what
    /// they are in the end is told with it.
    fn is_being_written(&self, event: &Event) -> bool {
        let Some(facts) = facts(event) else { return false };
        self.written.values().flatten().any(|change| {
            let other = change.facts.as_ref().or(change.facts_before.as_ref());
            let caller = &change.process.caller;
            other.is_some_and(|other| {
                (other.inode, other.device_major, other.device_minor)
                    == (facts.inode, facts.device_major, facts.device_minor)
            }) && (caller.pid, caller.start_boot_ns) == (event.thread.pid, event.thread.start_boot_ns)
        })
    }

    fn open(&mut self, event: &Event, seen: FileOperationSeen, clock: Clock) -> Option<FileChange> {
        let session = event.call_id;
        let facts = facts(event);
        let just_changed = is_just_changed(facts.as_ref(), event.boot_ns, clock);
        if let Some(writings) = self.written.get_mut(&session) {
            let of_event = |written: &FileChange| {
                let caller = &written.process.caller;
                (caller.pid, caller.start_boot_ns) == (event.thread.pid, event.thread.start_boot_ns)
            };
            let is_known = writings.iter().any(of_event);
            if let Some(first) = writings.first_mut() {
                first.writers = first.writers.saturating_add(1);
            }
            if !is_known && writings.len() < MAX_WRITINGS {
                let writing = Writing::Open;
                writings.push(FileChange {
                    facts_before: facts,
                    just_changed,
                    writing,
                    writers: 1,
                    ..change(event, seen)
                });
            }
            return None;
        }
        let looks_new = facts.as_ref().is_some_and(|facts| file_change::is_new(facts, event.boot_ns, clock));
        let is_new = self.forget_creation(event) || looks_new;
        let change = FileChange {
            action: if is_new { FileAction::Created } else { FileAction::Written },
            facts_before: facts,
            just_changed,
            writing: if session == 0 { Writing::Unknown } else { Writing::Open },
            writers: 1,
            ..change(event, seen)
        };
        if session == 0 {
            return Some(change);
        }
        self.written.insert(session, vec![change]);
        None
    }

    /// What an open was about to make is being opened now: this is its event. Whether there was one.
    fn forget_creation(&mut self, event: &Event) -> bool {
        let Some(file) = &event.file else { return false };
        let of_event = |change: &FileChange| change.tid == event.thread.tid && change.path.seen == file.path.seen;
        let found = self.created.iter().position(of_event);
        found.and_then(|at| self.created.remove(at)).is_some()
    }

    fn close(&mut self, event: &Event, seen: FileOperationSeen) -> Vec<FileChange> {
        let mut names = self.written.remove(&event.call_id).unwrap_or_default();
        let gone = seen.flags & file_change_flags::GONE != 0;
        for change in &mut names {
            if let Some(facts) = facts(event).filter(|_| !gone) {
                change.facts = Some(FileFacts { path: change.path.clone(), ..facts });
            }
            change.writing = Writing::Closed;
            change.closed_boot_ns = Some(event.boot_ns);
        }
        names
    }

    /// Passes on what stays open too long. Everything that happened until `read_to_ns` has been pushed.
    pub fn expire(&mut self, read_to_ns: u64) -> Vec<FileChange> {
        let due = self
            .written
            .values_mut()
            .flatten()
            .filter(|change| change.told == 0 && change.boot_ns.saturating_add(OPEN_WINDOW_NS) <= read_to_ns);
        let due: Vec<_> = due.map(tell).collect();
        let over = |change: &FileChange| creation_deadline_ns(change) <= read_to_ns;
        let created = self.created.partition_point(over);
        self.created.drain(..created).chain(due).collect()
    }

    /// When [`Self::expire`] will next have something to pass on.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        let untold = self.written.values().flatten().filter(|change| change.told == 0);
        let open = untold.map(|change| change.boot_ns.saturating_add(OPEN_WINDOW_NS));
        open.chain(self.created.front().map(creation_deadline_ns)).min()
    }

    /// Passes on everything that was not told yet, at the end.
    pub fn drain(&mut self) -> Vec<FileChange> {
        let open = self.written.values_mut().flatten().filter(|change| change.told == 0).map(tell);
        self.created.drain(..).chain(open).collect()
    }

    /// Files that are being written.
    pub fn open_files(&self) -> usize {
        self.written.len()
    }
}

const fn creation_deadline_ns(change: &FileChange) -> u64 {
    change.boot_ns.saturating_add(CREATION_WINDOW_NS)
}

fn tell(change: &mut FileChange) -> FileChange {
    let told = change.clone();
    change.told += 1;
    told
}

/// The change of one name, or of two that were exchanged.
fn named(event: &Event, seen: FileOperationSeen) -> Vec<FileChange> {
    let change = change(event, seen);
    let action = match seen.operation {
        FileOperation::Rename if seen.call_flags != 0 => FileAction::Exchanged,
        FileOperation::Rename => FileAction::Renamed,
        FileOperation::Link => FileAction::Linked,
        FileOperation::Symlink => FileAction::Symlinked,
        FileOperation::Remove => FileAction::Removed,
        FileOperation::Mode => FileAction::ModeChanged,
        FileOperation::Owner => FileAction::OwnerChanged,
        FileOperation::Times => FileAction::TimesChanged,
        FileOperation::Size => FileAction::Truncated,
        FileOperation::Mount => FileAction::MountedOver,
        FileOperation::Node | FileOperation::Create | FileOperation::Open | FileOperation::Close => FileAction::Created,
    };
    let change = FileChange { action, ..change };
    let other = change.old_path.clone().filter(|_| action == FileAction::Exchanged).map(|old_path| FileChange {
        path: old_path,
        old_path: Some(change.path.clone()),
        facts: None,
        // One event, two documents: their ids must differ.
        boot_ns: change.boot_ns + 1,
        ..change.clone()
    });
    [change].into_iter().chain(other).collect()
}

/// What all changes have.
fn change(event: &Event, seen: FileOperationSeen) -> FileChange {
    FileChange {
        action: FileAction::Written,
        boot_ns: event.boot_ns,
        cpu: event.cpu,
        tid: event.thread.tid,
        path: event.file.as_ref().map(|file| file.path.clone()).unwrap_or_default(),
        old_path: event.old_path.clone(),
        link_target: event.link_target.clone(),
        facts: facts(event),
        facts_before: None,
        just_changed: false,
        ret: (seen.flags & file_change_flags::OUTCOME_UNKNOWN == 0).then_some(seen.ret),
        writing: Writing::None,
        closed_boot_ns: None,
        writers: 0,
        call_flags: seen.call_flags,
        process: assemble::tree(event),
        told: 0,
    }
}

/// The inode, where the event has one.
fn facts(event: &Event) -> Option<FileFacts> {
    event.file.clone().filter(|_| event.has_inode)
}

fn is_just_changed(facts: Option<&FileFacts>, boot_ns: u64, clock: Clock) -> bool {
    facts.is_some_and(|facts| file_change::is_just_changed(facts, boot_ns, clock))
}

#[cfg(test)]
mod tests;
