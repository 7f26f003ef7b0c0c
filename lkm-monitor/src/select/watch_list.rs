//! Watched paths, and what the probes have to compare to find them.

use super::{PathPattern, PatternError};
use crate::model::{NameFilter, Subject};

/// What is watched where no setting says otherwise. A star does not stand for a slash here.
///
/// The folders are those that kmod (`libkmod.c`), systemd-modules-load, depmod, initramfs-tools and dracut read; systems whose
/// /lib is not a link to /usr/lib have two of each.
static DEFAULTS: [(Subject, &[&str]); 9] = [
    (Subject::Module, &["**/*.ko", "**/*.ko.gz", "**/*.ko.xz", "**/*.ko.zst"]),
    (
        Subject::Modprobe,
        &[
            "/etc/modprobe.d/*",
            "/run/modprobe.d/*",
            "/usr/local/lib/modprobe.d/*",
            "/usr/lib/modprobe.d/*",
            "/lib/modprobe.d/*",
        ],
    ),
    (
        Subject::ModulesLoad,
        &[
            "/etc/modules-load.d/*",
            "/run/modules-load.d/*",
            "/usr/local/lib/modules-load.d/*",
            "/usr/lib/modules-load.d/*",
            "/lib/modules-load.d/*",
            "/etc/modules",
        ],
    ),
    (
        Subject::Depmod,
        &["/etc/depmod.d/*", "/run/depmod.d/*", "/usr/local/lib/depmod.d/*", "/usr/lib/depmod.d/*", "/lib/depmod.d/*"],
    ),
    (
        Subject::Initramfs,
        &[
            "/etc/initramfs-tools/modules",
            "/etc/dracut.conf",
            "/etc/dracut.conf.d/*",
            "/usr/lib/dracut/dracut.conf.d/*",
            "/usr/lib/dracut.conf.d/*",
        ],
    ),
    (
        Subject::Pam,
        &[
            "/usr/lib/security/*",
            "/usr/lib64/security/*",
            "/usr/lib/*-linux-gnu/security/*",
            "/lib/security/*",
            "/lib64/security/*",
            "/lib/*-linux-gnu/security/*",
        ],
    ),
    (
        Subject::Index,
        &[
            "**/lib/modules/*/modules.dep",
            "**/lib/modules/*/modules.dep.bin",
            "**/lib/modules/*/modules.alias",
            "**/lib/modules/*/modules.alias.bin",
            "**/lib/modules/*/modules.softdep",
            "**/lib/modules/*/modules.symbols",
            "**/lib/modules/*/modules.symbols.bin",
        ],
    ),
    (
        Subject::Setting,
        &["/proc/sys/kernel/modprobe", "/proc/sys/kernel/modules_disabled", "/proc/sys/kernel/ftrace_enabled"],
    ),
    (
        Subject::Sensor,
        &[
            "/etc/lkm-monitor/*",
            "/etc/lkm-monitor/conf.d/*",
            "/etc/lkm-monitor/certificates/*",
            "/etc/systemd/system/lkm-monitor.service",
            "/etc/systemd/system/lkm-monitor.service.d/*",
            "/run/systemd/system/lkm-monitor.service",
            "/run/systemd/system/lkm-monitor.service.d/*",
            "/usr/lib/systemd/system/lkm-monitor.service",
            "/lib/systemd/system/lkm-monitor.service",
            "/usr/bin/lkm-monitor",
            "/usr/sbin/lkm-monitor",
            "/usr/local/bin/lkm-monitor",
            "/usr/local/sbin/lkm-monitor",
        ],
    ),
];

/// The watched paths.
#[derive(Clone, Debug)]
pub struct WatchList {
    patterns: Vec<(Subject, PathPattern)>,
    filter: NameFilter,
    /// Folders all of whose files are watched.
    folders: Vec<(Subject, PathPattern)>,
    /// Patterns of folders and files that do not lie just anywhere.
    places: (Vec<String>, Vec<String>),
    /// The folders of these.
    places_of: Vec<(Subject, String)>,
}

