//! One look at the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::Arc,
};

use super::{
    host::Host,
    seen::{MAX_SRCVERSION_BYTES, srcversion},
    settings,
};
use crate::{
    inspect::{
        self,
        contents::{Places, survey},
    },
    inventory::{
        Gaps, matching,
        proc_modules::{self, ModuleState},
        sys_folder,
    },
    model::{HostState, ModuleSeen, PlaceSeen, PlaceSight, Selected, Subject, text::text},
};

/// What is watched: patterns of folders and of files, and what a path is that they match.
#[derive(Clone)]
pub struct Subjects {
    pub folders: Vec<String>,
    pub files: Vec<String>,
    /// `None` of what is not watched, or not to be told of.
    pub subject: SharedSubjectOf,
    /// The same in words.
    pub selected: Selected,
}

/// As [`contents::SubjectOf`], of which clones are one.
///
/// [`contents::SubjectOf`]: inspect::contents::SubjectOf
type SharedSubjectOf = Arc<dyn Fn(&[u8]) -> Option<Subject> + Send + Sync>;

/// Whom a look is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) agent_id: String,
    pub(super) boot_id: String,
    pub(super) kernel_release: String,
}

/// Looks: at the policy and the taints first, which cost nothing, then at modules, then at files. Places are looked at where `known` ones
/// were, too, even if patterns do not show them any more.
pub(super) fn look<'a>(
    root: &Path,
    who: &Who,
    subjects: &Subjects,
    known: impl Iterator<Item = &'a str> + Clone,
) -> HostState {
    let begun = inspect::now();
    let host = Host::open(root);
    let (policy, taints) = (settings::read(&host), settings::taints(&host));
    let (modules, list) = modules(&host);
    let (places, patterns) = places(&host, subjects, &who.kernel_release, known);
    let survey = survey(&places);
    let mut places = survey.places;
    // That it cannot be read shows.
    places.insert(HostState::MODULES.to_owned(), PlaceSeen { sight: list, ..PlaceSeen::default() });
    HostState {
        begun,
        ended: inspect::now(),
        boot_id: who.boot_id.clone(),
        agent_id: who.agent_id.clone(),
        kernel_release: who.kernel_release.clone(),
        policy,
        taints,
        modules,
        files: survey.files,
        places,
        patterns,
        selected: subjects.selected.clone(),
        ..HostState::default()
    }
}

/// What the kernel lists, and how much of that could be read: what is missing in a list that is not whole says nothing.
fn modules(host: &Host) -> (Option<BTreeMap<String, ModuleSeen>>, PlaceSight) {
    let read = |mut file: File| proc_modules::of_file(&mut file, proc_modules::PIECE_BYTES);
    let listing = match host.file("proc/modules").and_then(read) {
        Ok(listing) => listing,
        // A kernel without modules has no list of them.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (None, PlaceSight::Gone),
        Err(error) => {
            tracing::warn!(%error, "/proc/modules cannot be read: it is not compared with what it was");
            return (None, PlaceSight::Failed);
        }
    };
    let sight = match &listing {
        listing if listing.truncated => PlaceSight::TooManyFiles,
        listing if !listing.strange.is_empty() => PlaceSight::Strange,
        _ => PlaceSight::Whole,
    };
    let rows = listing.rows.into_iter().map(|row| {
        // While a module begins or ends, a part of it comes or goes.
        let size = if row.state == ModuleState::Live { row.size } else { 0 };
        let (inode, srcversion) = folder_of(host, &row.name);
        (text(&row.name), ModuleSeen { size, taints: row.taints, inode, srcversion })
    });
    (Some(rows.collect()), sight)
}

/// What /sys/module shows of one.
fn folder_of(host: &Host, name: &[u8]) -> (Option<u64>, Option<String>) {
    let folder = Path::new("sys/module").join(OsStr::from_bytes(&sys_folder(name)));
    // With its line end, and one that shows that it is longer.
    let version = host.read(folder.join("srcversion"), MAX_SRCVERSION_BYTES as u64 + 2).ok();
    (host.inode(folder), version.and_then(|version| srcversion(&version)))
}

/// The folders and files that the patterns stand for, and the indexes of the running kernel's modules; and the patterns that stand for all
/// that they can. A pattern without stars is a place whether there is anything or not, and so is one that a pattern was known to stand
/// for: one that is gone shows.
fn places<'a>(
    host: &Host,
    subjects: &Subjects,
    release: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> (Places, BTreeSet<String>) {
    let mut whole = BTreeSet::new();
    let mut found = |patterns: &[String]| -> Vec<Vec<u8>> {
        let each = patterns.iter().flat_map(|pattern| {
            if !has_stars(pattern) {
                return vec![pattern.clone().into_bytes()];
            }
            let mut gaps = Gaps::default();
            let mut found = host.files.as_ref().map(|files| matching(files, pattern, &mut gaps)).unwrap_or_default();
            let gaps = gaps.into_vec();
            if host.files.is_ok() && gaps.is_empty() {
                whole.insert(pattern.clone());
            }
            for gap in gaps {
                tracing::warn!(pattern, gap = gap.sentence(), "not all watched places are known");
            }
            let known = known.clone().filter(|path| stands_for(pattern, path)).filter_map(plain_path);
            found.extend(known.map(|path| path.as_os_str().as_bytes().to_vec()));
            found
        });
        let mut paths: Vec<_> = each.collect();
        // Earlier ones are of more interest, and are looked at first.
        let mut known = std::collections::HashSet::new();
        paths.retain(|path| known.insert(path.clone()));
        paths
    };
    let (folders, mut files) = (found(&subjects.folders), found(&subjects.files));
    for tree in MODULE_TREES {
        files.extend(INDEXES.map(|index| format!("{tree}/{release}/{index}").into_bytes()));
    }
    // The kernel's settings are policy.
    let subject_of = Arc::clone(&subjects.subject);
    let subject = move |path: &[u8]| subject_of(path).filter(|subject| *subject != Subject::Setting);
    files.retain(|path| subject(path).is_some());
    (Places { folders, files, subject: Box::new(subject) }, whole)
}

