//! Documents in a file, a line each, for any log shipper to follow.
//!
//! A file begins with a record that says what it is ([`header`]), only grows, and is renamed when it is old or long enough. It is cut in
//! two cases alone: what a batch left that could not be written as a whole, and a last line without its end, as a crash leaves it.

mod append;
mod folder;
mod header;
mod recover;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fs::File, io, mem, path::PathBuf, time::Duration};

use jiff::Timestamp;

use self::{
    append::{AppendError, Storage, append},
    folder::{FileId, Folder},
    header::{Beginning, Header},
    recover::{RECENT_BYTES, recent_ids},
};
use super::{Delivered, Entry, Failure, Fate, Sink, facts::Facts};
use crate::{
    model::{Agent, Host},
    spool::Count,
};

/// Where the file is, and how long it stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    pub path: PathBuf,
    /// Who may read it besides its owner, and enter its folder where the sink makes that.
    pub group: Option<u32>,
    /// Whether a batch is on the disk, and not only with the kernel, before it counts as taken.
    pub sync: bool,
    /// A file that a batch would make longer than this is renamed, and a new one begun.
    pub rotate_bytes: u64,
    /// So is one that began this long ago. Looked at when something is to be written.
    pub rotate_after: Duration,
    /// Renamed files that are kept, and their bytes in all.
    pub keep_files: usize,
    pub keep_bytes: u64,
}

/// Why nothing could be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{path} names no file in a folder")]
    NoName { path: PathBuf },
    #[error("folder {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "folder {path} belongs to user {uid} and has mode {mode:04o}: others than root could exchange what is in it"
    )]
    Exposed { path: PathBuf, uid: u32, mode: u32 },
    #[error("{path} is not a regular file")]
    NotRegular { path: PathBuf },
    #[error("{path}: somebody else writes to it: another sink, or another daemon")]
    Held { path: PathBuf },
    #[error("cannot {what} {path}: {source}")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Append { path: PathBuf, source: AppendError },
}

/// The default sink.
#[derive(Debug)]
pub struct FileSink<S: Storage = File> {
    settings: FileSettings,
    header: Header,
    active: Option<Active<S>>,
    /// What could not be written as a whole could not be cut either: that file is not written to again.
    spoilt: bool,
    /// The last documents that an earlier run wrote: what it had no time to note as delivered comes again. `None` until somebody looked.
    recent: Option<HashSet<String>>,
    lines: Vec<u8>,
    /// Last lines without an end that were cut, and renamed files that were removed, since somebody asked.
    torn_records: u64,
    removed_files: u64,
}

/// The file that is written to.
#[derive(Debug)]
struct Active<S: Storage> {
    storage: S,
    id: FileId,
    len: u64,
    header_len: u64,
    since: Timestamp,
}

impl<S: Storage> Drop for Active<S> {
    fn drop(&mut self) {
        // Closing alone does not, where a process was forked just then that has it open too. Whoever is kept out tries again.
        let _ = self.storage.unlock();
    }
}

impl<S: Storage> FileSink<S> {
    /// Opens nothing yet.
    pub fn new(settings: FileSettings, host: &Host, agent: &Agent) -> Self {
        Self {
            settings,
            header: Header::of(host, agent),
            active: None,
            spoilt: false,
            recent: None,
            lines: Vec::new(),
            torn_records: 0,
            removed_files: 0,
        }
    }

    fn write(&mut self, batch: &[Entry]) -> Result<Vec<Fate>, FileError> {
        let incoming = batch.iter().map(|entry| entry.json.len() as u64 + 1).sum();
        let mut active = self.ready(incoming)?;
        let fates = self.gather(batch);
        match append(&mut active.storage, active.len, &self.lines, self.settings.sync) {
            Ok(()) => {
                active.len += self.lines.len() as u64;
                self.active = Some(active);
                Ok(fates)
            }
            Err(source) => {
                if source.is_clean() {
                    self.active = Some(active);
                } else {
                    self.spoilt = true;
                }
                Err(FileError::Append { path: self.settings.path.clone(), source })
            }
        }
    }

    /// Puts the lines together that the file does not have yet.
    fn gather(&mut self, batch: &[Entry]) -> Vec<Fate> {
        self.lines.clear();
        let recent = self.recent.get_or_insert_default();
        let mut fates = Vec::with_capacity(batch.len());
        for entry in batch {
            let known =
                !recent.is_empty() && Facts::of(&entry.json).is_ok_and(|facts| recent.contains(&facts.event.id));
            if !known {
                self.lines.extend_from_slice(&entry.json);
                self.lines.push(b'\n');
            }
            fates.push(if known { Fate::Duplicate } else { Fate::Taken });
        }
        fates
    }

    /// The file to write to. Made, opened or begun anew where that has to be.
    fn ready(&mut self, incoming: u64) -> Result<Active<S>, FileError> {
        let folder = Folder::open(&self.settings.path, self.settings.group)?;
        let now = Timestamp::now();
        // Others may rename it, remove it, or cut it.
        let found = folder.find()?;
        let active = match self.active.take().filter(|active| found == Some((active.id, active.len))) {
            Some(active) => active,
            // Nothing holds the file any more that was open before: its lock would keep us out.
            None => self.open(&folder, now)?,
        };
        let long = active.len + incoming > self.settings.rotate_bytes;
        let old = now.duration_since(active.since).unsigned_abs() >= self.settings.rotate_after && now > active.since;
        if (long || old) && active.len > active.header_len { self.rotate(&folder, now) } else { Ok(active) }
    }

