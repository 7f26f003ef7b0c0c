//! Changes of files on their way: selected, and kept until somebody has looked at the file. Loads wait here, too, for the hash of what
//! was loaded.

use std::{collections::BTreeMap, time::Instant};

use super::{Pending, order::Ticket};
use crate::{
    inspect::{contents::Contents, shared_setting},
    model::{
        Content, ContentStatus, Excluded, FileAction, FileChange, FileFacts, FileReport, Host, Look, ModuleCall,
        NameFilter, Observation, SeenPath, Subject, SystemMount, Writing,
    },
    select::{Exclusions, WatchList},
};

/// Changes that wait at one time: they hold their whole descriptions.
const MAX_WAITING: usize = 2048;

/// How long a change waits for the look at its file, in nanoseconds. Reading is fast; a file system may not be.
const PATIENCE_NS: u64 = 30_000_000_000;

/// How long a load waits: what is in the kernel now is told soon, with or without the hash of its file.
const LOAD_PATIENCE_NS: u64 = 500_000_000;

#[derive(Debug)]
pub(super) struct Looks {
    watch: WatchList,
    exclusions: Exclusions,
    /// All mounts that the host had when the daemon started.
    first_mounts: Vec<SystemMount>,
    contents: Contents,
    /// By the number of the look, which grows: with the time since boot at which patience ends.
    waiting: BTreeMap<u64, (Pending, u64)>,
    last: u64,
    not_looked_at: u64,
}

impl Looks {
    pub(super) const fn new(
        watch: WatchList,
        exclusions: Exclusions,
        first_mounts: Vec<SystemMount>,
        contents: Contents,
    ) -> Self {
        Self { watch, exclusions, first_mounts, contents, waiting: BTreeMap::new(), last: 0, not_looked_at: 0 }
    }

    /// From now on these are watched, and those not told.
    pub(super) fn follow(&mut self, watch: WatchList, exclusions: Exclusions) {
        self.watch = watch;
        self.exclusions = exclusions.succeed(&self.exclusions);
    }

    /// What is watched, and what of it is not told.
    pub(super) const fn selection(&self) -> (&WatchList, &Exclusions) {
        (&self.watch, &self.exclusions)
    }

    /// What the probes have to report.
    pub(super) const fn watched_names(&self) -> &NameFilter {
        self.watch.filter()
    }

    /// Whether the host had this mount when the daemon started.
    pub(super) fn had(&self, mount: &SystemMount) -> bool {
        self.first_mounts.contains(mount)
    }

    /// The report on a change, unless it waits for a look.
    pub(super) fn select(&mut self, change: FileChange, host: &Host, now_ns: u64) -> Selected {
        let in_host_namespace =
            !change.process.caller.namespaces.differing(&host.initial_namespaces).contains(&"mount");
        let watched = self.watched(&change, &host.system_mounts, in_host_namespace);
        let Some(Watched { subject, whole_folder, left, of_host, by_another_name }) = watched else {
            return Selected::Nothing;
        };
        let is_excluded = !by_another_name && in_host_namespace && self.exclusions.exclude(&change, &self.first_mounts);
        let mut report = FileReport { change, subject, whole_folder, left, of_host, content: Content::default() };
        if is_excluded {
            return Selected::Excluded(report);
        }
        if !wants_look(&report) {
            return Selected::Told(report);
        }
        self.last += 1;
        let look = Look { change: Box::new(report.change.clone()), subject, in_host_namespace, of_load: false };
        if self.waiting.len() >= MAX_WAITING || !self.contents.request(self.last, look) {
            report.content.status = ContentStatus::Busy;
            self.not_looked_at += 1;
            return Selected::Told(report);
        }
        let pending = Pending { observation: Observation::File(Box::new(report)), ticket: None };
        self.waiting.insert(self.last, (pending, now_ns.saturating_add(PATIENCE_NS)));
        Selected::Nothing
    }

