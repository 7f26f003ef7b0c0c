//! Keeping images: whole in their files when `keep` returns, once each, within the bounds.

mod survey;

use std::{io, path::PathBuf, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::{
    PATH,
    archive::{Archive, ArchiveError},
    clock::Clock,
    count::{Count, Totals},
    file,
    folder::{Folder, FolderError},
    header::{Header, MAX_IMAGE_BYTES},
    name::{Digest, Name},
    record::{Record, RecordError},
    replace::Draft,
    retention::{Held, Holdings, Limits},
};
use crate::model::{KeptImage, KeptLoad, text::hex};

/// How evidence is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder. The one that holds it is there.
    pub path: PathBuf,
    pub limits: Limits,
    /// Where less of the file system would be free nothing is written. Older evidence does not make room for newer then: whoever fills the
    /// disk shall not remove it.
    pub min_free_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { path: PATH.into(), limits: Limits::default(), min_free_bytes: 256 << 20 }
    }
}

/// Why an image is not kept.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the image takes {bytes} bytes, and no more than {max_bytes} are kept")]
    TooLarge { bytes: u64, max_bytes: u64 },
    #[error(
        "{free_bytes} bytes of the file system are free; {bytes} are to be written, and {min_free_bytes} to stay free"
    )]
    NoRoom { bytes: u64, free_bytes: u64, min_free_bytes: u64 },
    #[error("the record cannot be written: {0}")]
    Record(#[from] RecordError),
    #[error("the clock cannot be written: {0}")]
    Clock(#[from] serde_json::Error),
    #[error("no thread can be started: {0}")]
    Thread(io::Error),
}

/// What became of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was not there.
    New,
    /// It was there, and is what it was.
    Known,
    /// It was on record, but its file was gone, or not what was written. Somebody has been at it, or the disk is bad.
    Restored,
}

/// The folder, to write.
#[derive(Debug)]
pub struct Store {
    archive: Archive,
    settings: Settings,
    holdings: Holdings,
    clock: Clock,
    totals: Arc<Totals>,
}

impl Store {
    /// Opens the folder, or makes it, and finds out what is in it. Nothing but leftovers of a crash and what is beyond the bounds is removed.
    pub fn open(settings: Settings) -> Result<Self, EvidenceError> {
        Self::open_counted(settings, Arc::default())
    }

    /// The same, for somebody who reads these totals already.
    pub(crate) fn open_counted(settings: Settings, totals: Arc<Totals>) -> Result<Self, EvidenceError> {
        let archive = Archive { folder: Folder::open_to_write(&settings.path)? };
        let mut store = Self { archive, settings, holdings: Holdings::default(), clock: Clock::default(), totals };
        store.survey()?;
        if let Err(error) = store.trim() {
            tracing::warn!(%error, "there is too much evidence, and it cannot be removed");
        }
        Ok(store)
    }

