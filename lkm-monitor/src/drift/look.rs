//! One look at the host.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::settings;
use crate::{
    inspect::{
        self,
        contents::{Places, survey},
    },
    inventory::proc_modules::{self, ModuleState},
    model::{HostState, ModuleSeen, Subject, text::text},
};

/// What is watched: patterns of folders and of files, and what a path is that they match.
#[derive(Clone)]
pub struct Subjects {
    pub folders: Vec<String>,
    pub files: Vec<String>,
    /// `None` of what is not watched, or not to be told of.
    pub subject: SharedSubjectOf,
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

/// Looks: at the policy and the taints first, which cost nothing, then at modules, then at files.
pub(super) fn look(root: &Path, who: &Who, subjects: &Subjects) -> HostState {
    let begun = inspect::now();
    let (policy, taints) = (settings::read(root), settings::taints(root));
    let modules = modules(root);
    let survey = survey(&places(root, subjects, &who.kernel_release));
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
        places: survey.places,
        ..HostState::default()
    }
}

/// `None` where the list is not whole: what is missing in it says nothing.
fn modules(root: &Path) -> Option<BTreeMap<String, ModuleSeen>> {
    let listing = match proc_modules::read(root) {
        Ok(listing) if !listing.truncated && listing.strange.is_empty() => listing,
        Ok(listing) => {
            tracing::warn!(
                truncated = listing.truncated,
                strange_lines = listing.strange.len(),
                "/proc/modules is not compared with what it was: it cannot be read as a whole"
            );
            return None;
        }
        Err(error) => {
            tracing::warn!(%error, "/proc/modules cannot be read: it is not compared with what it was");
            return None;
        }
    };
    let rows = listing.rows.into_iter().map(|row| {
        // While a module begins or ends, a part of it comes or goes.
        let size = if row.state == ModuleState::Live { row.size } else { 0 };
        (text(&row.name), ModuleSeen { size, taints: row.taints, ..ModuleSeen::default() })
    });
    Some(rows.collect())
}

/// The folders and files that the patterns stand for, and the indexes of the running kernel's modules. A pattern without stars is a place
/// whether there is anything or not: one that is gone shows.
fn places(root: &Path, subjects: &Subjects, release: &str) -> Places {
    let found = |patterns: &[String]| -> Vec<Vec<u8>> {
        let each = patterns.iter().flat_map(|pattern| {
            if !pattern.contains(['*', '?', '[']) {
                return vec![PathBuf::from(pattern)];
            }
            // A pattern was compiled when it was taken into the list of what is watched.
            let below = root.join(pattern.trim_start_matches('/'));
            let found = glob::glob(&below.to_string_lossy()).ok().into_iter().flatten().flatten();
            found.filter_map(|path| Some(Path::new("/").join(path.strip_prefix(root).ok()?))).collect()
        });
        let mut paths: Vec<_> = each.map(|path| path.into_os_string().into_vec()).collect();
        // Earlier ones are of more interest, and are looked at first.
        let mut known = std::collections::HashSet::new();
        paths.retain(|path| known.insert(path.clone()));
        paths
    };
    let mut files = found(&subjects.files);
    for tree in MODULE_TREES {
        files.extend(INDEXES.map(|index| format!("{tree}/{release}/{index}").into_bytes()));
    }
    // The kernel's settings are policy.
    let subject_of = Arc::clone(&subjects.subject);
    let subject = move |path: &[u8]| subject_of(path).filter(|subject| *subject != Subject::Setting);
    files.retain(|path| subject(path).is_some());
    Places { folders: found(&subjects.folders), files, subject: Box::new(subject) }
}

/// One leads to the other on most hosts.
const MODULE_TREES: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];
/// What modprobe goes by: which module is loaded for which name, and what with it.
const INDEXES: [&str; 4] = ["modules.dep.bin", "modules.alias.bin", "modules.dep", "modules.softdep"];

impl std::fmt::Debug for Subjects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { folders, files, subject: _ } = self;
        formatter.debug_struct("Subjects").field("folders", folders).field("files", files).finish_non_exhaustive()
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
        };
        let state = look(&root, &who(), &subjects);
        let module = |size, taints: &str| ModuleSeen { size, taints: taints.to_owned(), ..ModuleSeen::default() };
        let modules = state.modules.clone().unwrap();
        assert_eq!(
            modules.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), module(10, "OE")), ("b".to_owned(), module(0, ""))]
        );
        assert_eq!(state.taints, Some(12_288));
        let names: Vec<_> = state.files.keys().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.conf"]);
        assert!(
            state.places.keys().all(|path| !path.starts_with("/proc")),
            "settings are no files: {:?}",
            state.places
        );
        assert!(state.begun.boot_ns <= state.ended.boot_ns && state.begun.unix_ms > 0);

        fs::write(root.join("proc/modules"), "a 10 0 - Live 0x0\nstrange\n").unwrap();
        assert_eq!(look(&root, &who(), &subjects).modules, None, "what is missing in it says nothing");
    }
}