    /// The call, unless it is a load that waits for a look at its file.
    pub(super) fn look_at_load(
        &mut self,
        mut call: Box<ModuleCall>,
        ticket: Option<Ticket>,
        host: &Host,
        now_ns: u64,
    ) -> Option<Pending> {
        if let Some(look) = look_of_load(&call, host) {
            self.last += 1;
            if self.waiting.len() < MAX_WAITING && self.contents.request(self.last, look) {
                let pending = Pending { observation: Observation::Call(call), ticket };
                self.waiting.insert(self.last, (pending, now_ns.saturating_add(LOAD_PATIENCE_NS)));
                return None;
            }
            call.content.status = ContentStatus::Busy;
            self.not_looked_at += 1;
        }
        Some(Pending { observation: Observation::Call(call), ticket })
    }

    /// What is watched of a change: the file itself, the folder that it is, or the name that it had.
    fn watched(&self, change: &FileChange, mounts: &[SystemMount], in_host_namespace: bool) -> Option<Watched> {
        let facts = change.facts.as_ref().or(change.facts_before.as_ref());
        let of = |path: &SeenPath, left: bool| {
            let names = HostNames::of(path, mounts, facts);
            let subject_of = |name: &[u8]| self.subject_of(name, change.action);
            let (subject, whole_folder) = names.all(path).find_map(subject_of)?;
            let is_watched = |name: &[u8]| subject_of(name) == Some((subject, whole_folder));
            let shown = in_host_namespace && !path.foreign_root && is_watched(&path.absolute);
            Some(Watched {
                subject,
                whole_folder,
                left,
                of_host: shown || path.mount_unknown || names.0.iter().any(|name| is_watched(name)),
                by_another_name: names.are_of_another_place(path, subject),
            })
        };
        // What was opened by a watched name was told when it left that.
        let left = matches!(change.action, FileAction::Renamed | FileAction::Exchanged | FileAction::Linked);
        of(&change.path, false).or_else(|| change.old_path.as_ref().and_then(|old| of(old, left)))
    }

    /// What the file with this path is, or the files in the folder with this path, or below it.
    fn subject_of(&self, path: &[u8], action: FileAction) -> Option<(Subject, bool)> {
        let file = self.watch.subject_of(path).map(|subject| (subject, false));
        let folder = || self.watch.subject_of_folder(path);
        let below = || self.watch.subject_below(path).filter(|_| action == FileAction::MountedOver);
        file.or_else(|| folder().or_else(below).map(|subject| (subject, true)))
    }

    /// The next answer of those who look.
    pub(super) async fn answer(&mut self) -> Option<(u64, Content)> {
        self.contents.answer().await
    }

    /// The next answer as long as there is something to wait for.
    pub(super) fn answer_before(&mut self, deadline: Instant) -> Option<(u64, Content)> {
        if self.waiting.is_empty() { None } else { self.contents.answer_before(deadline) }
    }

    /// What waited for this.
    pub(super) fn take(&mut self, id: u64, content: Content) -> Option<Pending> {
        let (mut waited, _) = self.waiting.remove(&id)?;
        self.not_looked_at += u64::from(content.status == ContentStatus::TimedOut);
        match &mut waited.observation {
            Observation::File(report) => report.content = content,
            Observation::Call(call) => call.content = content,
            Observation::Request(_) | Observation::Tool(_) | Observation::Object(_) => {}
        }
        Some(waited)
    }

    /// What nobody could look at in time.
    pub(super) fn expire(&mut self, now_ns: u64) -> Vec<Pending> {
        let is_due = |(_, deadline_ns): &(Pending, u64)| *deadline_ns <= now_ns;
        let due: Vec<_> = self.waiting.iter().filter(|(_, waiting)| is_due(waiting)).map(|(id, _)| *id).collect();
        let timed_out = || Content { status: ContentStatus::TimedOut, ..Content::default() };
        due.into_iter().filter_map(|id| self.take(id, timed_out())).collect()
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.waiting.values().map(|(_, deadline_ns)| *deadline_ns).min()
    }

    /// What was told without a look: too many were waiting, or it took too long.
    pub(super) const fn not_looked_at(&self) -> u64 {
        self.not_looked_at
    }

