//! The files that are watched, as they are now.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::{gaps::Gaps, places, precedence, survey::Survey};
use crate::{
    inspect::contents::{Keep, NotThere},
    model::{
        ContentStatus, FileEntry, FoundFile, Gap, Subject,
        module_config::{parse, parse_modules_load},
        text::text,
    },
    select::WatchList,
};

/// Names of one folder that are looked at.
const MAX_NAMES: usize = 16_384;
/// Lines of a file's meaning that are kept.
const MAX_MEANING: usize = 256;
/// What is longer is not read for its meaning.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// depmod's indexes, which are watched wherever they are: those of the host's kernels are here.
const INDEXES: &str = "/lib/modules/*";

const FILE: &str = "file";
const PLACE: &str = "place";

/// All files that are watched in a place of their own, and the indexes of modules, by path; and what could not be looked at. Modules, which
/// are watched wherever they are, are not among them.
///
/// Each file is there once, under its path without links. A folder that is not there is no gap: a host has few of those that are watched.
pub fn list(watch: &WatchList, survey: &mut Survey) -> (Vec<FileEntry>, Vec<Gap>) {
    let mut listing = Listing { watch, survey, known: HashSet::new(), entries: Vec::new(), gaps: Gaps::default() };
    let (folders, files) = watch.places();
    for pattern in folders.iter().map(String::as_str).chain([INDEXES]) {
        for folder in listing.places(pattern) {
            listing.folder(&folder);
        }
    }
    for pattern in &files {
        for file in listing.places(pattern) {
            listing.file(&file);
        }
    }
    let Listing { mut entries, gaps, .. } = listing;
    entries.sort_by(|one, other| one.file.path.cmp(&other.file.path));
    precedence::tell_ignored(&mut entries);
    (entries, gaps.into_vec())
}

struct Listing<'a> {
    watch: &'a WatchList,
    survey: &'a mut Survey,
    /// Paths that were looked at.
    known: HashSet<Vec<u8>>,
    entries: Vec<FileEntry>,
    gaps: Gaps,
}

impl Listing<'_> {
    /// The paths that match a pattern now, as it spells them.
    fn places(&mut self, pattern: &str) -> Vec<Vec<u8>> {
        places::matching(&self.survey.files, pattern, &mut self.gaps)
    }

    fn folder(&mut self, spelled: &[u8]) {
        let (folder, names) = match self.survey.files.names(spelled, MAX_NAMES + 1) {
            Ok(found) => found,
            Err(NotThere::Gone) => return,
            Err(why) => return self.gaps.add_one(PLACE, spelled, why),
        };
        if names.len() > MAX_NAMES {
            self.gaps.add_one(
                PLACE,
                &folder,
                format!("it holds more than {MAX_NAMES} files: others were not looked at"),
            );
        }
        let mut is_watched = true;
        for name in names.iter().take(MAX_NAMES) {
            let [path, spelled] = [&folder, spelled].map(|folder| [folder, b"/", name.as_slice()].concat());
            // What is watched by the name that leads here is in effect, whatever the place is called.
            let subject = self.watch.subject_of(&path);
            let Some(subject) = subject.or_else(|| self.watch.subject_of(&spelled)) else { continue };
            is_watched &= self.watch.subject_of(&path).is_some();
            self.entry(path, subject);
        }
        if !is_watched {
            self.gaps.add_one(PLACE, spelled, format!("a link leads to {}, which is not watched", text(&folder)));
        }
    }

    fn file(&mut self, spelled: &[u8]) {
        // The last part may be a link, which is what is watched.
        let slash = spelled.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
        let (folder, name) = spelled.split_at(slash);
        let Some(folder) = self.resolve(if folder.is_empty() { b"/" } else { folder }) else { return };
        let folder = folder.strip_suffix(b"/").unwrap_or(&folder);
        let path = [folder, name].concat();
        let subject = self.watch.subject_of(&path).or_else(|| self.watch.subject_of(spelled));
        if let Some(subject) = subject {
            self.entry(path, subject);
        }
    }

    /// The folder without links; `None` where there is none, or where it cannot be looked at, which is told.
    fn resolve(&mut self, spelled: &[u8]) -> Option<Vec<u8>> {
        match self.survey.files.resolve(spelled) {
            Ok(path) => Some(path),
            Err(NotThere::Gone) => None,
            Err(why) => {
                self.gaps.add_one(PLACE, spelled, why);
                None
            }
        }
    }

    fn entry(&mut self, path: Vec<u8>, subject: Subject) {
        // Thousands of modules lie beside the indexes, and are watched wherever they are.
        if subject == Subject::Module || !self.known.insert(path.clone()) {
            return;
        }
        let keep = if subject.is_text() { Keep::ShortText } else { Keep::Nothing };
        let Some((file, content)) = self.survey.look((FILE, &path), keep, &mut self.gaps) else { return };
        self.entries.push(understood(file, subject, content, self.survey));
    }
}

/// What the file says.
fn understood(file: FoundFile, subject: Subject, content: Option<Vec<u8>>, survey: &mut Survey) -> FileEntry {
    let mut entry =
        FileEntry { file, subject, meaning: Vec::new(), more_meaning: 0, dangers: Vec::new(), ignored: None };
    let content = content.filter(|content| content.len() <= MAX_TEXT_BYTES);
    let is_program_text = matches!(subject, Subject::Modprobe | Subject::ModulesLoad);
    let Some(content) = content else {
        if is_program_text && !matches!(entry.file.status, ContentStatus::Special | ContentStatus::Gone) {
            entry.dangers = survey.files.dangers(subject, None);
        }
        return entry;
    };
    let all: Vec<String> = match subject {
        Subject::Modprobe => parse(&content).iter().map(|directive| text(&directive.text)).collect(),
        Subject::ModulesLoad => parse_modules_load(&content).iter().map(|name| text(name)).collect(),
        Subject::Setting => vec![text(content.strip_suffix(b"\n").unwrap_or(&content))],
        _ => Vec::new(),
    };
    if is_program_text {
        entry.dangers = survey.files.dangers(subject, Some(&content));
    }
    entry.more_meaning = all.len().saturating_sub(MAX_MEANING) as u64;
    entry.meaning = all.into_iter().take(MAX_MEANING).collect();
    entry
}
