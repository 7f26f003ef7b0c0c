//! Bytes of a module, whole: no panic, no flood, and lists no longer than documented.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lkm_monitor_fuzz::image::{Limits, examine};

const LIMITS: Limits = Limits { max_unpacked_bytes: 1 << 20, max_window_bytes: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    let image = examine(bytes, &LIMITS).facts;
    assert_eq!(image.elf.is_some(), image.problem.is_none());
    if let Some(elf) = image.elf {
        assert!(elf.sections.len() <= 96);
        let size = image.compression.and_then(|compression| compression.unpacked_bytes).unwrap_or(bytes.len() as u64);
        let read =
            elf.sections.iter().filter(|section| section.entropy_bits.is_some()).map(|section| section.size_bytes);
        assert!(read.sum::<u64>() <= size);
        assert!(elf.sections.iter().filter_map(|section| section.entropy_bits).all(|bits| (0.0..=8.0).contains(&bits)));
    }
});
