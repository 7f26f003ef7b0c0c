use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    super::{header::MAX_IMAGE_BYTES, name::Digest},
    *,
};

fn header(image: &[u8]) -> Header {
    let bytes = image.len() as u64;
    let captured = Timestamp::from_millisecond(1_750_000_000_123).unwrap();
    Header { sha256: Sha256::digest(image).into(), size: bytes, kept_bytes: bytes, captured }
}

fn file_with(header: &Header, image: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    write(header, image, &mut file).unwrap();
    file
}

fn file(image: &[u8]) -> Vec<u8> {
    file_with(&header(image), image)
}

fn unpacked(file: &[u8]) -> Result<(Header, Vec<u8>), FileError> {
    let mut image = Vec::new();
    read(file, file.len() as u64, &mut image).map(|header| (header, image))
}

/// With the checksum that the rest has.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - CRC_BYTES;
    let crc = crc32fast::hash(&file[..end]);
    file[end..].copy_from_slice(&crc.to_le_bytes());
    file
}

fn any_image() -> impl Strategy<Value = Vec<u8>> {
    let packs = (any::<u8>(), 0..200_000_usize).prop_map(|(byte, bytes)| vec![byte; bytes]);
    prop_oneof![prop::collection::vec(any::<u8>(), 0..3000), packs]
}

#[test]
fn a_bomb_is_stopped_where_the_header_says() {
    let bomb = vec![0; 200 << 10];
    let header = Header { kept_bytes: 1000, ..header(&bomb) };
    let packed = file_with(&header, &bomb);
    assert!(packed.len() as u64 <= max_bytes(1000), "its length does not tell");
    let mut out = Vec::new();
    let result = read(&packed[..], packed.len() as u64, &mut out);
    assert!(matches!(result, Err(FileError::TooLong)), "{result:?}");
    assert!(out.len() <= 1000);

    // A header that allows more is none.
    let header = Header { size: u64::MAX, kept_bytes: MAX_IMAGE_BYTES + 1, ..header };
    assert!(matches!(unpacked(&file_with(&header, &bomb)), Err(FileError::Header)));
}

#[test]
fn a_file_of_empty_blocks_is_not_read_to_its_end() {
    struct Counted<'a>(&'a [u8], usize);
    impl Read for Counted<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(bytes)?;
            self.1 += read;
            Ok(read)
        }
    }
    // Stored blocks of no bytes; the last one says that it is the last.
    let (block, last) = ([0, 0, 0, 0xff, 0xff], [1, 0, 0, 0xff, 0xff]);
    let file = |blocks: usize| sealed([header(b"").encode(), block.repeat(blocks), last.to_vec(), vec![0; 4]].concat());
    assert!(unpacked(&file(100)).is_ok(), "some are no harm");
    let file = file(100_000);
    let mut counted = Counted(&file, 0);
    let result = read(&mut counted, file.len() as u64, &mut io::sink());
    assert!(matches!(result, Err(FileError::TooLong)), "{result:?}");
    assert_eq!(counted.1, HEADER_BYTES);
}

#[test]
fn what_the_checksum_allows_is_compared_with_the_hash_and_the_length() {
    let image = b"an image".repeat(100);
    let other: Digest = [1; 32];
    for header in [Header { sha256: other, ..header(&image) }, Header { size: 900, kept_bytes: 900, ..header(&image) }]
    {
        let result = unpacked(&file_with(&header, &image));
        assert!(matches!(result, Err(FileError::OtherImage)), "{result:?}");
    }
    let mut file = file(&image);
    let end = file.len() - CRC_BYTES;
    file.splice(end..end, *b"hidden");
    let result = unpacked(&sealed(file));
    assert!(matches!(result, Err(FileError::Damaged)), "{result:?}");
}

#[test]
fn a_target_that_is_full_is_named() {
    let packed = file(&[3; 100_000]);
    let mut room = [0; 100];
    let result = read(&packed[..], packed.len() as u64, &mut room.as_mut_slice());
    assert!(matches!(result, Err(FileError::Write(_))), "{result:?}");
}

#[test]
fn what_does_not_pack_stays_below_the_bound() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for bytes in [0, 1, 1000, 3 << 20] {
        let image: Vec<u8> = std::iter::repeat_with(&mut random).take(bytes).collect();
        assert!(file(&image).len() as u64 <= max_bytes(bytes as u64), "{bytes}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(image in any_image(), more: u32) {
        let header = Header { size: image.len() as u64 + u64::from(more), ..header(&image) };
        let file = file_with(&header, &image);
        prop_assert_eq!(read_header(&file[..]).unwrap(), header.clone());
        prop_assert_eq!(unpacked(&file).unwrap(), (header, image));
    }

    #[test]
    fn each_flipped_bit_and_each_cut_is_found(image in any_image(), at: prop::sample::Index, bit in 0..8_u8) {
        let mut file = file(&image);
        let at = at.index(file.len());
        prop_assert!(unpacked(&file[..at]).is_err(), "cut at {}", at);
        file[at] ^= 1 << bit;
        prop_assert!(unpacked(&file).is_err(), "bit {} of byte {}", bit, at);
        file[at] ^= 1 << bit;
        file.push(bit);
        prop_assert!(unpacked(&file).is_err(), "a byte more");
    }

    #[test]
    fn no_stream_is_a_panic_or_too_long(stream in prop::collection::vec(any::<u8>(), 0..300), kept_bytes in 0..1000_u64) {
        let header = Header { sha256: [0; 32], size: kept_bytes, kept_bytes, captured: Timestamp::UNIX_EPOCH };
        let file = sealed([&header.encode(), stream.as_slice(), &[0; 4]].concat());
        let mut out = Vec::new();
        prop_assert!(read(&file[..], file.len() as u64, &mut out).is_err());
        prop_assert!(out.len() as u64 <= kept_bytes);
        let _ = unpacked(&stream);
    }
}