    /// Totals and what is held, for others to read.
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// Keeps an image, unless it is there, and adds the load to its record. Both are on the disk when this returns.
    pub fn keep(&mut self, image: &KeptImage, load: &KeptLoad) -> Result<Kept, EvidenceError> {
        let kept = self.write(image, load);
        self.totals.add(match &kept {
            Ok(Kept::New) => Count::Kept,
            Ok(Kept::Known) => Count::Known,
            Ok(Kept::Restored) => Count::Restored,
            Err(EvidenceError::TooLarge { .. }) => Count::Refused,
            Err(_) => Count::Failed,
        });
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "there is too much evidence, and it cannot be removed");
        }
        kept
    }

    /// Lets the store's clock go on, and removes what is too old by it.
    pub fn pass(&mut self, seconds: u64) -> Result<(), EvidenceError> {
        self.clock.pass(seconds);
        let trimmed = self.trim();
        // Also where something cannot be removed: one such file shall not stop the clock by which the others go.
        let saved = if self.clock.is_due() { self.save_clock() } else { Ok(()) };
        trimmed.and(saved)
    }

    /// Writes down how long daemons have run. Done now and then by [`Self::pass`].
    pub fn save_clock(&mut self) -> Result<(), EvidenceError> {
        if !self.clock.is_saved() {
            let json = self.clock.encode()?;
            self.replace(Name::Clock, &json)?;
            self.clock.saved();
        }
        Ok(())
    }

    fn write(&mut self, image: &KeptImage, load: &KeptLoad) -> Result<Kept, EvidenceError> {
        let bytes = image.content.len() as u64;
        let max_bytes = self.settings.limits.max_bytes.min(MAX_IMAGE_BYTES);
        if bytes > max_bytes {
            return Err(EvidenceError::TooLarge { bytes, max_bytes });
        }
        self.archive.folder.make_sure_of_place()?;
        let digest: Digest = Sha256::digest(&*image.content).into();
        let is_held = self.holdings.has(&digest);
        let kept = if is_held { self.look(&digest, image.size) } else { Kept::New };
        let mut record =
            is_held.then(|| self.record(&digest)).flatten().unwrap_or_else(|| Record::of(&digest, image, load));
        record.size = record.size.max(image.size);
        // One that is begun anew does not know of the loads before.
        record.ran |= self.holdings.ran(&digest);
        record.add(load, image.size, self.clock.now_s);
        let json = record.encode()?;
        let mut written = Ok(());
        if kept != Kept::Known {
            written = self.write_image(&digest, image, load, json.len() as u64);
        }
        let written = written.and_then(|()| self.replace(Name::Record(digest), &json));
        // Also where a write has failed: a file may be in its place even though the disk did not say so in the end.
        self.take_note(digest, record.ran);
        written.map(|()| kept)
    }

    /// Takes note of what is there of an image that was just seen.
    fn take_note(&mut self, digest: Digest, ran: bool) {
        let size = |name| self.archive.folder.size(name).unwrap_or_default();
        let (image_bytes, record_bytes) = (size(Name::Image(digest)), size(Name::Record(digest)));
        if image_bytes > 0 || record_bytes > 0 {
            self.hold(digest, Held { image_bytes, record_bytes, seen_s: self.clock.now_s, ran });
        }
    }

    /// Whether what is on record is there. An attacker who knows of the store removes the image, and loads it again.
    fn look(&self, digest: &Digest, image_bytes: u64) -> Kept {
        match self.archive.image(digest, &mut io::sink()) {
            // The first part of a longer image is no whole one.
            Ok(header) if header.size < image_bytes => Kept::New,
            Ok(_) => Kept::Known,
            Err(error) => {
                tracing::warn!(sha256 = hex(digest), %error, "evidence was tampered with, and is written anew");
                Kept::Restored
            }
        }
    }

    /// The record that is there. One that is damaged is begun anew.
    fn record(&self, digest: &Digest) -> Option<Record> {
        let record = self.archive.record(digest);
        if let Err(error) = &record {
            tracing::warn!(sha256 = hex(digest), %error, "the record of evidence is begun anew");
        }
        record.ok()
    }

    /// The file goes in its place only if it and its record fit.
    fn write_image(
        &self,
        digest: &Digest,
        image: &KeptImage,
        load: &KeptLoad,
        record_bytes: u64,
    ) -> Result<(), EvidenceError> {
        let kept_bytes = image.content.len() as u64;
        self.make_sure_of_room(file::max_bytes(kept_bytes).saturating_add(record_bytes))?;
        let header = Header { sha256: *digest, size: image.size.max(kept_bytes), kept_bytes, captured: load.at };
        let write = |out: &mut dyn io::Write| file::write(&header, &image.content, out);
        let draft = Draft::write(&self.archive.folder, Name::Image(*digest), write)?;
        let (bytes, max_bytes) = (draft.bytes.saturating_add(record_bytes), self.settings.limits.max_bytes);
        if bytes > max_bytes {
            return Err(EvidenceError::TooLarge { bytes, max_bytes });
        }
        Ok(draft.commit()?)
    }

    fn replace(&self, name: Name, content: &[u8]) -> Result<(), EvidenceError> {
        Ok(self.draft(name, content)?.commit()?)
    }

    fn draft(&self, name: Name, content: &[u8]) -> Result<Draft<'_>, EvidenceError> {
        self.make_sure_of_room(content.len() as u64)?;
        Ok(Draft::write(&self.archive.folder, name, |out| out.write_all(content))?)
    }

    fn make_sure_of_room(&self, bytes: u64) -> Result<(), EvidenceError> {
        let (free_bytes, min_free_bytes) = (self.archive.folder.free_bytes()?, self.settings.min_free_bytes);
        if free_bytes.saturating_sub(bytes) >= min_free_bytes && free_bytes >= bytes {
            return Ok(());
        }
        Err(EvidenceError::NoRoom { bytes, free_bytes, min_free_bytes })
    }

    fn hold(&mut self, digest: Digest, held: Held) {
        self.holdings.put(digest, held);
        self.totals.hold(self.holdings.bytes(), self.holdings.images());
    }

    /// Removes what is beyond the bounds. What cannot be removed hinders nothing else; the first error is the one that tells.
    fn trim(&mut self) -> Result<(), EvidenceError> {
        let surplus = self.holdings.surplus(self.clock.now_s, &self.settings.limits);
        if surplus.is_empty() {
            return Ok(());
        }
        let mut trimmed = Ok(());
        for (digest, reason) in surplus {
            trimmed = trimmed.and(self.remove(&digest, reason));
        }
        trimmed.and(self.archive.folder.sync().map_err(EvidenceError::from))
    }

    fn remove(&mut self, digest: &Digest, reason: Count) -> Result<(), EvidenceError> {
        // In this order a record without its image is never left by us.
        self.archive.folder.remove(&Name::Record(*digest).text())?;
        self.archive.folder.remove(&Name::Image(*digest).text())?;
        self.holdings.remove(digest);
        self.totals.hold(self.holdings.bytes(), self.holdings.images());
        self.totals.add(reason);
        tracing::info!(sha256 = hex(digest), reason = reason.name(), "evidence is removed");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
