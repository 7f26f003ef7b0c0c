use std::io::Write as _;

use proptest::prelude::*;

use super::{
    builder::{ALLOCATED, Builder},
    *,
};
use crate::model::{Bytes, CompressionFormat};

const LIMITS: Limits = Limits { max_unpacked_bytes: 1 << 20, max_window_bytes: 1 << 20 };

fn facts(bytes: &[u8], limits: &Limits) -> ModuleImage {
    examine(bytes, limits).facts
}

fn module() -> Builder {
    Builder::module("dummy")
        .section("__versions", ALLOCATED, &[0; 64])
        .section(".rodata.str1.1", ALLOCATED, b"sys_call_table\0")
        .section(".return_sites", ALLOCATED, &[0; 4])
        .section(".BTF", 0, b"\x9f\xeb")
        .defined("init_module")
        .undefined("commit_creds")
        .undefined("printk")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

#[test]
fn a_module_is_read_in_all_its_parts() {
    let image = facts(&module().build(), &LIMITS);
    assert_eq!((&image.compression, &image.problem), (&None, &None));
    let elf = image.elf.unwrap();
    assert_eq!((elf.machine, elf.kind), (62, 1));
    assert_eq!(elf.name, Some(Bytes::whole("dummy")));
    let marks = ImageMarks {
        this_module: true,
        modinfo: true,
        versions: true,
        init_text: true,
        return_thunk: true,
        btf: true,
        ..ImageMarks::default()
    };
    assert_eq!(elf.marks, marks);
    assert_eq!(elf.section_count, 10);
    assert_eq!(elf.sections.len(), 10);
    let info = elf.modinfo.unwrap();
    assert_eq!((info.name, info.license), (Some(Bytes::whole("dummy")), Some(Bytes::whole("GPL"))));
    assert_eq!(elf.imports.undefined_count, 2);
    assert_eq!(elf.imports.of_interest[0].symbol, "commit_creds");
    assert_eq!(elf.imports.mentioned[0].symbol, "sys_call_table");
}

#[test]
fn marks_have_other_signs() {
    let marks = |builder: Builder| facts(&builder.build(), &LIMITS).elf.unwrap().marks;
    assert_eq!(marks(Builder::new()), ImageMarks::default());
    let by_symbol = marks(Builder::new().undefined("__x86_return_thunk"));
    assert_eq!(by_symbol, ImageMarks { return_thunk: true, ..ImageMarks::default() });
    let by_entry = marks(Builder::new().section(".modinfo", ALLOCATED, b"livepatch=Y\0retpoline=Y"));
    assert_eq!(by_entry, ImageMarks { modinfo: true, livepatch: true, retpoline: true, ..ImageMarks::default() });
    let sections = [".klp.rela.vmlinux..text", ".kcfi_traps", ".retpoline_sites", "__version_ext_crcs"];
    let by_section = sections.into_iter().fold(Builder::new(), |builder, name| builder.section(name, ALLOCATED, b"x"));
    let expected = ImageMarks { livepatch: true, kcfi: true, retpoline: true, versions: true, ..ImageMarks::default() };
    assert_eq!(marks(by_section), expected);
}

#[test]
fn a_compressed_module_is_the_same_module() {
    let bytes = module().build();
    let image = facts(&[gzip(&bytes), b"trailer".to_vec()].concat(), &LIMITS);
    assert_eq!(image.elf, facts(&bytes, &LIMITS).elf);
    let compression = Compression {
        format: CompressionFormat::Gzip,
        unpacked_bytes: Some(bytes.len() as u64),
        ignored_bytes: 7,
        is_cut: false,
    };
    assert_eq!(image.compression, Some(compression));
}

#[test]
fn what_cannot_be_read_says_why() {
    let problem = |bytes: &[u8]| facts(bytes, &LIMITS).problem.unwrap();
    assert_eq!(problem(b"#!/bin/sh").kind, ImageProblemKind::NotElf);
    assert_eq!(problem(&[b"\x7fELF".as_slice(), &[0; 60]].concat()).kind, ImageProblemKind::BrokenElf);
    assert_eq!(problem(&gzip(b"no module")).kind, ImageProblemKind::NotElf);
    assert_eq!(problem(&gzip(&vec![0; 2 << 20])).kind, ImageProblemKind::TooLarge);
    assert_eq!(problem(b"\x1f\x8b\x08").detail, "the gzip stream is damaged: its header has no end");
    // One compression is taken off, and no more.
    assert_eq!(problem(&gzip(&gzip(&module().build()))).kind, ImageProblemKind::NotElf);
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        facts(&bytes, &LIMITS);
        facts(&[b"\x7fELF\x02\x01\x01".as_slice(), &bytes].concat(), &LIMITS);
    }

    #[test]
    fn a_module_that_was_changed_is_no_panic(
        is_64_bit: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        end: prop::sample::Index,
    ) {
        let mut bytes = module().built_for(is_64_bit, false).build();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // The headers of sections are at the end, and there is where most can be changed.
        let headers = bytes.len() - 400;
        for cut in [bytes.len(), headers + end.index(400), end.index(bytes.len())] {
            if let Some(elf) = facts(&bytes[..cut], &LIMITS).elf {
                prop_assert!(elf.sections.len() <= elf.section_count as usize);
            }
        }
    }

    #[test]
    fn headers_of_sections_can_be_anything(
        headers in prop::collection::vec(prop::collection::vec(0..2000_u64, 6), 1..200),
    ) {
        let mut bytes = module().build();
        let table = bytes.len() as u64;
        for header in &headers {
            let [name, kind, flags, offset, size, link] = header[..] else { unreachable!() };
            bytes.extend_from_slice(&[(name as u32).to_le_bytes(), (kind as u32 % 12).to_le_bytes()].concat());
            bytes.extend_from_slice(&[flags % 8, 0, offset, size].map(u64::to_le_bytes).concat());
            bytes.extend_from_slice(&[(link as u32 % 200).to_le_bytes(), [0; 4]].concat());
            bytes.extend_from_slice(&[0; 16]);
        }
        bytes[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        bytes[0x3c..0x3e].copy_from_slice(&(headers.len() as u16).to_le_bytes());
        let elf = facts(&bytes, &LIMITS).elf.unwrap();
        prop_assert_eq!(elf.section_count as usize, headers.len() - 1);
        let read: u64 = elf.sections.iter().filter(|fact| fact.entropy_bits.is_some()).map(|fact| fact.size_bytes).sum();
        prop_assert!(read <= bytes.len() as u64, "{} bytes read", read);
    }
}