    /// What exclusions have kept back.
    pub(super) fn excluded(&self) -> Vec<Excluded> {
        self.exclusions.counts().collect()
    }
}

/// How to look at the file that a module was loaded from, if it has a name and the module came into the kernel.
fn look_of_load(call: &ModuleCall, host: &Host) -> Option<Look> {
    let file = call.file.as_ref().filter(|file| !file.unlinked && !file.path.anonymous)?;
    let process = call.process.as_ref()?;
    if !call.operation.is_load() || call.stage.init_ran() != Some(true) {
        return None;
    }
    let change = FileChange {
        action: FileAction::Written,
        boot_ns: call.boot_ns,
        cpu: call.cpu,
        tid: call.tid,
        path: file.path.clone(),
        old_path: None,
        link_target: None,
        facts: Some(file.clone()),
        facts_before: None,
        just_changed: false,
        ret: Some(0),
        writing: Writing::Closed,
        closed_boot_ns: None,
        writers: 0,
        call_flags: 0,
        process: process.clone(),
        told: 0,
    };
    let in_host_namespace = !process.caller.namespaces.differing(&host.initial_namespaces).contains(&"mount");
    Some(Look { change: Box::new(change), subject: Subject::Module, in_host_namespace, of_load: true })
}

/// What becomes of a change.
pub(super) enum Selected {
    /// It is told.
    Told(FileReport),
    /// It is not told, because of an exclusion.
    Excluded(FileReport),
    /// It waits for a look, or is of no interest.
    Nothing,
}

/// What is watched of a change.
struct Watched {
    subject: Subject,
    whole_folder: bool,
    left: bool,
    of_host: bool,
    /// The process reaches a file of the host through a mount of another place: what that place is called counts for nothing.
    by_another_name: bool,
}

/// The paths that the host has for a file on the mounts that it had when the daemon started, or for a setting of the kernel.
struct HostNames(Vec<Vec<u8>>);

/// Where the host has its modules.
const MODULE_TREES: [&[u8]; 2] = [b"/lib/modules/", b"/usr/lib/modules/"];

impl HostNames {
    fn of(path: &SeenPath, mounts: &[SystemMount], facts: Option<&FileFacts>) -> Self {
        let Some(facts) = facts else { return Self(Vec::new()) };
        let device = (facts.device_major, facts.device_minor);
        let names = mounts.iter().filter_map(|mount| mount.path_of(path, device));
        Self(names.chain(shared_setting(facts, path)).collect())
    }

    /// A path counts as the host has it in its mount namespace, as the process sees it, and as the host has the file by itself.
    fn all<'a>(&'a self, path: &'a SeenPath) -> impl Iterator<Item = &'a [u8]> {
        [path.absolute.as_slice(), &path.seen].into_iter().chain(self.0.iter().map(Vec::as_slice))
    }

    fn are_of_another_place(&self, path: &SeenPath, subject: Subject) -> bool {
        let is_module_tree = |name: &Vec<u8>| MODULE_TREES.iter().any(|tree| name.starts_with(tree));
        let counts = |name: &Vec<u8>| subject != Subject::Module || is_module_tree(name);
        !self.0.contains(&path.absolute) && self.0.iter().any(counts)
    }
}

/// Whether something is to be found at the file: it changed, or its state is kept. A module is looked at when it is closed: half a module does
/// nothing. All else counts as soon as it is written, and who keeps it open must not decide when it is read.
fn wants_look(report: &FileReport) -> bool {
    let change = &report.change;
    let half_written = change.writing == Writing::Open && report.subject == Subject::Module;
    if report.is_without_effect() || report.whole_folder || half_written {
        return false;
    }
    // A link takes nothing away from its other name.
    if report.left && !report.has_left() {
        return false;
    }
    // Removals of modules are found by looking, too, where the event does not show the mount.
    let shows_more = change.action.changes_content() && change.action != FileAction::Removed;
    report.subject != Subject::Module || shows_more || change.path.mount_unknown
}
