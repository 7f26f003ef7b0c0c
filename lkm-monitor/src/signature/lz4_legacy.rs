//! The legacy frame of LZ4, which `lz4 -l` writes and kernels are packed in (lz4_Frame_format.md, "Legacy frame").
//!
//! ```text
//! 0x184c2102 u32 | { bytes u32 | block }*
//! ```
//!
//! All little endian. The kernel's build puts the length of what is packed behind it (`size_append`, scripts/Makefile.lib).

use std::{
    io::{self, Read},
    ops::Range,
};

pub(super) const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// Unpacked, of each block but the last.
const BLOCK_BYTES: usize = 8 << 20;
/// What a block that cannot be packed takes (`LZ4_COMPRESSBOUND`).
const MAX_PACKED_BYTES: u32 = (BLOCK_BYTES + BLOCK_BYTES / 255 + 16) as u32;

/// What a frame holds, block by block. The magic number has been read.
pub(super) struct Lz4Legacy<R> {
    frame: R,
    packed: Vec<u8>,
    /// As long as the longest block.
    unpacked: Vec<u8>,
    /// Where in it the bytes are that nobody has read.
    unread: Range<usize>,
}

impl<R: Read> Lz4Legacy<R> {
    pub(super) fn new(frame: R) -> Self {
        Self { frame, packed: Vec::new(), unpacked: vec![0; BLOCK_BYTES], unread: 0..0 }
    }

    /// Whether there was another block.
    fn next(&mut self) -> io::Result<bool> {
        let mut bytes = Vec::new();
        self.frame.by_ref().take(4).read_to_end(&mut bytes)?;
        let Ok(bytes) = <[u8; 4]>::try_from(bytes) else { return Ok(false) };
        let packed_bytes = u32::from_le_bytes(bytes);
        self.packed.clear();
        self.frame.by_ref().take(u64::from(packed_bytes.min(MAX_PACKED_BYTES))).read_to_end(&mut self.packed)?;
        // With nothing behind it, the number was the whole length.
        if self.packed.is_empty() {
            return Ok(false);
        }
        if self.packed.len() as u64 != u64::from(packed_bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a block of LZ4 has another length than it says"));
        }
        let unpacked_bytes = lz4_flex::block::decompress_into(&self.packed, &mut self.unpacked)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.unread = 0..unpacked_bytes;
        Ok(true)
    }
}

impl<R: Read> Read for Lz4Legacy<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let read = self.unpacked.get(self.unread.clone()).unwrap_or_default().read(buffer)?;
        self.unread.start += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame of blocks without its magic number.
    fn frame(blocks: &[&[u8]]) -> Vec<u8> {
        let packed = blocks.iter().map(|block| lz4_flex::block::compress(block));
        packed.flat_map(|block| [&(block.len() as u32).to_le_bytes()[..], &block].concat()).collect()
    }

    fn unpack(frame: &[u8]) -> io::Result<Vec<u8>> {
        let mut unpacked = Vec::new();
        Lz4Legacy::new(frame).read_to_end(&mut unpacked).map(|_| unpacked)
    }

    #[test]
    fn the_length_behind_the_last_block_is_no_block() {
        let frame = [&frame(&[&[7; BLOCK_BYTES], b"the end"])[..], &(BLOCK_BYTES as u32 + 7).to_le_bytes()].concat();
        let unpacked = unpack(&frame).unwrap();
        assert_eq!((unpacked.len(), &unpacked[BLOCK_BYTES..]), (BLOCK_BYTES + 7, &b"the end"[..]));
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn a_block_that_is_not_whole_or_too_long_is_an_error() {
        let frame = frame(&[b"a block of some bytes"]);
        for end in 5..frame.len() {
            assert_eq!(unpack(&frame[..end]).unwrap_err().kind(), io::ErrorKind::InvalidData, "{end}");
        }
        let too_long = lz4_flex::block::compress(&vec![7; BLOCK_BYTES + 1]);
        let too_long = [&(too_long.len() as u32).to_le_bytes()[..], &too_long].concat();
        assert_eq!(unpack(&too_long).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut endless = Lz4Legacy::new(io::Read::chain(&[0xff; 4][..], io::repeat(0)));
        assert_eq!(endless.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(endless.packed.len(), MAX_PACKED_BYTES as usize);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_packed_is_unpacked(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 0..5)) {
            let frame = frame(&blocks.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(unpack(&frame).unwrap(), blocks.concat());
        }

        #[test]
        fn no_bytes_are_a_panic(mut frame: Vec<u8>) {
            let _ = unpack(&frame);
            frame.splice(0..0, (frame.len() as u32).to_le_bytes());
            let _ = unpack(&frame);
        }
    }
}
