//! Compressed modules, unpacked as `kernel/module/decompress.c` does it.
//!
//! The kernel takes one stream and never looks behind it: further members, frames and streams are no part of the module. It checks what
//! ends an xz stream and a zstd frame, and of gzip nothing: it inflates, and leaves the checksum. Which format it takes is a matter of how
//! it was built; we take each. In two things we are more lenient than it, where it refuses and we can still say what was refused: in the
//! checks of xz, and in the size that a zstd frame claims.

mod gzip;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

use crate::model::CompressionFormat;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 8];
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What one image may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the module once it is unpacked. Its buffer may be twice as large while it grows.
    pub max_unpacked_bytes: usize,
    /// Bytes of an xz dictionary or a zstd window, which a header asks for. `xz -9` has 64 MiB, a distribution's modules up to 8 MiB.
    pub max_window_bytes: u32,
}

impl Default for Limits {
    /// For modules up to 64 MiB.
    fn default() -> Self {
        Self { max_unpacked_bytes: 64 << 20, max_window_bytes: 64 << 20 }
    }
}

/// Why a compressed module could not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    #[error("the {} stream is damaged: {detail}", format.name())]
    Damaged { format: CompressionFormat, detail: String },
    #[error("the {} stream has more than {max_bytes} bytes when unpacked", format.name())]
    TooLarge { format: CompressionFormat, max_bytes: usize },
    #[error("unpacking the {} stream takes more memory than {max_bytes} bytes", format.name())]
    TooMuchMemory { format: CompressionFormat, max_bytes: u32 },
    #[error("the {} stream uses what is not supported: {detail}", format.name())]
    Unsupported { format: CompressionFormat, detail: String },
}

/// A module that was compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    pub bytes: Vec<u8>,
    /// Behind the stream.
    pub ignored_bytes: usize,
    /// A zstd stream without an end, of which the kernel takes what there is.
    pub is_cut: bool,
}

/// The format that the first bytes name. `None`: not compressed.
pub fn format_of(bytes: &[u8]) -> Option<CompressionFormat> {
    let formats = [
        (GZIP_MAGIC, CompressionFormat::Gzip),
        (XZ_MAGIC, CompressionFormat::Xz),
        (ZSTD_MAGIC, CompressionFormat::Zstd),
    ];
    formats.into_iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, format)| format)
}

/// Unpacks the first stream.
pub fn unpack(bytes: &[u8], format: CompressionFormat, limits: &Limits) -> Result<Unpacked, UnpackError> {
    match format {
        CompressionFormat::Gzip => gzip::unpack(bytes, limits),
        CompressionFormat::Xz => xz::unpack(bytes, limits),
        CompressionFormat::Zstd => zstd::unpack(bytes, limits),
    }
}
