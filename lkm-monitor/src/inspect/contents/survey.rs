//! A look at all watched places, whether anything changed there or not.
//!
//! Each place has a budget of its own, so that a full folder hides no other one, and all together have one of time. What is not read is
//! named, with what its inode says instead.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    SubjectOf,
    follow::{self, Followed},
    read::{self, Wanted, examine},
    tree::{Miss, Opened, Tree},
};
use crate::model::{
    ContentStatus, FileSeen, FileState, FileTime, PlaceSeen, PlaceSight, TargetSeen,
    text::{hex, text},
};

/// Of one place.
const MAX_FILES: usize = 1024;
const MAX_BYTES: u64 = 64 << 20;
/// Of all places: of paths, of what links say, and of what else is on record of a file.
const MAX_TEXT_BYTES: usize = 8 << 20;
const FILE_BYTES: usize = 400;
/// Of all places.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be looked at.
pub struct Places {
    /// Paths of folders: all files in them.
    pub folders: Vec<Vec<u8>>,
    pub files: Vec<Vec<u8>>,
    /// What the file with this path is; `None` where it is of no interest.
    pub subject: SubjectOf,
}

/// What was found, by paths that are made text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    pub places: BTreeMap<String, PlaceSeen>,
    pub files: BTreeMap<String, FileSeen>,
}

/// Looks at all places. Reads files, and so may take as long as its budgets allow.
pub fn survey(places: &Places) -> Survey {
    let mut found = Survey::default();
    let Ok(host) = Tree::host() else {
        for path in places.folders.iter().chain(&places.files) {
            found.places.insert(text(path), PlaceSeen { sight: PlaceSight::Unreachable, ..PlaceSeen::default() });
        }
        return found;
    };
    look_until(Instant::now() + PATIENCE, MAX_TEXT_BYTES, &host, places, &mut found);
    found
}

fn look_until(end: Instant, mut text_left: usize, host: &Tree, places: &Places, found: &mut Survey) {
    for (path, is_folder) in all(places) {
        let place = if Instant::now() < end {
            let (files, text_left) = (&mut found.files, &mut text_left);
            Looking { host, places, files, end, text_left, left: MAX_BYTES, unread: 0 }.at(path, is_folder)
        } else {
            PlaceSeen { sight: PlaceSight::NotReached, ..PlaceSeen::default() }
        };
        found.places.insert(text(path), place);
    }
}

fn all(places: &Places) -> impl Iterator<Item = (&[u8], bool)> {
    let folders = places.folders.iter().map(|path| (path.as_slice(), true));
    folders.chain(places.files.iter().map(|path| (path.as_slice(), false)))
}

/// Whether there was room for what a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    Yes,
    No,
}

/// The look at one place.
struct Looking<'a> {
    host: &'a Tree,
    places: &'a Places,
    files: &'a mut BTreeMap<String, FileSeen>,
    /// When the look at all places ends.
    end: Instant,
    /// Bytes of text of all places that there is still room for.
    text_left: &'a mut usize,
    /// Bytes that may still be read.
    left: u64,
    unread: u64,
}