    fn open(&mut self, folder: &Folder, now: Timestamp) -> Result<Active<S>, FileError> {
        let file = folder.open_file()?;
        if self.recent.is_none() {
            self.recent = Some(self.look_back(folder, file.as_ref())?);
        }
        let Some(file) = file else { return self.begin(folder, now) };
        let beginning = header::read(&file).map_err(|source| self.failed("read", source))?;
        if let Beginning::Foreign = beginning {
            folder.put_aside(now)?;
            return self.begin(folder, now);
        }
        if self.spoilt {
            return self.rotate(folder, now);
        }
        self.take_over(folder, file, beginning).or_else(|error| {
            tracing::warn!(%error, "the file cannot be continued, another is begun");
            self.rotate(folder, now)
        })
    }

    /// Ids of what was written last, in the file and in the one before it.
    fn look_back(&self, folder: &Folder, file: Option<&File>) -> Result<HashSet<String>, FileError> {
        let mut recent = HashSet::new();
        let mut room = RECENT_BYTES;
        let before = folder.rotated()?.pop().map(|name| folder.open_rotated(&name)).transpose()?;
        for file in file.into_iter().chain(before.as_ref()) {
            let read = recent_ids(file, room, &mut recent);
            room -= read.map_err(|source| self.failed("read", source))?;
        }
        Ok(recent)
    }

    /// Continues a file of ours, from its last whole line.
    fn take_over(&mut self, folder: &Folder, file: File, beginning: Beginning) -> Result<Active<S>, FileError> {
        let (torn, len) = recover::cut_torn_line(&file).map_err(|source| self.failed("cut", source))?;
        if torn {
            self.torn_records += 1;
            tracing::warn!(path = %self.settings.path.display(), "a line without its end was cut");
        }
        let id = folder.secure(&file, self.settings.group)?;
        let Beginning::Header { since, len: header_len } = beginning else {
            return self.start(S::from(file), id, Timestamp::now());
        };
        if self.settings.sync {
            // What is known from here is not written again: it must not be with the kernel only.
            file.sync_data().map_err(|source| self.failed("write", source))?;
        }
        Ok(Active { storage: S::from(file), id, len, header_len, since })
    }

    /// Renames the file that is there, and begins another.
    fn rotate(&mut self, folder: &Folder, now: Timestamp) -> Result<Active<S>, FileError> {
        folder.retire(now)?;
        self.spoilt = false;
        self.remove_old(folder)?;
        self.begin(folder, now)
    }

    fn begin(&self, folder: &Folder, now: Timestamp) -> Result<Active<S>, FileError> {
        let file = folder.create()?;
        let begun = self.make(folder, file, now);
        if begun.is_err() {
            // One for each attempt would remain, and push out those that hold documents.
            folder.discard();
        }
        begun
    }

    fn make(&self, folder: &Folder, file: File, now: Timestamp) -> Result<Active<S>, FileError> {
        let id = folder.secure(&file, self.settings.group)?;
        if self.settings.sync {
            folder.sync()?;
        }
        self.start(S::from(file), id, now)
    }

    /// Writes the header into an empty file.
    fn start(&self, mut storage: S, id: FileId, since: Timestamp) -> Result<Active<S>, FileError> {
        let line = self.header.line(since).map_err(|source| self.failed("name", source))?;
        append(&mut storage, 0, &line, self.settings.sync)
            .map_err(|source| FileError::Append { path: self.settings.path.clone(), source })?;
        let len = line.len() as u64;
        Ok(Active { storage, id, len, header_len: len, since })
    }

    /// Removes the oldest of the renamed files, as far as there are too many.
    fn remove_old(&mut self, folder: &Folder) -> Result<(), FileError> {
        let mut bytes = 0_u64;
        for (kept, name) in folder.rotated()?.iter().rev().enumerate() {
            bytes = bytes.saturating_add(folder.size(name)?);
            if kept >= self.settings.keep_files || bytes > self.settings.keep_bytes {
                folder.remove(name)?;
                self.removed_files += 1;
                tracing::info!(file = %name.display(), "an old file was removed to keep to the limits");
            }
        }
        Ok(())
    }

    fn failed(&self, what: &'static str, source: io::Error) -> FileError {
        FileError::File { what, path: self.settings.path.clone(), source }
    }
}

impl<S: Storage> Sink for FileSink<S> {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        match self.write(batch) {
            Ok(fates) => {
                // From the first new document on, nothing of the earlier run comes any more.
                if fates.contains(&Fate::Taken) {
                    self.recent = Some(HashSet::new());
                }
                Delivered::Each(fates)
            }
            Err(error) => {
                Delivered::Failed(Failure { reason: error.to_string(), maybe_taken: self.spoilt, retry_after: None })
            }
        }
    }

    fn take_counts(&mut self) -> Vec<(Count, u64)> {
        let counts = [
            (Count::TornRecord, mem::take(&mut self.torn_records)),
            (Count::FileRemoved, mem::take(&mut self.removed_files)),
        ];
        counts.into_iter().filter(|(_, number)| *number > 0).collect()
    }
}
