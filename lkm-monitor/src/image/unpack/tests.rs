use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use lzma_rust2::{CheckType, XzOptions, XzWriter};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const FORMATS: [CompressionFormat; 3] = [CompressionFormat::Gzip, CompressionFormat::Xz, CompressionFormat::Zstd];
const SMALL: Limits = Limits { max_unpacked_bytes: 10_000, max_window_bytes: 1 << 20 };

fn gzip_of(content: &[u8], head: GzBuilder) -> Vec<u8> {
    let mut writer = head.write(Vec::new(), Compression::default());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn xz_of(content: &[u8], dictionary_bytes: u32, check: CheckType) -> Vec<u8> {
    let mut options = XzOptions::with_preset(1);
    options.lzma_options.dict_size = dictionary_bytes;
    options.set_check_sum_type(check);
    let mut writer = XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn packed(content: &[u8], format: CompressionFormat) -> Vec<u8> {
    match format {
        CompressionFormat::Gzip => gzip_of(content, GzBuilder::new().filename("dummy.ko")),
        CompressionFormat::Xz => xz_of(content, 1 << 16, CheckType::Crc32),
        CompressionFormat::Zstd => compress_to_vec(content, CompressionLevel::Fastest),
    }
}

fn whole(bytes: &[u8]) -> Unpacked {
    Unpacked { bytes: bytes.to_vec(), ignored_bytes: 0, is_cut: false }
}

/// A frame without a checksum, of a window of 1 KiB << `window_log`.
fn frame_of(window_log: u8, blocks: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut frame = [ZSTD_MAGIC, &[0, window_log << 3]].concat();
    for (kind, size, body) in blocks {
        frame.extend(&(size << 3 | kind).to_le_bytes()[..3]);
        frame.extend(*body);
    }
    frame
}

const LAST: u32 = 1;
const STORED: u32 = 0;
const REPEATED: u32 = 2;

#[test]
fn what_is_not_compressed_has_no_format() {
    for bytes in [b"".as_slice(), b"\x7fELF", b"\x1f\x8b", b"\x1f\x8b\x07", b"\xfd7zXZ", b"(\xb5/\xfc"] {
        assert_eq!(format_of(bytes), None, "{bytes:?}");
    }
}

#[test]
fn what_is_behind_the_stream_is_ignored() {
    for format in FORMATS {
        let member = packed(b"first", format);
        for behind in [b"garbage".as_slice(), &packed(b"second", format)] {
            let unpacked = Unpacked { ignored_bytes: behind.len(), ..whole(b"first") };
            assert_eq!(unpack(&[&member, behind].concat(), format, &SMALL), Ok(unpacked));
        }
    }
}

#[test]
fn a_stream_beyond_the_limit_is_refused() {
    for format in FORMATS {
        let bomb = packed(&vec![0; 1 << 20], format);
        let limit = |max_unpacked_bytes| Limits { max_unpacked_bytes, ..SMALL };
        let too_large = UnpackError::TooLarge { format, max_bytes: (1 << 20) - 1 };
        assert_eq!(unpack(&bomb, format, &limit((1 << 20) - 1)), Err(too_large));
        assert_eq!(unpack(&bomb, format, &limit(1 << 20)).unwrap().bytes.len(), 1 << 20);
    }
}

#[test]
fn a_header_that_asks_for_much_memory_is_refused() {
    let format = CompressionFormat::Xz;
    let refused = UnpackError::TooMuchMemory { format, max_bytes: 1 << 20 };
    assert_eq!(unpack(&xz_of(b"small", 64 << 20, CheckType::Crc32), format, &SMALL), Err(refused));
    assert_eq!(unpack(&xz_of(b"small", 1 << 20, CheckType::Crc32), format, &SMALL), Ok(whole(b"small")));

    let format = CompressionFormat::Zstd;
    let refused = UnpackError::TooMuchMemory { format, max_bytes: 1 << 20 };
    let stored = [(STORED | LAST, 5, b"small".as_slice())];
    assert_eq!(unpack(&frame_of(11, &stored), format, &SMALL), Err(refused));
    assert_eq!(unpack(&frame_of(10, &stored), format, &SMALL), Ok(whole(b"small")));
}

#[test]
fn gzip_is_inflated_as_the_kernel_does_it() {
    let format = CompressionFormat::Gzip;
    // It compares no checksum, and knows the name of all optional parts.
    let mut bytes = gzip_of(b"content", GzBuilder::new());
    let sum = bytes.len() - gzip::TAIL_BYTES;
    bytes[sum] ^= 1;
    assert_eq!(unpack(&bytes, format, &SMALL), Ok(whole(b"content")));
    assert_eq!(unpack(&bytes[..sum], format, &SMALL), Ok(whole(b"content")));
    let damaged = unpack(&bytes[..sum - 1], format, &SMALL).unwrap_err();
    assert_eq!(damaged.to_string(), "the gzip stream is damaged: it has no end");
    assert!(unpack(&gzip_of(b"content", GzBuilder::new().extra(*b"extra")), format, &SMALL).is_err());
    let endless = [GZIP_MAGIC, &[8, 0, 0, 0, 0, 0, 0], b"name"].concat();
    let damaged = unpack(&endless, format, &SMALL).unwrap_err();
    assert_eq!(damaged.to_string(), "the gzip stream is damaged: its header has no end");
}

#[test]
fn every_check_of_xz_is_compared() {
    let format = CompressionFormat::Xz;
    for check in [CheckType::None, CheckType::Crc32, CheckType::Crc64, CheckType::Sha256] {
        assert_eq!(unpack(&xz_of(b"content", 1 << 16, check), format, &SMALL), Ok(whole(b"content")), "{check:?}");
    }
    let mut bytes = xz_of(b"content", 1 << 16, CheckType::Crc32);
    let at = bytes.windows(7).position(|window| window == b"content").unwrap();
    bytes[at] ^= 1;
    assert!(matches!(unpack(&bytes, format, &SMALL), Err(UnpackError::Damaged { .. })));
}

#[test]
fn a_zstd_stream_that_is_cut_is_what_there_is_of_it() {
    let format = CompressionFormat::Zstd;
    let cut = |bytes: &[u8]| Ok(Unpacked { is_cut: true, ..whole(bytes) });
    let blocks = [(REPEATED, 3, b"a".as_slice()), (STORED | LAST, 4, b"bcde")];
    let frame = frame_of(1, &blocks);
    assert_eq!(unpack(&frame, format, &SMALL), Ok(whole(b"aaabcde")));
    for (missing, content) in [(1, "aaabcd"), (3, "aaab"), (4, "aaa"), (5, "aaa"), (7, "aaa"), (8, ""), (11, "")] {
        let bytes = &frame[..frame.len() - missing];
        assert_eq!(unpack(bytes, format, &SMALL), cut(content.as_bytes()), "{missing} bytes less");
    }
    // No block is so large, and so this one is not cut.
    let large = frame_of(10, &[(STORED, (128 << 10) + 1, b"a")]);
    assert!(matches!(unpack(&large, format, &SMALL), Err(UnpackError::Damaged { .. })));
    let beyond_window = frame_of(0, &[(REPEATED, 2000, b"a")]);
    assert!(matches!(unpack(&beyond_window, format, &SMALL), Err(UnpackError::Damaged { .. })));
    // The checksum is the end of this one.
    let summed = packed(b"content", format);
    assert_eq!(unpack(&summed[..summed.len() - 1], format, &SMALL), cut(b"content"));
}

#[test]
fn a_zstd_frame_is_compared_with_its_checksum() {
    let format = CompressionFormat::Zstd;
    let mut bytes = packed(b"content", format);
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = unpack(&bytes, format, &SMALL).unwrap_err();
    assert_eq!(damaged.to_string(), "the zstd stream is damaged: its checksum is that of other bytes");
    // A dictionary of the number 7.
    let bytes = [ZSTD_MAGIC, &[1, 0, 7]].concat();
    assert!(matches!(unpack(&bytes, format, &SMALL), Err(UnpackError::Unsupported { .. })));
}

fn any_format() -> impl Strategy<Value = CompressionFormat> {
    prop::sample::select(FORMATS.to_vec())
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(content in prop::collection::vec(0..4_u8, 0..9000), format in any_format()) {
        let bytes = packed(&content, format);
        prop_assert_eq!(format_of(&bytes), Some(format));
        prop_assert_eq!(unpack(&bytes, format, &SMALL), Ok(whole(&content)));
    }

    #[test]
    fn a_stream_that_is_cut_is_never_taken_for_whole(
        content in prop::collection::vec(any::<u8>(), 1..500),
        format in any_format(),
        at: prop::sample::Index,
    ) {
        let bytes = packed(&content, format);
        // The kernel does not need what ends a gzip file.
        let end = bytes.len() - if format == CompressionFormat::Gzip { gzip::TAIL_BYTES } else { 0 };
        match unpack(&bytes[..at.index(end)], format, &SMALL) {
            Ok(unpacked) => prop_assert!(unpacked.is_cut && content.starts_with(&unpacked.bytes)),
            Err(error) => prop_assert!(matches!(error, UnpackError::Damaged { .. }), "{error}"),
        }
    }

    #[test]
    fn a_bit_that_flips_is_no_panic_and_no_flood(
        content in prop::collection::vec(0..4_u8, 0..2000),
        format in any_format(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
    ) {
        let mut bytes = packed(&content, format);
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(unpacked) = unpack(&bytes, format, &SMALL) {
            prop_assert!(unpacked.bytes.len() <= SMALL.max_unpacked_bytes);
        }
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), format in any_format()) {
        let _ = unpack(&bytes, format, &SMALL);
        let magic = match format {
            CompressionFormat::Gzip => GZIP_MAGIC,
            CompressionFormat::Xz => XZ_MAGIC,
            CompressionFormat::Zstd => ZSTD_MAGIC,
        };
        let _ = unpack(&[magic, &bytes].concat(), format, &SMALL);
    }
}
