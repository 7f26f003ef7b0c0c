//! The first stream of xz.

use std::io::{ErrorKind, Read as _};

use lzma_rust2::XzReader;

use super::{Limits, UnpackError, Unpacked};
use crate::model::CompressionFormat;

const FORMAT: CompressionFormat = CompressionFormat::Xz;

/// What a decoder takes besides its dictionary.
const DECODER_KIB: u32 = 1 << 10;

pub(super) fn unpack(bytes: &[u8], limits: &Limits) -> Result<Unpacked, UnpackError> {
    let limit_kib = limits.max_window_bytes.div_ceil(1 << 10).saturating_add(DECODER_KIB);
    let mut reader = XzReader::new_mem_limit(bytes, false, limit_kib);
    let mut content = Vec::new();
    let read = reader.by_ref().take(limits.max_unpacked_bytes as u64 + 1).read_to_end(&mut content);
    if let Err(error) = read {
        let detail = error.to_string();
        return Err(match error.kind() {
            ErrorKind::OutOfMemory => UnpackError::TooMuchMemory { format: FORMAT, max_bytes: limits.max_window_bytes },
            ErrorKind::Unsupported => UnpackError::Unsupported { format: FORMAT, detail },
            _ => UnpackError::Damaged { format: FORMAT, detail },
        });
    }
    if content.len() > limits.max_unpacked_bytes {
        return Err(UnpackError::TooLarge { format: FORMAT, max_bytes: limits.max_unpacked_bytes });
    }
    Ok(Unpacked { bytes: content, ignored_bytes: reader.into_inner().len(), is_cut: false })
}