impl Looking<'_> {
    fn at(mut self, path: &[u8], is_folder: bool) -> PlaceSeen {
        // Of a file that is a link, the link itself is of interest, but not what leads to the folder that it lies in.
        let (above, name) = if is_folder { (path, &b""[..]) } else { split(path) };
        let Followed { path: truth, opened } = match follow::to_the_end(self.host, above) {
            Ok(followed) => followed,
            Err(miss) => return PlaceSeen { sight: sight(miss), ..PlaceSeen::default() },
        };
        let mount_point = Some(text(&opened.mount.point));
        let mut place = PlaceSeen { sight: PlaceSight::Whole, mount_point, ..PlaceSeen::default() };
        if truth != above {
            place.leads_to = Some(text(&join(&truth, name)));
            // What is looked at by its own name is not looked at twice.
            if all(self.places).any(|(other, _)| other == join(&truth, name)) {
                return place;
            }
        }
        if is_folder {
            place.sight = self.folder(&opened, path, &truth);
        } else {
            place.sight = self.file(path, &join(&truth, name)).map_or_else(sight, |fits| match fits {
                Fits::Yes => PlaceSight::Whole,
                Fits::No => PlaceSight::TooManyFiles,
            });
        }
        place.unread = self.unread;
        place
    }

    fn folder(&mut self, opened: &Opened, path: &[u8], truth: &[u8]) -> PlaceSight {
        if !read::is_folder(opened) {
            return PlaceSight::Special;
        }
        // One more shows that there are others.
        let Ok(mut names) = opened.names(MAX_FILES + 1) else { return PlaceSight::Failed };
        let sight = if names.len() > MAX_FILES { PlaceSight::TooManyFiles } else { PlaceSight::Whole };
        names.truncate(MAX_FILES);
        names.sort_unstable();
        for name in names {
            if Instant::now() >= self.end {
                return PlaceSight::NotReached;
            }
            // One that is gone by now has been removed; any other is told with what is known of it.
            if let Ok(Fits::No) = self.file(&join(path, &name), &join(truth, &name)) {
                return PlaceSight::TooManyFiles;
            }
        }
        sight
    }

    /// Looks at the file that the host has at `truth`, which is told as `path`.
    fn file(&mut self, path: &[u8], truth: &[u8]) -> Result<Fits, Miss> {
        let Some(subject) = (self.places.subject)(path) else { return Ok(Fits::Yes) };
        let opened = self.host.open(truth)?;
        let Some(glance) = read::glance(&opened) else { return Err(Miss::Failed) };
        // A folder in a watched folder is no file, and a place of its own where it is watched.
        if read::is_folder(&opened) {
            return Ok(Fits::Yes);
        }
        let (state, unread) = self.read(&opened, glance);
        let mut seen = FileSeen { subject: subject.name().to_owned(), unread, ..file_seen(&state) };
        if let Some(says) = &state.link_target {
            seen.target = Some(self.target(says, truth));
        }
        let path = text(path);
        let bytes = path.len() + seen.target.as_ref().map_or(0, |target| target.says.len()) + FILE_BYTES;
        let Some(left) = self.text_left.checked_sub(bytes) else { return Ok(Fits::No) };
        *self.text_left = left;
        self.files.insert(path, seen);
        Ok(Fits::Yes)
    }

    /// Reads the file where the budget allows it; why it was not read.
    fn read(&mut self, opened: &Opened, glance: FileState) -> (FileState, Option<String>) {
        let mut status = ContentStatus::TooLarge;
        if glance.size <= self.left {
            self.left -= glance.size;
            let found = examine(opened, Wanted::default());
            status = found.status;
            if let Some(state) = found.state.filter(|_| matches!(status, ContentStatus::Read)) {
                return (state, None);
            }
        }
        self.unread += 1;
        (glance, Some(status.name().to_owned()))
    }

    /// What the link at `path` leads to: somebody can change that, and leave the link as it is.
    fn target(&mut self, says: &[u8], path: &[u8]) -> TargetSeen {
        let mut target = TargetSeen { says: TargetSeen::said(says), ..TargetSeen::default() };
        match follow::to_the_end(self.host, path) {
            Ok(Followed { opened, .. }) => match read::glance(&opened) {
                Some(glance) => {
                    let (state, unread) = self.read(&opened, glance);
                    target.sha256 = state.sha256.map(|hash| hex(&hash));
                    target.unread = unread;
                }
                None => target.unread = Some(ContentStatus::Failed.name().to_owned()),
            },
            Err(miss) => target.unread = Some(super::look::status(miss).name().to_owned()),
        }
        target
    }
}

fn file_seen(state: &FileState) -> FileSeen {
    let ns = |time: FileTime| i64::try_from(time.realtime_ns()).ok();
    FileSeen { modified_ns: state.modified.and_then(ns), changed_ns: state.changed.and_then(ns), ..FileSeen::of(state) }
}

/// The folder and the name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) | None => (b"/", path.strip_prefix(b"/").unwrap_or(path)),
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
    }
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if name.is_empty() {
        return folder.to_vec();
    }
    [folder.strip_suffix(b"/").unwrap_or(folder), b"/", name].concat()
}

