//! The file of an image.
//!
//! ```text
//! header | image, as a raw deflate stream (RFC 1951) | crc32 u32 of all before it
//! ```
//!
//! Deflate, because of what builds without a C compiler it packs modules better and faster than zstd does, its reader needs 32 KiB whatever
//! a hostile file says, and a raw stream has no magic by which something would recognise it.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use flate2::{Compression, bufread::DeflateDecoder, write::DeflateEncoder};
use sha2::{Digest as _, Sha256};

use super::header::{HEADER_BYTES, Header};

/// A module of some megabytes takes tens of milliseconds. The best level takes three times as long, for a thirtieth less.
const LEVEL: Compression = Compression::new(3);
const CRC_BYTES: usize = 4;
const CHUNK_BYTES: usize = 64 << 10;

/// Why a file is not the evidence that it is said to be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("the image cannot be written: {0}")]
    Write(io::Error),
    #[error("it does not begin as evidence does")]
    Magic,
    #[error("it is of version {version}, which this program does not know")]
    Version { version: u8 },
    #[error("its header is damaged")]
    Header,
    #[error("it is cut short")]
    Cut,
    #[error("its content is damaged")]
    Damaged,
    #[error("it holds more than its header says")]
    TooLong,
    #[error("its content is not the image whose hash its header has")]
    OtherImage,
}

/// Bytes that the file of an image can have at the most, with header and checksum.
pub(super) const fn max_bytes(image_bytes: u64) -> u64 {
    // What cannot be packed is stored in blocks of some ten thousand bytes with five bytes in front of each.
    image_bytes + image_bytes / 1024 + 1024
}

/// Writes the file of an image.
pub(super) fn write(header: &Header, image: &[u8], out: impl Write) -> io::Result<()> {
    let mut out = Checksummed::new(out);
    out.write_all(&header.encode())?;
    let mut encoder = DeflateEncoder::new(out, LEVEL);
    encoder.write_all(image)?;
    let Checksummed { inner: mut out, crc } = encoder.finish()?;
    out.write_all(&crc.finalize().to_le_bytes())?;
    out.flush()
}

/// The header of a file.
pub(super) fn read_header(mut file: impl Read) -> Result<Header, FileError> {
    let mut encoded = [0; HEADER_BYTES];
    file.read_exact(&mut encoded).map_err(read_error)?;
    Header::decode(&encoded)
}

/// Writes the image in a file of `len` bytes to `out`, and checks every bit of the file. Never writes more than the header says. What was
/// written is the image only if this returns no error.
pub(super) fn read(mut file: impl Read, len: u64, out: &mut impl Write) -> Result<Header, FileError> {
    let body_bytes = len.checked_sub(CRC_BYTES as u64).ok_or(FileError::Cut)?;
    let mut body = Checksummed::new((&mut file).take(body_bytes));
    let header = read_header(&mut body)?;
    // Blocks without a byte in them keep a reader busy for as long as there are some.
    if len > max_bytes(header.kept_bytes) {
        return Err(FileError::TooLong);
    }
    let mut decoder = DeflateDecoder::new(BufReader::with_capacity(CHUNK_BYTES, body));
    let mut hash = Sha256::new();
    let mut left = header.kept_bytes;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let bytes = match decoder.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unpack_error(error)),
        };
        left = left.checked_sub(bytes as u64).ok_or(FileError::TooLong)?;
        let bytes = chunk.get(..bytes).unwrap_or_default();
        hash.update(bytes);
        out.write_all(bytes).map_err(FileError::Write)?;
    }
    let mut rest = decoder.into_inner();
    // Nothing hides behind the end of the stream.
    if !rest.fill_buf().map_err(read_error)?.is_empty() {
        return Err(FileError::Damaged);
    }
    let Checksummed { crc, .. } = rest.into_inner();
    let mut expected = [0; CRC_BYTES];
    file.read_exact(&mut expected).map_err(read_error)?;
    if crc.finalize() != u32::from_le_bytes(expected) {
        return Err(FileError::Damaged);
    }
    if left > 0 || hash.finalize() != header.sha256 {
        return Err(FileError::OtherImage);
    }
    Ok(header)
}

fn read_error(error: io::Error) -> FileError {
    if error.kind() == io::ErrorKind::UnexpectedEof { FileError::Cut } else { FileError::Read(error) }
}

/// The decoder names what is no deflate stream by one of these kinds.
fn unpack_error(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => FileError::Damaged,
        _ => read_error(error),
    }
}

/// Takes the checksum of what passes through.
struct Checksummed<T> {
    inner: T,
    crc: crc32fast::Hasher,
}

impl<T> Checksummed<T> {
    fn new(inner: T) -> Self {
        Self { inner, crc: crc32fast::Hasher::new() }
    }
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Checksummed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.crc.update(bytes.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
