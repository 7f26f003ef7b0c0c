//! What a daemon finds in the folder when it starts.

use super::{
    super::{clock::MAX_CLOCK_BYTES, listing::Listing},
    *,
};
use crate::model::text::brief;

impl Store {
    /// Takes note of all that is there. What cannot be read is told, and is no reason not to keep what comes.
    pub(super) fn survey(&mut self) -> Result<(), EvidenceError> {
        let listing = Listing::read(&self.archive.folder)?;
        self.clear(&listing);
        self.read_clock();
        let mut orphans = Orphans { adopted: 0, left_out: 0 };
        let mut found: Vec<_> = listing.digests().map(|digest| self.find(digest, &mut orphans)).collect();
        self.settle(&orphans);
        found.sort_unstable_by_key(|(held, last_seen, _)| (held.seen_s, *last_seen));
        for (held, _, digest) in found {
            self.hold(digest, held);
        }
        Ok(())
    }

    /// Removes what a crash left, and tells what is not ours.
    fn clear(&self, listing: &Listing) {
        for new in &listing.new {
            match self.archive.folder.remove(new) {
                Ok(()) => tracing::info!(file = new, "the daemon died while it wrote this file, which is removed"),
                Err(error) => tracing::warn!(%error, "a file that was not finished stays"),
            }
        }
        let strangers = &listing.strangers;
        if strangers.number > 0 {
            let names: Vec<String> = strangers.shown.iter().map(|name| brief(name)).collect();
            tracing::warn!(
                number = strangers.number,
                ?names,
                "files that are not evidence lie with it, and are left alone"
            );
        }
        if listing.is_cut {
            tracing::warn!("there are too many files with the evidence: not all of them are looked at");
        }
    }

    /// A clock that is lost begins anew: evidence is kept the longer.
    fn read_clock(&mut self) {
        let json = match self.archive.folder.read_file(Name::Clock, MAX_CLOCK_BYTES) {
            Err(error) if error.is_not_found() => return,
            json => json,
        };
        match json.map(|json| Clock::decode(&json)) {
            Ok(Some(clock)) => self.clock = clock,
            Ok(None) => tracing::warn!("the clock of evidence is damaged, and begins anew"),
            Err(error) => tracing::warn!(%error, "the clock of evidence begins anew"),
        }
    }

    /// What is there of one image, and what the wall clock showed when it was last seen.
    fn find(&self, digest: Digest, orphans: &mut Orphans) -> (Held, jiff::Timestamp, Digest) {
        let size = |name| match self.archive.folder.size(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%error, "evidence is not complete");
                0
            }
        };
        let image_bytes = size(Name::Image(digest));
        let record = match self.archive.record(&digest) {
            Err(ArchiveError::Folder(error)) if error.is_not_found() => {
                if orphans.adopted >= self.settings.limits.max_images {
                    orphans.left_out += 1;
                    // What nothing is known of goes first.
                    let held = Held { image_bytes, record_bytes: 0, seen_s: 0, ran: false };
                    return (held, jiff::Timestamp::MIN, digest);
                }
                self.adopt(&digest, orphans)
            }
            record => record,
        };
        let now_s = self.clock.now_s;
        // A later time is from before the clock was lost, or made up. Nothing is kept for ever.
        let (seen_s, last_seen, ran) = match record {
            Ok(record) => (record.seen_s.min(now_s), record.last_seen, record.ran),
            Err(error) => {
                tracing::warn!(sha256 = hex(&digest), %error, "evidence has no record");
                (now_s, jiff::Timestamp::MAX, true)
            }
        };
        (Held { image_bytes, record_bytes: size(Name::Record(digest)), seen_s, ran }, last_seen, digest)
    }

    /// Makes the record of an image that was written just before a crash. Of its loads nothing is known. The folder is synced later, for all.
    fn adopt(&self, digest: &Digest, orphans: &mut Orphans) -> Result<Record, ArchiveError> {
        let header = self.archive.header(digest)?;
        let mut record = Record::new(digest, (header.size, header.kept_bytes), header.captured);
        record.seen_s = self.clock.now_s;
        // It may have: what ran and brought the host down is worth most.
        record.ran = true;
        let json = record.encode()?;
        orphans.adopted += 1;
        match self.draft(Name::Record(*digest), &json).and_then(|draft| Ok(draft.place()?)) {
            Ok(()) => Ok(record),
            Err(EvidenceError::Folder(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "the record of evidence is not written");
                Ok(record)
            }
        }
    }

    fn settle(&self, orphans: &Orphans) {
        if orphans.left_out > 0 {
            tracing::warn!(
                number = orphans.left_out,
                "there are more images without a record than images are kept: these go first"
            );
        }
        if orphans.adopted > 0
            && let Err(error) = self.archive.folder.sync()
        {
            tracing::warn!(%error, "the records of evidence may be lost again");
        }
    }
}

/// Images without a record. A crash leaves one. More are somebody's work, who lets us wait for the disk once for each that is adopted.
struct Orphans {
    adopted: u64,
    left_out: u64,
}