fn has_stars(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Whether a pattern stands for this path, part by part.
pub(super) fn stands_for(pattern: &str, path: &str) -> bool {
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    has_stars(pattern) && glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_with(path, options))
}

/// One leads to the other on most hosts.
const MODULE_TREES: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];
/// What modprobe goes by: which module is loaded for which name, and what with it.
const INDEXES: [&str; 4] = ["modules.dep.bin", "modules.alias.bin", "modules.dep", "modules.softdep"];

impl std::fmt::Debug for Subjects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { folders, files, selected, subject: _ } = self;
        formatter
            .debug_struct("Subjects")
            .field("folders", folders)
            .field("files", files)
            .field("selected", selected)
            .finish_non_exhaustive()
    }
}

/// The path that text stands for; `None` where the text had to be made readable.
pub(super) fn plain_path(text: &str) -> Option<&Path> {
    (!text.contains('\\')).then(|| Path::new(OsStr::from_bytes(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn who() -> Who {
        Who { agent_id: "a".to_owned(), boot_id: "b".to_owned(), kernel_release: "6.1.0".to_owned() }
    }

    #[test]
    fn a_look_shows_modules_settings_and_files() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("proc/sys/kernel")).unwrap();
        fs::write(root.join("proc/modules"), "a 10 0 - Live 0x0 (OE)\nb 20 0 - Loading 0x0\n").unwrap();
        fs::write(root.join("proc/sys/kernel/tainted"), "12288\n").unwrap();
        let conf = root.join("modprobe.d");
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("a.conf"), "").unwrap();
        let subjects = Subjects {
            folders: vec![conf.to_str().unwrap().to_owned()],
            files: vec!["/proc/sys/kernel/modprobe".to_owned()],
            subject: Arc::new(|path| {
                Some(if path.starts_with(b"/proc") { Subject::Setting } else { Subject::Modprobe })
            }),
            selected: Selected::default(),
        };
        fs::create_dir_all(root.join("sys/module/a")).unwrap();
        fs::write(root.join("sys/module/a/srcversion"), "ABC\n").unwrap();
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(root.join("sys/module/a")).unwrap());
        let state = look(&root, &who(), &subjects, std::iter::empty());
        let module = |size, taints: &str| ModuleSeen { size, taints: taints.to_owned(), ..ModuleSeen::default() };
        let modules = state.modules.clone().unwrap();
        assert_eq!(
            modules.into_iter().collect::<Vec<_>>(),
            [
                (
                    "a".to_owned(),
                    ModuleSeen { inode: Some(inode), srcversion: Some("ABC".to_owned()), ..module(10, "OE") }
                ),
                ("b".to_owned(), module(0, ""))
            ]
        );
        assert_eq!(state.taints, Some(12_288));
        let names: Vec<_> = state.files.keys().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.conf"]);
        assert!(
            state.places.keys().all(|path| path == HostState::MODULES || !path.starts_with("/proc")),
            "settings are no files: {:?}",
            state.places
        );
        assert!(state.begun.boot_ns <= state.ended.boot_ns && state.begun.unix_ms > 0);

        let list = |content: &str| {
            fs::write(root.join("proc/modules"), content).unwrap();
            let state = look(&root, &who(), &subjects, std::iter::empty());
            (state.modules.map(|modules| modules.len()), state.places[HostState::MODULES].sight)
        };
        assert_eq!(list("a 10 0 - Live 0x0\n"), (Some(1), PlaceSight::Whole));
        assert_eq!(list("a 10 0 - Live 0x0\nstrange\n"), (Some(1), PlaceSight::Strange));
        fs::remove_file(root.join("proc/modules")).unwrap();
        fs::create_dir(root.join("proc/modules")).unwrap();
        let state = look(&root, &who(), &subjects, std::iter::empty());
        assert_eq!((state.modules, state.places[HostState::MODULES].sight), (None, PlaceSight::Failed));
    }

    #[test]
    fn a_place_that_a_pattern_stood_for_is_looked_at_when_it_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for name in ["lib/a/security", "lib/b/security"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let path = |below: &str| root.join(below).to_str().unwrap().to_owned();
        let pattern = path("lib/*/security");
        let subjects = Subjects {
            folders: vec![pattern.clone()],
            files: Vec::new(),
            subject: Arc::new(|path| (!path.ends_with(b"bin")).then_some(Subject::Pam)),
            selected: Selected::default(),
        };
        let places = |known: &[String]| {
            let state = look(&root, &who(), &subjects, known.iter().map(String::as_str));
            assert_eq!(state.patterns, [pattern.clone()].into());
            let is_below = |place: &(&String, &PlaceSeen)| place.0.contains("security");
            let places = state.places.iter().filter(is_below).map(|(path, place)| (path.clone(), place.sight));
            places.collect::<Vec<_>>()
        };
        let [a, b, c] = ["lib/a/security", "lib/b/security", "lib/c/security"].map(path);
        let whole = |path: &String| (path.clone(), PlaceSight::Whole);
        assert_eq!(places(&[]), [whole(&a), whole(&b)]);
        assert_eq!(
            places(&[c.clone(), "/elsewhere".to_owned()]),
            [whole(&a), whole(&b), (c, PlaceSight::Gone)],
            "what no pattern stands for any more is not looked at"
        );
    }
}
