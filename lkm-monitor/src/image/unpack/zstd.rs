//! The first frame of zstd (RFC 8878), block by block, so that no more than a block is decoded beyond the limit.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder, errors::FrameDecoderError};

use super::{Limits, UnpackError, Unpacked};
use crate::model::CompressionFormat;

const FORMAT: CompressionFormat = CompressionFormat::Zstd;

/// An empty block that is the last, and a checksum that nobody compares.
const LAST_BLOCK: &[u8] = &[1, 0, 0, 0, 0, 0, 0];
const BLOCK_HEAD_BYTES: usize = 3;
const MAX_BLOCK_BYTES: usize = 128 << 10;

pub(super) fn unpack(bytes: &[u8], limits: &Limits) -> Result<Unpacked, UnpackError> {
    let mut source = bytes;
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(limits.max_window_bytes.into());
    decoder.init(&mut source).map_err(|error| refused(&error, limits))?;
    let mut content = Vec::new();
    let mut is_finished = false;
    // What there is of the block in which the stream is cut.
    let mut partial_block = None;
    while !is_finished && partial_block.is_none() {
        let block = source;
        match decoder.decode_blocks(&mut source, BlockDecodingStrategy::UptoBlocks(1)) {
            Ok(was_last) => is_finished = was_last,
            Err(error) => {
                partial_block = Some(partial(block, &error).ok_or_else(|| refused(&error, limits))?);
                // The decoder lets go of what it keeps for blocks to come.
                let closed = decoder.decode_blocks(LAST_BLOCK, BlockDecodingStrategy::UptoBlocks(1));
                closed.map_err(|error| refused(&error, limits))?;
            }
        }
        // Writing to a Vec cannot fail.
        decoder.collect_to_writer(&mut content).map_err(|error| damaged(&error.to_string()))?;
        content.extend_from_slice(partial_block.unwrap_or_default());
        if content.len() > limits.max_unpacked_bytes {
            return Err(UnpackError::TooLarge { format: FORMAT, max_bytes: limits.max_unpacked_bytes });
        }
    }
    if partial_block.is_some() {
        return Ok(Unpacked { bytes: content, ignored_bytes: 0, is_cut: true });
    }
    let stated = decoder.get_checksum_from_data();
    if stated.is_some() && stated != decoder.get_calculated_checksum() {
        return Err(damaged("its checksum is that of other bytes"));
    }
    Ok(Unpacked { bytes: content, ignored_bytes: source.len(), is_cut: false })
}

/// What there is of a block that has no end, decoded: `None` if the block is whole, and so what is wrong with it is another thing.
///
/// `module_zstd_decompress` stops when its input does, without an error. Its decoder hands out a block that is stored, byte by byte
/// (`ZSTD_nextSrcSizeToDecompressWithInputSize`), and of others only whole ones.
fn partial<'data>(block: &'data [u8], error: &FrameDecoderError) -> Option<&'data [u8]> {
    const STORED: u32 = 0;
    const REPEATED: u32 = 1;
    if matches!(error, FrameDecoderError::FailedToReadChecksum(_)) {
        return Some(&[]);
    }
    let Some((&[a, b, c], body)) = block.split_first_chunk::<BLOCK_HEAD_BYTES>() else { return Some(&[]) };
    let head = u32::from_le_bytes([a, b, c, 0]);
    let (kind, size) = (head >> 1 & 3, (head >> 3) as usize);
    if size > MAX_BLOCK_BYTES {
        return None;
    }
    let body_bytes = if kind == REPEATED { 1 } else { size };
    (body.len() < body_bytes).then_some(if kind == STORED { body } else { &[] })
}

fn refused(error: &FrameDecoderError, limits: &Limits) -> UnpackError {
    match error {
        FrameDecoderError::WindowSizeTooBig { .. } => {
            UnpackError::TooMuchMemory { format: FORMAT, max_bytes: limits.max_window_bytes }
        }
        FrameDecoderError::DictNotProvided { .. } => {
            UnpackError::Unsupported { format: FORMAT, detail: "a dictionary that is not in the frame".to_owned() }
        }
        other => damaged(&other.to_string()),
    }
}

fn damaged(detail: &str) -> UnpackError {
    UnpackError::Damaged { format: FORMAT, detail: detail.to_owned() }
}
