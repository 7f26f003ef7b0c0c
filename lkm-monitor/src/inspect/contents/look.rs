//! One look at a file, and what is remembered of it.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
    thread,
    time::Duration,
};

use super::{
    SubjectOf,
    compare::{Versions, compare, tell_unsearched},
    kept::{Kept, Version},
    modules::Modules,
    place,
    read::{Found, Wanted, examine},
    tree::{Miss, Tree},
};
use crate::model::{Content, ContentStatus, FileAction, FileState, Look, Subject, Writing};

/// Files of a folder that are read before anything changes.
const MAX_FOLDER_FILES: usize = 4096;

/// What all who look share. It is locked for moments in which no file is touched, so who is stuck in a file does not hold it.
pub(super) struct Memory {
    subject: RwLock<SubjectOf>,
    kept: Mutex<Kept>,
}

impl Memory {
    pub(super) fn new(subject: SubjectOf) -> Self {
        Self { subject: RwLock::new(subject), kept: Mutex::default() }
    }

    /// From now on this is watched.
    pub(super) fn watch(&self, subject: SubjectOf) {
        *self.subject.write().unwrap_or_else(PoisonError::into_inner) = subject;
    }

    /// What the host's file with this path is, if it is watched.
    pub(super) fn subject_of(&self, path: &[u8]) -> Option<Subject> {
        (self.subject.read().unwrap_or_else(PoisonError::into_inner))(path)
    }

