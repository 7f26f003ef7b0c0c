//! Sections as facts: how large, how random, and what may be done with them.

use super::elf::{Elf, Section};
use crate::model::{Bytes, SectionFacts};

/// A module of a distribution has up to about 90.
const MAX_SECTIONS: usize = 96;
const MAX_NAME_BYTES: usize = 64;

/// The sections that are kept. Headers may name the same bytes thousands of times: no more than `max_bytes` are looked at.
pub(super) fn facts(elf: &Elf<'_>, max_bytes: usize) -> Vec<SectionFacts> {
    let mut kept: Vec<(usize, &Section<'_>)> = elf.sections.iter().enumerate().collect();
    // What stays in memory comes first, so that no number of idle sections hides it.
    kept.sort_by_key(|(_, section)| !section.is_allocated);
    kept.truncate(MAX_SECTIONS);
    kept.sort_by_key(|(index, _)| *index);
    let mut within = within(max_bytes);
    kept.into_iter().map(|(_, section)| fact(section, section.content.filter(&mut within))).collect()
}

/// Whether there is enough left of `max_bytes` for one more content.
fn within(max_bytes: usize) -> impl FnMut(&&[u8]) -> bool {
    let mut left_bytes = max_bytes;
    move |content| {
        let left = left_bytes.checked_sub(content.len());
        left_bytes = left.unwrap_or(left_bytes);
        left.is_some()
    }
}

fn fact(section: &Section<'_>, content: Option<&[u8]>) -> SectionFacts {
    SectionFacts {
        name: cut(section.name, MAX_NAME_BYTES),
        size_bytes: section.size_bytes,
        entropy_bits: content.map(entropy_bits),
        is_allocated: section.is_allocated,
        is_executable: section.is_executable,
        is_writable: section.is_writable,
    }
}

/// The first `max_bytes`.
pub(super) fn cut(bytes: &[u8], max_bytes: usize) -> Bytes {
    match bytes.get(..max_bytes) {
        Some(start) => Bytes { bytes: start.to_vec(), truncated: start.len() < bytes.len() },
        None => Bytes::whole(bytes),
    }
}

/// Shannon's entropy of the bytes, each for itself.
fn entropy_bits(content: &[u8]) -> f64 {
    let mut counts = [0_u64; 256];
    for byte in content {
        counts[usize::from(*byte)] += 1;
    }
    let total = content.len() as f64;
    let share = |count: &u64| *count as f64 / total;
    counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum::<f64>().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{
        builder::{ALLOCATED, Builder, EXECUTABLE, NOBITS, Part, WRITABLE},
        elf,
    };

    fn facts_of(file: &[u8]) -> Vec<SectionFacts> {
        facts(&elf::parse(file).unwrap(), file.len())
    }

    #[test]
    fn entropy_is_shannons() {
        let even: Vec<u8> = (0..=255).collect();
        for (content, bits) in [(b"aaaa".as_slice(), 0.0), (b"abab", 1.0), (b"aabc", 1.5), (&even, 8.0)] {
            assert_eq!(entropy_bits(content), bits, "{content:?}");
        }
    }

    #[test]
    fn a_section_is_as_its_header_says() {
        let bss = Part { name: ".bss".into(), kind: NOBITS, flags: ALLOCATED, content: vec![], size_bytes: 1 << 40 };
        let beyond = Part { name: ".beyond".into(), kind: 1, flags: 0, content: vec![], size_bytes: 1 << 40 };
        let long = "n".repeat(80);
        let file = Builder::new()
            .section(".text", ALLOCATED | EXECUTABLE, b"abab")
            .section(&long, WRITABLE, b"a")
            .part(bss)
            .part(beyond)
            .build();
        let fact = |name: &[u8], truncated, size_bytes, entropy_bits| SectionFacts {
            name: Bytes { bytes: name.to_vec(), truncated },
            size_bytes,
            entropy_bits,
            is_allocated: false,
            is_executable: false,
            is_writable: false,
        };
        let facts = facts_of(&file);
        let text = SectionFacts { is_allocated: true, is_executable: true, ..fact(b".text", false, 4, Some(1.0)) };
        assert_eq!(facts[0], text);
        assert_eq!(facts[1], SectionFacts { is_writable: true, ..fact(&[b'n'; 64], true, 1, Some(0.0)) });
        assert_eq!(facts[2], SectionFacts { is_allocated: true, ..fact(b".bss", false, 1 << 40, None) });
        assert_eq!(facts[3], fact(b".beyond", false, 1 << 40, None));
    }

    #[test]
    fn of_too_many_those_in_memory_are_kept() {
        let idle = |builder: Builder, _| builder.section(".note", 0, b"n");
        let file = (0..MAX_SECTIONS).fold(Builder::new(), idle).section(".text", ALLOCATED, b"t").build();
        let facts = facts_of(&file);
        assert_eq!(facts.len(), MAX_SECTIONS);
        assert_eq!(facts.iter().filter(|fact| fact.name.bytes == b".text").count(), 1);
    }

    #[test]
    fn bytes_that_sections_share_are_not_read_for_each() {
        let mut left = within(10);
        let taken = [4, 7, 6, 1, 0].map(|len| left(&vec![0; len].as_slice()));
        assert_eq!(taken, [true, false, true, false, true]);
    }
}
