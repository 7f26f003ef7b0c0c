//! Compressed bytes, of each format whatever they begin with: no panic, and never more than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lkm_monitor_fuzz::{
    image::{Limits, unpack},
    model::CompressionFormat,
};

const LIMITS: Limits = Limits { max_unpacked_bytes: 1 << 20, max_window_bytes: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    for format in [CompressionFormat::Gzip, CompressionFormat::Xz, CompressionFormat::Zstd] {
        if let Ok(unpacked) = unpack(bytes, format, &LIMITS) {
            assert!(unpacked.bytes.len() <= LIMITS.max_unpacked_bytes);
            assert!(unpacked.ignored_bytes < bytes.len());
        }
    }
});
