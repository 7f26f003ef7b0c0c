//! What a module wants of the kernel: the symbols that it leaves undefined, and names of symbols in its data.
//!
//! Since 5.7 `kallsyms_lookup_name` is not exported, and the system call table never was on x86: code that wants them has their names as
//! text, and finds one through a probe. Whoever scrambles the text is not seen.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::LazyLock,
};

use super::{
    capabilities::{SYSCALL_PREFIXES, all},
    elf::Elf,
};
use crate::model::{Imports, SymbolOfInterest};

static BY_NAME: LazyLock<HashMap<&[u8], SymbolOfInterest>> =
    LazyLock::new(|| all().map(|found| (found.symbol.as_bytes(), found)).collect());

/// Reads symbols, and what stays in memory of the file that `bytes` are. Headers may name the same bytes thousands of times: each is looked
/// at once.
pub(super) fn read(elf: &Elf<'_>, bytes: &[u8]) -> Imports {
    let mut undefined_count = 0;
    let imported = elf.undefined().inspect(|_| undefined_count += 1).filter_map(of_interest);
    let imported: HashSet<_> = imported.map(|found| found.symbol).collect();
    let contents = elf.sections.iter().filter(|section| section.is_allocated).filter_map(|section| section.content);
    let words = united(contents, bytes).into_iter().filter_map(|range| bytes.get(range)).flat_map(words);
    // Every module has the names of what it imports in `__versions`.
    let mentioned = words
        .filter_map(of_interest)
        .filter(|found| found.capability.is_rare() && !imported.contains(found.symbol))
        .map(|found| found.symbol)
        .collect();
    Imports { undefined_count, of_interest: in_table_order(&imported), mentioned: in_table_order(&mentioned) }
}

/// Where in `bytes` these parts of it lie, those that overlap as one.
fn united<'data>(parts: impl Iterator<Item = &'data [u8]>, bytes: &[u8]) -> Vec<Range<usize>> {
    let start = bytes.as_ptr().addr();
    let place = |part: &[u8]| {
        let at = part.as_ptr().addr().saturating_sub(start);
        at..at.saturating_add(part.len())
    };
    let mut places: Vec<_> = parts.map(place).collect();
    places.sort_unstable_by_key(|place| place.start);
    let mut united: Vec<Range<usize>> = Vec::new();
    for place in places {
        match united.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => united.push(place),
        }
    }
    united
}

/// What could be names of C. A word is never the start or the end of a longer one.
fn words(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_')).filter(|word| !word.is_empty())
}

fn of_interest(name: &[u8]) -> Option<SymbolOfInterest> {
    let handlers = || SYSCALL_PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    BY_NAME.get(name).copied().or_else(|| handlers().map(|(_, handlers)| *handlers))
}

fn in_table_order(found: &HashSet<&'static str>) -> Vec<SymbolOfInterest> {
    all().filter(|symbol| found.contains(symbol.symbol)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        image::{
            builder::{ALLOCATED, Builder, EXECUTABLE},
            elf,
        },
        model::Capability,
    };

    fn imports(builder: Builder) -> Imports {
        let file = builder.build();
        read(&elf::parse(&file).unwrap(), &file)
    }

    fn names(found: &[SymbolOfInterest]) -> Vec<&str> {
        found.iter().map(|found| found.symbol).collect()
    }

    #[test]
    fn undefined_symbols_give_capabilities() {
        let imports = imports(
            Builder::new()
                .undefined("printk")
                .undefined("kobject_del")
                .undefined("register_kprobe")
                .undefined("register_kprobe")
                .undefined("register_kprobe_later")
                .undefined("__x64_sys_kill")
                .defined("commit_creds"),
        );
        assert_eq!(imports.undefined_count, 6);
        assert_eq!(names(&imports.of_interest), ["register_kprobe", "kobject_del", "__x64_sys_*"]);
        assert_eq!(imports.of_interest[0].capability, Capability::KernelProbe);
        assert_eq!(imports.mentioned, []);
    }

    #[test]
    fn names_in_data_are_mentioned() {
        let data =
            b"\x01no kallsyms_lookup_name!\0sys_call_table_size\0kobject_del\0__x64_sys_getdents64\0my_text_poke";
        for flags in [ALLOCATED, ALLOCATED | 1] {
            let found = imports(Builder::new().section(".anything", flags, data));
            assert_eq!(names(&found.mentioned), ["kallsyms_lookup_name", "__x64_sys_*"]);
            assert_eq!(found.of_interest, []);
        }
        assert_eq!(imports(Builder::new().section(".comment", 0, data)).mentioned, []);
        let in_code = imports(Builder::new().section(".text", ALLOCATED | EXECUTABLE, data));
        assert_eq!(names(&in_code.mentioned), ["kallsyms_lookup_name", "__x64_sys_*"]);
    }

    #[test]
    fn parts_that_overlap_are_looked_at_once() {
        let bytes = b"0123456789";
        let parts = [&bytes[2..5], &bytes[4..6], &bytes[0..1], &bytes[6..9], &bytes[7..8], &bytes[2..3]];
        assert_eq!(united(parts.into_iter(), bytes), [0..1, 2..6, 6..9]);
    }

    #[test]
    fn what_is_imported_is_not_mentioned_as_well() {
        let data = b"commit_creds\0sys_call_table\0";
        let found = imports(Builder::new().section("__versions", ALLOCATED, data).undefined("commit_creds"));
        assert_eq!(names(&found.of_interest), ["commit_creds"]);
        assert_eq!(names(&found.mentioned), ["sys_call_table"]);
    }

    #[test]
    fn what_every_module_has_is_nothing() {
        assert_eq!(imports(Builder::module("dummy")), Imports::default());
    }
}
