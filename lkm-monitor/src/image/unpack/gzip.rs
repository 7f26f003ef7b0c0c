//! The first member of gzip (RFC 1952), as `module_gzip_decompress` inflates it.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Limits, UnpackError, Unpacked};
use crate::model::CompressionFormat;

const FORMAT: CompressionFormat = CompressionFormat::Gzip;

/// Bytes of a header without optional parts, and the flag that says that the name of a file follows.
const HEAD_BYTES: usize = 10;
const HAS_NAME: u8 = 8;
/// CRC32 and length, at the end.
pub(super) const TAIL_BYTES: usize = 8;

const STEP_BYTES: usize = 64 << 10;

pub(super) fn unpack(bytes: &[u8], limits: &Limits) -> Result<Unpacked, UnpackError> {
    let damaged = |detail: &str| UnpackError::Damaged { format: FORMAT, detail: detail.to_owned() };
    let stream = deflated(bytes).ok_or_else(|| damaged("its header has no end"))?;
    let mut inflate = Decompress::new(false);
    let mut content = Vec::new();
    loop {
        // Both are below the length of a slice.
        let (taken, given) = (inflate.total_in() as usize, inflate.total_out());
        content.reserve(STEP_BYTES);
        let rest = stream.get(taken..).unwrap_or_default();
        let status = inflate.decompress_vec(rest, &mut content, FlushDecompress::None);
        if content.len() > limits.max_unpacked_bytes {
            return Err(UnpackError::TooLarge { format: FORMAT, max_bytes: limits.max_unpacked_bytes });
        }
        match status {
            Ok(Status::StreamEnd) => break,
            Ok(_) if inflate.total_in() as usize == taken && inflate.total_out() == given => {
                return Err(damaged("it has no end"));
            }
            Ok(_) => {}
            Err(error) => return Err(damaged(&error.to_string())),
        }
    }
    let behind = stream.len().saturating_sub(inflate.total_in() as usize);
    Ok(Unpacked { bytes: content, ignored_bytes: behind.saturating_sub(TAIL_BYTES), is_cut: false })
}

/// What is behind the header, as `module_gzip_header_len` finds it: of the optional parts it knows the file's name.
fn deflated(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    if head.get(3)? & HAS_NAME == 0 {
        return Some(rest);
    }
    let end = memchr::memchr(0, rest)?;
    rest.get(end + 1..)
}
