//! Headers of rpm packages: any bytes are read or refused, in a time that their length bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/provenance/rpm/header.rs"]
mod header;

use header::{Header, tag};

const TAGS: [u32; 13] = [
    tag::NAME,
    tag::VERSION,
    tag::RELEASE,
    tag::EPOCH,
    tag::ARCH,
    tag::FILE_STATES,
    tag::FILE_MODES,
    tag::FILE_DIGESTS,
    tag::FILE_FLAGS,
    tag::DIR_INDEXES,
    tag::BASE_NAMES,
    tag::DIR_NAMES,
    tag::FILE_DIGEST_ALGO,
];

fuzz_target!(|input: (u32, &[u8])| {
    let (at, bytes) = input;
    let Ok(header) = Header::parse(bytes) else { return };
    for tag in TAGS {
        for at in [0, 1, at] {
            if let Ok(Some(text)) = header.text_at(tag, at) {
                assert!(text.len() < bytes.len() && !text.contains(&0));
            }
            let _ = (header.number_at(tag, at), header.short_at(tag, at), header.byte_at(tag, at));
        }
        if let Ok(Some(text)) = header.text(tag) {
            assert!(text.len() < bytes.len() && !text.contains(&0));
        }
    }
});
