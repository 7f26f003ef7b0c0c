//! The content of `.modinfo`: no panic, and nothing that is neither kept nor counted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lkm_monitor_fuzz::image::parse_modinfo;

fuzz_target!(|section: &[u8]| {
    let info = parse_modinfo(section);
    let entries = section.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).count() as u64;
    assert_eq!(info.entry_count, entries);
    let lists =
        [&info.authors, &info.descriptions, &info.aliases, &info.softdeps, &info.firmware, &info.import_namespaces];
    let kept = lists.iter().map(|list| list.len()).sum::<usize>() + info.others.len() + info.parameters.len();
    assert!(kept as u64 + info.left_out_count <= entries);
});
