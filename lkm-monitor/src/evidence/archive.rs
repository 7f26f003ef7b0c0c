//! Reading the folder: beside a running daemon, and where somebody has copied it to.

use std::{
    io::{self, Write},
    path::Path,
    thread,
    time::Duration,
};

use super::{
    file::{self, FileError},
    folder::{Folder, FolderError},
    header::Header,
    listing::{Listing, Strangers},
    name::{Digest, Name},
    record::{MAX_RECORD_BYTES, Record, RecordError},
};
use crate::model::text::{hex, text};

/// Digits by which an image is found.
const MIN_DIGITS: usize = 8;
/// What has no counterpart is looked at so often, with so long in between: a daemon may be at work at it, time and again.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Why an image or its record is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("the image: {0}")]
    KeptImage(#[from] FileError),
    #[error("the image: the file has the name of another one")]
    Misnamed,
    #[error("there is a record, and no image")]
    NoImage,
    #[error("there is an image, and no record")]
    NoRecord,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("`{digits}` is not the beginning of a hash: {MIN_DIGITS} to 64 hexadecimal digits are")]
    NoDigits { digits: String },
    #[error("there is no image whose hash begins with {digits}")]
    NotFound { digits: String },
    #[error("{number} images have a hash that begins with {digits}")]
    Ambiguous { digits: String, number: usize },
}

impl ArchiveError {
    fn is_not_found(&self) -> bool {
        match self {
            Self::NoImage | Self::NoRecord => true,
            Self::Folder(error) => error.is_not_found(),
            _ => false,
        }
    }
}

/// The folder, to read.
#[derive(Debug)]
pub struct Archive {
    pub(super) folder: Folder,
}

impl Archive {
    /// Opens the folder, which may be anybody's.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Ok(Self { folder: Folder::open_to_read(path)? })
    }

    /// The hashes of all images and records, in order.
    pub fn digests(&self) -> Result<Vec<Digest>, ArchiveError> {
        Ok(Listing::read(&self.folder)?.digests().collect())
    }

    /// Files that are neither.
    pub fn strangers(&self) -> Result<Strangers, ArchiveError> {
        Ok(Listing::read(&self.folder)?.strangers)
    }

    /// The only image or record whose hash begins with these digits.
    pub fn find(&self, digits: &str) -> Result<Digest, ArchiveError> {
        let shown = || text(digits.as_bytes());
        let wanted = digits.to_ascii_lowercase();
        if !(MIN_DIGITS..=64).contains(&wanted.len()) || !wanted.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ArchiveError::NoDigits { digits: shown() });
        }
        let found: Vec<_> =
            self.digests()?.into_iter().filter(|digest| hex(digest).starts_with(wanted.as_str())).collect();
        match found.as_slice() {
            [digest] => Ok(*digest),
            [] => Err(ArchiveError::NotFound { digits: shown() }),
            several => Err(ArchiveError::Ambiguous { digits: shown(), number: several.len() }),
        }
    }

    /// What is said of an image. The image itself is not looked at.
    pub fn header(&self, digest: &Digest) -> Result<Header, ArchiveError> {
        let (file, _) = self.folder.open_file(Name::Image(*digest))?;
        named(file::read_header(file)?, digest)
    }

    /// Writes the image to `out`. Only if this returns no error is what was written the image.
    pub fn image(&self, digest: &Digest, out: &mut impl Write) -> Result<Header, ArchiveError> {
        let (file, metadata) = self.folder.open_file(Name::Image(*digest))?;
        named(file::read(file, metadata.len(), out)?, digest)
    }

    /// The record of an image.
    pub fn record(&self, digest: &Digest) -> Result<Record, ArchiveError> {
        let json = self.folder.read_file(Name::Record(*digest), MAX_RECORD_BYTES + 1)?;
        Ok(Record::decode(&json, digest)?)
    }

    /// Looks at every bit of these, and tells each problem. What is gone by now is none.
    pub fn verify(&self, digests: &[Digest], mut problem: impl FnMut(&Digest, &ArchiveError)) {
        let mut unsettled = digests.to_vec();
        for look in 1..=LOOKS {
            unsettled.retain(|digest| {
                let problems = self.problems(digest);
                let is_unsettled = look < LOOKS && problems.iter().any(ArchiveError::is_not_found);
                if !is_unsettled {
                    problems.iter().for_each(|error| problem(digest, error));
                }
                is_unsettled
            });
            if unsettled.is_empty() {
                return;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    fn problems(&self, digest: &Digest) -> Vec<ArchiveError> {
        let (image, record) = (self.image(digest, &mut io::sink()), self.record(digest));
        let is_gone = |error: &ArchiveError| error.is_not_found();
        match (image.err(), record.err()) {
            (Some(image), Some(record)) if is_gone(&image) && is_gone(&record) => Vec::new(),
            (Some(image), record) if is_gone(&image) => {
                [Some(ArchiveError::NoImage), record].into_iter().flatten().collect()
            }
            (image, Some(record)) if is_gone(&record) => {
                [image, Some(ArchiveError::NoRecord)].into_iter().flatten().collect()
            }
            (image, record) => [image, record].into_iter().flatten().collect(),
        }
    }
}

fn named(header: Header, digest: &Digest) -> Result<Header, ArchiveError> {
    if header.sha256 == *digest { Ok(header) } else { Err(ArchiveError::Misnamed) }
}

#[cfg(test)]
mod tests;