    /// Whether versions of the host's file with this path are kept. Modules are not: everybody can make them, anywhere, and
    /// there are thousands.
    pub(super) fn keeps(&self, path: &[u8]) -> bool {
        self.subject_of(path).is_some_and(|subject| subject != Subject::Module)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing in it is half done when a holder panics.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers those of the files that are something as they are now.
    pub(super) fn remember(
        &self,
        folders: &[PathBuf],
        files: &[PathBuf],
        subject_of: impl Fn(&[u8]) -> Option<Subject>,
    ) {
        let Ok(host) = Tree::host() else { return };
        let remember = |path: &[u8]| {
            if let Some(subject) = subject_of(path).filter(|subject| *subject != Subject::Module) {
                self.remember_file(&host, path, subject);
            }
        };
        for file in files {
            remember(file.as_os_str().as_bytes());
        }
        for folder in folders {
            let path = folder.as_os_str().as_bytes();
            // A folder that is not there, or is a link to one that is watched too, has nothing to remember.
            let Ok(opened) = host.open(path) else { continue };
            for name in opened.names(MAX_FOLDER_FILES).unwrap_or_default() {
                remember(folder.join(OsStr::from_bytes(&name)).as_os_str().as_bytes());
            }
        }
    }

    fn remember_file(&self, host: &Tree, path: &[u8], subject: Subject) {
        let Ok(opened) = host.open(path) else { return };
        let found = examine(&opened, Wanted { text: subject.is_text(), ..Wanted::default() });
        self.kept().set(path, found.state.map(|state| Version { state, text: found.text }));
    }
}

/// What was found for a change.
struct Seen {
    /// The paths that the host has for the file, and for the name that it had.
    path: Option<Vec<u8>>,
    old_path: Option<Vec<u8>>,
    found: Result<Found, Miss>,
}

/// How long the name cache may take to follow a change, with much room.
const NAME_CACHE_DELAY: Duration = Duration::from_millis(30);

/// Looks, and says what is another than before.
pub(super) fn look(memory: &Memory, modules: &mut Modules, look: &Look) -> Content {
    let mut seen = see(memory, look);
    if look.of_load {
        // It is of no interest what the file was before, and nothing is to be remembered.
        let found = seen.found.unwrap_or_else(|miss| Found { status: status(miss), ..Found::default() });
        return Content { status: found.status, after: found.state, ..Content::default() };
    }
    if is_too_early(look, &seen) {
        thread::sleep(NAME_CACHE_DELAY);
        seen = see(memory, look);
    } else if matches!(seen.found, Err(Miss::Stale)) {
        seen = see(memory, look);
    }
    conclude(memory, modules, look, seen)
}

/// Whether a name is as it was before the change: the probes tell of it a moment before the name cache shows it.
fn is_too_early(look: &Look, seen: &Seen) -> bool {
    let inode = look.change.facts.as_ref().map(|facts| facts.inode);
    match (look.change.action, &seen.found) {
        (FileAction::Renamed | FileAction::Exchanged, Err(Miss::Gone)) => true,
        (FileAction::Renamed | FileAction::Exchanged, Ok(found)) => found.status == ContentStatus::Replaced,
        (FileAction::Removed, Ok(found)) => found.state.as_ref().is_some_and(|state| Some(state.inode) == inode),
        _ => false,
    }
}

fn see(memory: &Memory, look: &Look) -> Seen {
    let host = match Tree::host() {
        Ok(host) => host,
        Err(miss) => return Seen { path: None, old_path: None, found: Err(miss) },
    };
    let change = &look.change;
    let is_likely = |path: &[u8]| memory.subject_of(path) == Some(look.subject);
    let path = place::on_host(&host, &change.path, look, is_likely);
    let renamed = matches!(change.action, FileAction::Renamed | FileAction::Exchanged);
    let old_path = change.old_path.as_ref().filter(|_| renamed);
    let old_path = old_path.and_then(|old_path| place::on_host(&host, old_path, look, is_likely));
    let opened = match &path {
        _ if place::is_slow(look) => Err(Miss::Slow),
        Some(path) => host.open(path),
        None => place::open_elsewhere(look),
    };
    // What is there after a removal or a mount is not the file of the event, which is not to be expected.
    let facts = place::facts(look).filter(|_| !matches!(change.action, FileAction::Removed | FileAction::MountedOver));
    // Of a file that is still open, the event's times are those of the opening.
    let closed = facts.and(change.facts.as_ref()).filter(|_| change.writing != Writing::Open);
    let wanted = Wanted {
        before: facts,
        changed: closed.and_then(|facts| facts.changed),
        text: look.subject.is_text(),
        whole: false,
    };
    Seen { path, old_path, found: opened.map(|opened| examine(&opened, wanted)) }
}

fn conclude(memory: &Memory, modules: &mut Modules, look: &Look, seen: Seen) -> Content {
    let action = look.change.action;
    let found = seen.found.unwrap_or_else(|miss| Found { status: status(miss), ..Found::default() });
    let mut content = Content { status: found.status, after: found.state.clone(), ..Content::default() };
    if action == FileAction::Removed && matches!(found.status, ContentStatus::Read | ContentStatus::ChangedSince) {
        content.status = ContentStatus::Replaced;
    }
    let is_by_itself =
        look.in_host_namespace && seen.path.as_ref().is_some_and(|path| *path != look.change.path.absolute);
    if look.change.path.mount_unknown || is_by_itself {
        content.resolved_path.clone_from(&seen.path);
    }
    let path = seen.path.filter(|path| memory.keeps(path));
    let old_path = seen.old_path.filter(|path| memory.keeps(path));
    // The file has gone to where nobody watches it.
    let left = action == FileAction::Renamed && path.is_none() && old_path.is_some();
    let is_gone = content.status == ContentStatus::Gone;
    let is_replaced = content.status == ContentStatus::Replaced;
    let is_removed = action == FileAction::Removed && is_replaced;
    let is_of_event = |state: &FileState| look.change.facts.as_ref().is_none_or(|facts| facts.inode == state.inode);
    let known_before = {
        let mut kept = memory.kept();
        let before = if left { &old_path } else { &path };
        let before = before.as_ref().and_then(|path| kept.get(path)).cloned();
        if let Some(path) = path.as_ref().filter(|_| is_replaced) {
            // What is there now has an event of its own, which tells what is new in it: it must not be known by then.
            if is_removed && before.as_ref().is_none_or(|version| is_of_event(&version.state)) {
                kept.set(path, None);
            }
        } else if let Some(path) = path.filter(|_| is_gone || found.state.is_some()) {
            let version = found.state.map(|state| match &before {
                Some(old) if !action.changes_content() => with_attributes(old.clone(), &state),
                _ => Version { state, text: found.text.clone() },
            });
            kept.set(&path, version);
        }
        if let Some(old_path) = old_path {
            kept.set(&old_path, before.clone().filter(|_| action == FileAction::Exchanged));
        }
        before
    };
    let text_before = match &known_before {
        Some(version) => version.text.as_deref(),
        // A name that is new had no text.
        None => action.makes_name().then_some(&b""[..]),
    };
    content.before = known_before.as_ref().map(|version| version.state.clone());
    let text_after = if left || is_gone || is_removed { Some(&b""[..]) } else { found.text.as_deref() };
    tell(look, Versions { before: text_before, after: text_after }, modules, &mut content);
    content
}

/// The version with other attributes. What is new in the content has an event of its own, which is compared with what it was.
fn with_attributes(old: Version, now: &FileState) -> Version {
    let FileState { mode, uid, gid, .. } = *now;
    Version { state: FileState { mode, uid, gid, ..old.state }, text: old.text }
}

fn tell(look: &Look, versions: Versions<'_>, modules: &mut Modules, content: &mut Content) {
    if look.subject == Subject::Setting {
        let line = |text: &[u8]| text.strip_suffix(b"\n").unwrap_or(text).to_vec();
        content.value_before = versions.before.filter(|_| content.before.is_some()).map(line);
        content.value = versions.after.filter(|_| content.after.is_some()).map(line);
        return;
    }
    let is_same = content.is_same() == Some(true);
    let is_other = look.change.action.changes_content() || (content.before.is_some() && !is_same);
    if !look.subject.is_text() || !is_other {
        return;
    }
    compare(look.subject, versions, modules, content);
    let is_file = content.after.as_ref().is_some_and(|state| state.mode & 0o170_000 == 0o100_000);
    if versions.after.is_none() && is_file && !is_same {
        tell_unsearched(look.subject, content);
    }
}

pub(super) const fn status(miss: Miss) -> ContentStatus {
    match miss {
        Miss::Gone => ContentStatus::Gone,
        Miss::Detour => ContentStatus::Replaced,
        Miss::Slow => ContentStatus::SlowFileSystem,
        Miss::Stale | Miss::Unreachable => ContentStatus::Unreachable,
        Miss::Denied | Miss::Failed => ContentStatus::Failed,
    }
}