impl WatchList {
    /// A list of pairs of subject and pattern.
    pub fn new<'a>(entries: impl IntoIterator<Item = (Subject, &'a str)>) -> Result<Self, PatternError> {
        let mut list = Self {
            patterns: Vec::new(),
            filter: NameFilter::default(),
            folders: Vec::new(),
            places: Default::default(),
            places_of: Vec::new(),
        };
        for (subject, pattern) in entries {
            list.add(subject, pattern)?;
        }
        Ok(list)
    }

    /// [`DEFAULTS`] as pairs.
    pub fn defaults() -> impl Iterator<Item = (Subject, &'static str)> {
        DEFAULTS.iter().flat_map(|(subject, patterns)| patterns.iter().map(|&pattern| (*subject, pattern)))
    }

    fn add(&mut self, subject: Subject, pattern: &str) -> Result<(), PatternError> {
        if !pattern.starts_with('/') && !pattern.starts_with("**/") {
            return Err(PatternError::NotAbsolute(pattern.to_owned()));
        }
        let not_comparable = || PatternError::NotComparable(pattern.to_owned());
        let (folder, name) = pattern.rsplit_once('/').ok_or_else(not_comparable)?;
        let parent = folder.rsplit('/').next().filter(|parent| !parent.is_empty() && is_literal(parent));
        let bytes = |text: &str| text.as_bytes().to_vec();
        match (name.strip_prefix('*'), parent) {
            _ if is_literal(name) && !name.is_empty() => drop(self.filter.files.insert(bytes(name))),
            (Some(rest), Some(parent)) if is_literal(rest) => {
                self.filter.folders.insert(bytes(parent));
                if rest.is_empty() {
                    self.folders.push((subject, PathPattern::new(folder, true)?));
                }
            }
            (Some(rest), None) if is_literal(rest) && (1..=8).contains(&rest.len()) => {
                self.filter.endings.insert(bytes(rest));
            }
            _ => return Err(not_comparable()),
        }
        if !folder.contains("**") {
            let (folders, files) = &mut self.places;
            if is_literal(name) {
                files.push(pattern.to_owned())
            } else {
                folders.push(folder.to_owned())
            }
            let above = folder.split('/').skip(1).filter(|part| !part.is_empty() && is_literal(part));
            self.filter.parents.extend(above.map(bytes));
            self.places_of.push((subject, folder.to_owned()));
        }
        self.patterns.push((subject, PathPattern::new(pattern, true)?));
        Ok(())
    }

    /// Patterns of folders and files that do not lie just anywhere: what they hold can be looked at before anything changes.
    pub fn places(&self) -> (Vec<String>, Vec<String>) {
        self.places.clone()
    }

    /// All patterns, as they were given or with a slash before them.
    pub fn spelled(&self) -> Vec<String> {
        self.patterns.iter().map(|(_, pattern)| pattern.pattern.as_str().to_owned()).collect()
    }

    /// What the probes have to report.
    pub const fn filter(&self) -> &NameFilter {
        &self.filter
    }

    /// What the file of this absolute path is; `None` when it is not watched. A path that was cut begins with `...`, somewhere
    /// below the root.
    pub fn subject_of(&self, path: &[u8]) -> Option<Subject> {
        let path = path.strip_prefix(b"...").unwrap_or(path);
        let found = self.patterns.iter().find(|(_, pattern)| pattern.matches(path));
        found.map(|(subject, _)| *subject)
    }

    /// What is watched below the folder of this absolute path, if anything is: the first of it.
    pub fn subject_below(&self, path: &[u8]) -> Option<Subject> {
        let is_below =
            |place: &str| place.as_bytes().strip_prefix(path).is_some_and(|rest| matches!(rest, b"" | [b'/', ..]));
        self.places_of.iter().find(|(_, place)| is_below(place)).map(|(subject, _)| *subject)
    }

    /// What the files in the folder of this absolute path are, where all of them are watched.
    pub fn subject_of_folder(&self, path: &[u8]) -> Option<Subject> {
        self.folders.iter().find(|(_, folder)| folder.matches(path)).map(|(subject, _)| *subject)
    }
}