const fn sight(miss: Miss) -> PlaceSight {
    match miss {
        Miss::Gone => PlaceSight::Gone,
        // Every link was followed.
        Miss::Detour => PlaceSight::Special,
        Miss::Slow => PlaceSight::SlowFileSystem,
        Miss::Stale | Miss::Unreachable => PlaceSight::Unreachable,
        Miss::Denied | Miss::Failed => PlaceSight::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{ffi::OsStrExt as _, fs::symlink},
        path::{Path, PathBuf},
    };

    use super::*;
    use crate::model::Subject;

    fn bytes(path: &Path) -> Vec<u8> {
        path.as_os_str().as_bytes().to_vec()
    }

    fn look(folders: &[PathBuf], files: &[PathBuf]) -> Survey {
        let of = |paths: &[PathBuf]| paths.iter().map(|path| bytes(path)).collect();
        survey(&Places {
            folders: of(folders),
            files: of(files),
            subject: Box::new(|path| (!path.ends_with(b".swp")).then_some(Subject::Modprobe)),
        })
    }

    fn place<'a>(survey: &'a Survey, path: &Path) -> &'a PlaceSeen {
        &survey.places[&text(&bytes(path))]
    }

    fn file<'a>(survey: &'a Survey, path: &Path) -> &'a FileSeen {
        &survey.files[&text(&bytes(path))]
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn all_files_of_a_place_are_seen_with_what_they_hold() {
        let (_folder, path) = folder();
        let place_path = path.join("modprobe.d");
        fs::create_dir_all(place_path.join("folder")).unwrap();
        for name in ["a.conf", "b.conf", "c.swp"] {
            fs::write(place_path.join(name), "").unwrap();
        }
        fs::write(path.join("modules"), "").unwrap();
        let found = look(&[place_path.clone(), path.join("none")], &[path.join("modules"), path.join("no-file")]);
        let names: Vec<_> = found.files.keys().map(|path| path.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.conf", "b.conf", "modules"]);
        let seen = file(&found, &place_path.join("a.conf"));
        assert_eq!((seen.sha256.as_deref(), seen.size, seen.unread.as_deref()), (Some(EMPTY), 0, None));
        assert_eq!((seen.subject.as_str(), seen.mode & 0o170_000), ("modprobe", 0o100_000));
        assert!(seen.inode > 0 && seen.changed_ns.is_some() && seen.modified_ns.is_some());
        assert_eq!(place(&found, &place_path).sight, PlaceSight::Whole);
        assert_eq!(place(&found, &path.join("none")).sight, PlaceSight::Gone);
        assert_eq!(place(&found, &path.join("no-file")).sight, PlaceSight::Gone);
    }

    #[test]
    fn what_a_link_leads_to_is_seen_too() {
        let (_folder, path) = folder();
        let place_path = path.join("modprobe.d");
        fs::create_dir(&place_path).unwrap();
        fs::write(path.join("elsewhere"), "").unwrap();
        symlink("../elsewhere", place_path.join("a.conf")).unwrap();
        symlink(path.join("nowhere"), place_path.join("b.conf")).unwrap();
        symlink("/dev/null", place_path.join("c.conf")).unwrap();
        symlink("d.conf", place_path.join("d.conf")).unwrap();
        let found = look(std::slice::from_ref(&place_path), &[]);
        let target = |name: &str| file(&found, &place_path.join(name)).target.clone().unwrap();
        assert_eq!((target("a.conf").says.as_str(), target("a.conf").sha256.as_deref()), ("../elsewhere", Some(EMPTY)));
        assert_eq!(target("b.conf").unread.as_deref(), Some("gone"));
        assert_eq!(target("c.conf").unread.as_deref(), Some("special-file"));
        assert_eq!(target("d.conf").unread.as_deref(), Some("failed"), "in circles");
    }

    #[test]
    fn a_place_that_is_a_link_is_looked_at_where_it_leads_unless_that_is_a_place_itself() {
        let (_folder, path) = folder();
        for name in ["usr/lib/modprobe.d", "opt/conf"] {
            fs::create_dir_all(path.join(name)).unwrap();
            fs::write(path.join(name).join("a.conf"), "").unwrap();
        }
        symlink("usr/lib", path.join("lib")).unwrap();
        symlink(path.join("opt/conf"), path.join("modprobe.d")).unwrap();
        let places = ["usr/lib/modprobe.d", "lib/modprobe.d", "modprobe.d"].map(|name| path.join(name));
        let found = look(&places, &[]);
        let files: Vec<_> = found.files.keys().map(|file| file.strip_prefix(&text(&bytes(&path))).unwrap()).collect();
        assert_eq!(files, ["/modprobe.d/a.conf", "/usr/lib/modprobe.d/a.conf"]);
        let leads_to = |at: usize| place(&found, &places[at]).leads_to.clone().map(PathBuf::from);
        assert_eq!(
            [leads_to(0), leads_to(1), leads_to(2)],
            [None, Some(places[0].clone()), Some(path.join("opt/conf"))]
        );
    }

    #[test]
    fn a_full_place_hides_no_other_and_what_is_too_large_is_named() {
        let (_folder, path) = folder();
        let (full, other) = (path.join("full"), path.join("other"));
        fs::create_dir(&full).unwrap();
        fs::create_dir(&other).unwrap();
        for number in 0..=MAX_FILES {
            fs::write(full.join(format!("{number:05}")), "").unwrap();
        }
        fs::File::create(other.join("large")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        fs::write(other.join("small"), "").unwrap();
        let found = look(&[full.clone(), other.clone()], &[]);
        assert_eq!(place(&found, &full).sight, PlaceSight::TooManyFiles);
        assert_eq!(found.files.len(), MAX_FILES + 2);
        let large = file(&found, &other.join("large"));
        assert_eq!(
            (large.sha256.as_deref(), large.unread.as_deref(), large.size),
            (None, Some("too-large"), MAX_BYTES + 1)
        );
        assert_eq!(file(&found, &other.join("small")).sha256.as_deref(), Some(EMPTY));
        assert_eq!((place(&found, &other).sight, place(&found, &other).unread), (PlaceSight::Whole, 1));
    }

    #[test]
    fn time_and_room_end_within_a_place() {
        let (_folder, path) = folder();
        for name in ["a", "b", "c"] {
            fs::write(path.join(name), "").unwrap();
        }
        let places = Places {
            folders: vec![bytes(&path)],
            files: vec![bytes(&path.join("c"))],
            subject: Box::new(|_| Some(Subject::Modprobe)),
        };
        let look = |end, room| {
            let mut found = Survey::default();
            look_until(end, room, &Tree::host().unwrap(), &places, &mut found);
            (found.files.len(), place(&found, &path).sight, place(&found, &path.join("c")).sight)
        };
        let later = Instant::now() + PATIENCE;
        let one = bytes(&path).len() + 2 + FILE_BYTES;
        let full = PlaceSight::TooManyFiles;
        assert_eq!(look(later, 4 * one), (3, PlaceSight::Whole, PlaceSight::Whole));
        assert_eq!(look(later, 4 * one - 1), (3, PlaceSight::Whole, full));
        assert_eq!(look(later, 2 * one), (2, full, full));
        let mut text_left = MAX_TEXT_BYTES;
        let mut files = BTreeMap::new();
        let host = Tree::host().unwrap();
        let looking = Looking {
            host: &host,
            places: &places,
            files: &mut files,
            end: Instant::now(),
            text_left: &mut text_left,
            left: MAX_BYTES,
            unread: 0,
        };
        assert_eq!(looking.at(&bytes(&path), true).sight, PlaceSight::NotReached);
        assert!(files.is_empty());
    }

    #[test]
    fn what_a_long_link_says_is_a_hash() {
        let (_folder, path) = folder();
        let long = "x/".repeat(300);
        for (name, end) in [("a", "y"), ("b", "z")] {
            symlink(format!("{long}{end}"), path.join(name)).unwrap();
        }
        let found = look(std::slice::from_ref(&path), &[]);
        let says = |name: &str| file(&found, &path.join(name)).target.clone().unwrap().says;
        assert!(says("a").starts_with("x/x/") && says("a").len() < 256, "{}", says("a"));
        assert_ne!(says("a"), says("b"));
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_told() {
        let (_folder, path) = folder();
        fs::write(path.join("modprobe.d"), "").unwrap();
        let found = look(&[path.join("modprobe.d")], &[]);
        assert_eq!(place(&found, &path.join("modprobe.d")).sight, PlaceSight::Special);
        assert!(found.files.is_empty());
    }
}
