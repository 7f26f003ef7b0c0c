//! The kernel inside a kernel image, unpacked as a stream (arch/x86/boot/compressed/Makefile).

use std::io::{self, Read};

use flate2::read::GzDecoder;
use lzma_rust2::{LzmaReader, XzReader};
use ruzstd::decoding::{StreamingDecoder, errors::FrameDecoderError};

use super::lz4_legacy::{self, Lz4Legacy};

/// How far a packing may refer back, which is how much of what it unpacks to is kept. Kernels are packed with 128 MiB at most
/// (scripts/xz_wrap.sh; `zstd --ultra -22` in scripts/Makefile.lib).
const MAX_HISTORY_BYTES: u64 = 128 << 20;
/// With what the decoder of xz and lzma takes besides.
const MAX_DICTIONARY_KIB: u32 = (MAX_HISTORY_BYTES >> 10) as u32 + 2048;

/// Of the longest magic number.
const MAGIC_BYTES: u64 = 6;

/// Why a payload cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayloadError {
    #[error("the kernel inside is packed with {0}, which is not supported")]
    Unsupported(&'static str),
    #[error("the kernel inside is packed in a way that is not known")]
    Unknown,
    #[error("the kernel inside is packed such that more than {MAX_HISTORY_BYTES} bytes would have to be kept")]
    History,
    #[error("the kernel inside is damaged: {0}")]
    Damaged(#[from] io::Error),
}

/// The stream that a payload unpacks to. It keeps as much of it as the packing refers back to: 8 MiB with LZ4, at most
/// [`MAX_HISTORY_BYTES`] with others.
pub(super) fn unpack<'a>(mut payload: impl Read + 'a) -> Result<Box<dyn Read + 'a>, PayloadError> {
    let mut magic = Vec::new();
    payload.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic)?;
    let mut whole = io::Cursor::new(magic.clone()).chain(payload);
    Ok(match magic[..] {
        [0x1f, 0x8b, ..] => Box::new(GzDecoder::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(XzReader::new_mem_limit(whole, false, MAX_DICTIONARY_KIB)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd(whole)?),
        [0x5d, 0, 0, ..] => Box::new(LzmaReader::new_mem_limit(whole, MAX_DICTIONARY_KIB, None)?),
        [a, b, c, d, ..] if [a, b, c, d] == lz4_legacy::MAGIC => {
            whole.read_exact(&mut [0; lz4_legacy::MAGIC.len()])?;
            Box::new(Lz4Legacy::new(whole))
        }
        [0x7f, b'E', b'L', b'F', ..] => Box::new(whole),
        [0x89, b'L', b'Z', b'O', ..] => return Err(PayloadError::Unsupported("LZO")),
        [b'B', b'Z', b'h', ..] => return Err(PayloadError::Unsupported("bzip2")),
        _ => return Err(PayloadError::Unknown),
    })
}

fn zstd(frame: impl Read) -> Result<impl Read, PayloadError> {
    StreamingDecoder::new_with_max_window_size(frame, MAX_HISTORY_BYTES).map_err(|error| match error {
        FrameDecoderError::WindowSizeTooBig { .. } => PayloadError::History,
        error => io::Error::other(error).into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lzma_rust2::{LzmaOptions, LzmaWriter, XzOptions, XzWriter};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn xz(content: &[u8]) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn lzma(content: &[u8]) -> Vec<u8> {
        let mut writer = LzmaWriter::new_use_header(Vec::new(), &LzmaOptions::with_preset(1), None).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn lz4(content: &[u8]) -> Vec<u8> {
        let block = lz4_flex::block::compress(content);
        [&lz4_legacy::MAGIC[..], &(block.len() as u32).to_le_bytes(), &block].concat()
    }

    fn none(content: &[u8]) -> Vec<u8> {
        [b"\x7fELF", content].concat()
    }

    fn unpacked(payload: &[u8]) -> Result<Vec<u8>, PayloadError> {
        let mut content = Vec::new();
        unpack(payload)?.take(1 << 20).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn every_packing_of_a_kernel_is_unpacked() {
        let content = b"kernel ".repeat(1000);
        // All but gzip have the kernel's length behind them.
        let length = (content.len() as u32).to_le_bytes();
        for pack in [xz, lzma, zstd, lz4] {
            assert_eq!(unpacked(&[&pack(&content)[..], &length].concat()).unwrap(), content);
        }
        assert_eq!(unpacked(&gzip(&content)).unwrap(), content);
        assert_eq!(unpacked(&none(&content)).unwrap(), none(&content));
    }

    /// The descriptor of a window of [`MAX_HISTORY_BYTES`] (RFC 8878, 3.1.1.1.2).
    const MAX_WINDOW_DESCRIPTOR: u8 = 17 << 3;
    /// A frame with this flag has no window: everything is kept.
    const SINGLE_SEGMENT: u8 = 1 << 5;

    #[test]
    fn what_would_keep_too_much_is_refused() {
        // The last block, of six bytes as they are.
        let block = [&[6 << 3 | 1, 0, 0][..], b"kernel"].concat();
        let frame = |head: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd], head, &block].concat();
        let is_refused = |payload: &[u8]| matches!(unpacked(payload), Err(PayloadError::History));
        assert_eq!(unpacked(&frame(&[0, MAX_WINDOW_DESCRIPTOR])).unwrap(), b"kernel");
        assert!(is_refused(&frame(&[0, MAX_WINDOW_DESCRIPTOR + 1])));
        // A content size of one byte, and of four.
        assert_eq!(unpacked(&frame(&[SINGLE_SEGMENT, 6])).unwrap(), b"kernel");
        let four = |size: u32| frame(&[&[SINGLE_SEGMENT | 2 << 6][..], &size.to_le_bytes()].concat());
        assert!(is_refused(&four(MAX_HISTORY_BYTES as u32 + 1)));
        assert!(!is_refused(&four(MAX_HISTORY_BYTES as u32)));
        // A dictionary of nearly 4 GiB.
        let lzma = [&[0x5d, 0, 0, 0, 0xf0][..], &[0xff; 8], &[0; 20]].concat();
        assert!(unpacked(&lzma).unwrap_err().to_string().contains("memory"));
    }

    #[test]
    fn what_cannot_be_unpacked_is_told() {
        let error = |payload: &[u8]| unpacked(payload).unwrap_err().to_string();
        assert_eq!(error(b"\x89LZO\0\r\n"), "the kernel inside is packed with LZO, which is not supported");
        assert_eq!(error(b"BZh91AY"), "the kernel inside is packed with bzip2, which is not supported");
        assert_eq!(error(b"anything"), "the kernel inside is packed in a way that is not known");
        assert_eq!(error(b""), "the kernel inside is packed in a way that is not known");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_are_a_panic(kind in 0..6_usize, at: prop::sample::Index, byte: u8, bytes: Vec<u8>) {
            let mut payload = [gzip, xz, lzma, zstd, lz4, none][kind](b"kernel");
            let at = at.index(payload.len());
            let _ = unpacked(&payload[..at]);
            let _ = unpacked(&[&payload[..at], &bytes].concat());
            payload[at] = byte;
            let _ = unpacked(&payload);
        }
    }
}