/// Whether a piece of a pattern stands for itself.
fn is_literal(piece: &str) -> bool {
    !piece.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> WatchList {
        WatchList::new(WatchList::defaults()).unwrap()
    }

    #[test]
    fn the_probes_compare_names() {
        let list = defaults();
        let names = |set: &std::collections::BTreeSet<Vec<u8>>| -> Vec<String> {
            set.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        assert_eq!(names(&list.filter.endings), [".ko", ".ko.gz", ".ko.xz", ".ko.zst"]);
        assert_eq!(
            names(&list.filter.folders),
            [
                "certificates",
                "conf.d",
                "depmod.d",
                "dracut.conf.d",
                "lkm-monitor",
                "lkm-monitor.service.d",
                "modprobe.d",
                "modules-load.d",
                "security"
            ]
        );
        assert!(names(&list.filter.files).contains(&"modules.dep.bin".to_owned()));
        assert_eq!(list.filter.files.len(), 14);
    }

    #[test]
    fn whole_paths_decide() {
        let list = defaults();
        for (path, subject) in [
            ("/tmp/rootkit.ko", Some(Subject::Module)),
            ("/srv/a/b/c.ko.zst", Some(Subject::Module)),
            ("/tmp/x.kop", None),
            ("/tmp/foo.ko.bak", None),
            ("/etc/modprobe.d/x.conf", Some(Subject::Modprobe)),
            ("/tmp/etc/modprobe.d/x.conf", None),
            ("/etc/modprobe.d/sub/x.conf", None),
            ("/etc/modprobe.d/x.ko", Some(Subject::Module)),
            ("/etc/modules", Some(Subject::ModulesLoad)),
            ("/etc/sub/modules", None),
            ("/usr/lib/x86_64-linux-gnu/security/pam_unix.so", Some(Subject::Pam)),
            ("/usr/lib/modules/6.1.0/modules.dep", Some(Subject::Index)),
            ("/lib/modules/6.1.0/modules.alias.bin", Some(Subject::Index)),
            ("/proc/sys/kernel/modprobe", Some(Subject::Setting)),
            ("/proc/sys/kernel/ftrace_enabled", Some(Subject::Setting)),
            ("/usr/sbin/modprobe", None),
            ("/etc/lkm-monitor/config.toml", Some(Subject::Sensor)),
            ("/usr/bin/lkm-monitor", Some(Subject::Sensor)),
            ("/var/lib/lkm-monitor/run.json", None),
        ] {
            assert_eq!(list.subject_of(path.as_bytes()), subject, "{path}");
        }
    }

    #[test]
    fn what_is_mounted_further_up_hides_what_is_watched() {
        let list = defaults();
        for (path, subject) in [
            ("/usr/local/lib", Some(Subject::Modprobe)),
            ("/etc", Some(Subject::Modprobe)),
            ("/etc/initramfs-tools", Some(Subject::Initramfs)),
            ("/proc/sys", Some(Subject::Setting)),
            ("/usr/local/li", None),
            ("/tmp/lib", None),
            ("/etc/apt", None),
        ] {
            assert_eq!(list.subject_below(path.as_bytes()), subject, "{path}");
        }
        assert!(["etc", "local", "lib", "run", "sys"].iter().all(|name| list.filter.parents.contains(name.as_bytes())));
    }

    #[test]
    fn a_path_that_was_cut_has_a_name() {
        let list = defaults();
        assert_eq!(list.subject_of(b".../a/b/leaf.ko"), Some(Subject::Module));
        assert_eq!(list.subject_of(b".../etc/modules"), Some(Subject::ModulesLoad), "it may be");
        assert_eq!(list.subject_of(b".../b/leaf.kop"), None);
    }

    #[test]
    fn a_folder_of_which_all_is_watched_is_known() {
        assert_eq!(defaults().subject_of_folder(b"/run/modprobe.d"), Some(Subject::Modprobe));
        assert_eq!(defaults().subject_of_folder(b"/tmp/modprobe.d"), None);
    }

    #[test]
    fn patterns_that_no_probe_could_compare_are_refused() {
        let refused = |pattern: &str| WatchList::new([(Subject::Modprobe, pattern)]).unwrap_err();
        assert!(matches!(refused("etc/x"), PatternError::NotAbsolute(_)));
        for pattern in ["/etc/*/*", "/a/x*y", "/a/[bc]", "/*", "/a/*/*.a-long-ending", "/a/"] {
            assert!(matches!(refused(pattern), PatternError::NotComparable(_)), "{pattern}");
        }
        assert!(matches!(refused("/a/[b/c"), PatternError::Glob { .. }));
    }
}
