//! What stands in front of an image.
//!
//! ```text
//! magic 7 | version u8 | sha256 32 | size u64 | kept_bytes u64 | captured_ms i64 | crc32 u32
//! ```
//!
//! All little endian. What an attacker wrote to be loaded must not lie about ready to be loaded, whatever somebody renames the file to.
//! The kernel, insmod and modprobe look at the first bytes alone: they want `\x7fELF`, or the magic of gzip, xz or zstd in front of it
//! (kernel/module/main.c, `elf_validity_check`; kernel/module/decompress.c; libkmod-file.c), and binfmt_elf wants `\x7fELF`. Ours is none
//! of these. It begins with a byte that is no text and ends with a zero, by which bash knows that a file is no script.

use jiff::Timestamp;

use super::{file::FileError, name::Digest};

/// The longest image that is kept, and that is believed to be in a file.
pub const MAX_IMAGE_BYTES: u64 = 64 << 20;

pub(super) const HEADER_BYTES: usize = 68;
const MAGIC: [u8; 7] = *b"\x89LKMEV\0";
const VERSION: u8 = 1;

/// What a file says of the image in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the bytes that are kept.
    pub sha256: Digest,
    /// Bytes that the image had.
    pub size: u64,
    /// Bytes of it that are kept, from its beginning.
    pub kept_bytes: u64,
    /// When it was loaded first, to the millisecond, by the wall clock.
    pub captured: Timestamp,
}

impl Header {
    /// Whether all of the image is there.
    pub const fn is_whole(&self) -> bool {
        self.kept_bytes == self.size
    }

    /// [`HEADER_BYTES`] bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoded = [MAGIC.as_slice(), &[VERSION], &self.sha256].concat();
        encoded.extend_from_slice(&self.size.to_le_bytes());
        encoded.extend_from_slice(&self.kept_bytes.to_le_bytes());
        encoded.extend_from_slice(&self.captured.as_millisecond().to_le_bytes());
        encoded.extend_from_slice(&crc32fast::hash(&encoded).to_le_bytes());
        encoded
    }

    /// What [`Self::encode`] wrote.
    pub(super) fn decode(encoded: &[u8; HEADER_BYTES]) -> Result<Self, FileError> {
        let (content, crc) = encoded.split_last_chunk::<4>().ok_or(FileError::Header)?;
        let (version, rest) = content.strip_prefix(&MAGIC).and_then(<[u8]>::split_first).ok_or(FileError::Magic)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return Err(FileError::Header);
        }
        if *version != VERSION {
            return Err(FileError::Version { version: *version });
        }
        let (sha256, rest) = rest.split_first_chunk::<32>().ok_or(FileError::Header)?;
        let (size, rest) = rest.split_first_chunk::<8>().ok_or(FileError::Header)?;
        let (kept_bytes, rest) = rest.split_first_chunk::<8>().ok_or(FileError::Header)?;
        let captured_ms = i64::from_le_bytes(rest.try_into().map_err(|_| FileError::Header)?);
        let header = Self {
            sha256: *sha256,
            size: u64::from_le_bytes(*size),
            kept_bytes: u64::from_le_bytes(*kept_bytes),
            captured: Timestamp::from_millisecond(captured_ms).map_err(|_| FileError::Header)?,
        };
        let is_possible = header.kept_bytes <= header.size && header.kept_bytes <= MAX_IMAGE_BYTES;
        if is_possible { Ok(header) } else { Err(FileError::Header) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_header()(
            sha256: Digest, kept_bytes in 0..=MAX_IMAGE_BYTES, more: u32, ms in -62_135_596_800_000_i64..253_402_200_000_000,
        ) -> Header {
            let captured = Timestamp::from_millisecond(ms).unwrap();
            Header { sha256, size: kept_bytes + u64::from(more), kept_bytes, captured }
        }
    }

    fn encoded(header: &Header) -> [u8; HEADER_BYTES] {
        header.encode().try_into().unwrap()
    }

    /// With the checksum that these bytes have.
    fn sealed(mut encoded: [u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
        let (content, crc) = encoded.split_last_chunk_mut::<4>().unwrap();
        *crc = crc32fast::hash(content).to_le_bytes();
        encoded
    }

    #[test]
    fn nothing_that_loads_or_unpacks_takes_it() {
        let header = Header { sha256: [0; 32], size: 1, kept_bytes: 1, captured: Timestamp::UNIX_EPOCH };
        let encoded = encoded(&header);
        let taken: [&[u8]; 9] =
            [b"\x7fELF", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"BZh", b"PK", b"MZ", b"#!", b"\x1f\x9d"];
        assert!(taken.iter().all(|magic| !encoded.starts_with(magic)));
        assert!(str::from_utf8(&encoded).is_err() && encoded[..8].contains(&0) && !encoded[..8].contains(&b'\n'));
    }

    #[test]
    fn what_cannot_be_is_refused_though_its_checksum_is_right() {
        let header = Header { sha256: [7; 32], size: 10, kept_bytes: 10, captured: Timestamp::UNIX_EPOCH };
        let changed = |change: fn(&mut Header)| {
            let mut header = header.clone();
            change(&mut header);
            Header::decode(&encoded(&header))
        };
        assert!(matches!(changed(|header| header.size = 9), Err(FileError::Header)), "more kept than there was");
        let too_long = changed(|header| (header.size, header.kept_bytes) = (1 << 40, MAX_IMAGE_BYTES + 1));
        assert!(matches!(too_long, Err(FileError::Header)));
        assert!(changed(|header| header.size = u64::MAX).is_ok_and(|header| !header.is_whole()));
        let mut newer = encoded(&header);
        newer[7] = 2;
        assert!(matches!(Header::decode(&sealed(newer)), Err(FileError::Version { version: 2 })));
        let mut late = encoded(&header);
        late[56..64].copy_from_slice(&i64::MAX.to_le_bytes());
        assert!(matches!(Header::decode(&sealed(late)), Err(FileError::Header)), "no such time");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(header in any_header()) {
            prop_assert_eq!(Header::decode(&encoded(&header)).unwrap(), header);
        }

        #[test]
        fn each_flipped_bit_is_found(header in any_header(), at in 0..HEADER_BYTES, bit in 0..8_u8) {
            let mut encoded = encoded(&header);
            encoded[at] ^= 1 << bit;
            prop_assert!(Header::decode(&encoded).is_err());
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), HEADER_BYTES), ours: bool) {
            let mut encoded: [u8; HEADER_BYTES] = bytes.try_into().unwrap();
            let _ = Header::decode(&encoded);
            if ours {
                encoded[..7].copy_from_slice(&MAGIC);
                encoded[7] = VERSION;
            }
            if let Ok(header) = Header::decode(&sealed(encoded)) {
                prop_assert!(header.kept_bytes <= MAX_IMAGE_BYTES && header.kept_bytes <= header.size);
            }
        }
    }
}
