//! ELF files as the kernel's loader takes them (`elf_validity_check` and `find_sec` in kernel/module/main.c).
//!
//! It never looks at class, byte order and version in `e_ident`: whoever lies there blinds the usual tools and still has a module. So we read
//! by what the loader does compare, the size of a section header. Extended numbers of sections are unknown to it, and to us.

use object::{
    Endianness, ReadRef as _,
    elf::{
        ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, EV_CURRENT, FileHeader32, FileHeader64, SHF_ALLOC,
        SHF_EXECINSTR, SHF_WRITE, SHN_UNDEF, SHT_NOBITS, SHT_SYMTAB, Sym32, Sym64,
    },
    read::elf::{FileHeader, SectionHeader as _, Sym},
};

/// Longer names are cut: no name that means something is so long. The kernel's `KSYM_NAME_LEN` is 512.
const MAX_NAME_BYTES: usize = 512;

/// Why bytes are no ELF file that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    #[error("it is no ELF file")]
    NotElf,
    #[error("it has no section headers of a size that the kernel takes")]
    NoSections,
    #[error("its section headers are not within the file")]
    SectionsOutside,
}

/// An ELF file. All names and contents are parts of it.
#[derive(Debug)]
pub(super) struct Elf<'data> {
    pub(super) is_64_bit: bool,
    pub(super) is_big_endian: bool,
    pub(super) is_ident_false: bool,
    pub(super) machine: u16,
    pub(super) kind: u16,
    /// Without the first, which means nothing. At most 65,534.
    pub(super) sections: Vec<Section<'data>>,
    symbols: Symbols<'data>,
    symbol_names: &'data [u8],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'data> {
    pub(super) name: &'data [u8],
    pub(super) size_bytes: u64,
    pub(super) is_allocated: bool,
    pub(super) is_executable: bool,
    pub(super) is_writable: bool,
    /// `None` without any in the file.
    pub(super) content: Option<&'data [u8]>,
}

#[derive(Clone, Copy, Debug)]
enum Symbols<'data> {
    Narrow(Endianness, &'data [Sym32<Endianness>]),
    Wide(Endianness, &'data [Sym64<Endianness>]),
}

/// Reads the headers; the work is linear in their number.
pub(super) fn parse(bytes: &[u8]) -> Result<Elf<'_>, ElfError> {
    if !bytes.starts_with(&ELFMAG) {
        return Err(ElfError::NotElf);
    }
    match parse_as::<FileHeader64<Endianness>>(bytes, Symbols::Wide) {
        Err(ElfError::NoSections) => parse_as::<FileHeader32<Endianness>>(bytes, Symbols::Narrow),
        read => read,
    }
}

fn parse_as<'data, H: FileHeader<Endian = Endianness>>(
    bytes: &'data [u8],
    symbols_of: fn(Endianness, &'data [H::Sym]) -> Symbols<'data>,
) -> Result<Elf<'data>, ElfError> {
    let header: &H = bytes.read_at(0).map_err(|()| ElfError::NotElf)?;
    // A module's type is 1: the byte that is not zero tells the order.
    let endian = if header.e_type(Endianness::Little).0 < 0x100 { Endianness::Little } else { Endianness::Big };
    let (offset, count) = (header.e_shoff(endian).into(), usize::from(header.e_shnum(endian)));
    if usize::from(header.e_shentsize(endian)) != size_of::<H::SectionHeader>() || count == 0 {
        return Err(ElfError::NoSections);
    }
    let headers: &[H::SectionHeader] = bytes.read_slice_at(offset, count).map_err(|()| ElfError::SectionsOutside)?;
    let content_of = |index: usize| headers.get(index).and_then(|header| content::<H>(header, endian, bytes));
    let names = content_of(usize::from(header.e_shstrndx(endian).0)).unwrap_or_default();
    let sections = headers.iter().skip(1).map(|header| section::<H>(header, endian, bytes, names)).collect();
    let table = headers.iter().find(|header| header.sh_type(endian) == SHT_SYMTAB);
    let symbols = table.and_then(|header| {
        let bytes = content::<H>(header, endian, bytes)?;
        bytes.read_slice_at(0, bytes.len() / size_of::<H::Sym>()).ok()
    });
    Ok(Elf {
        is_64_bit: header.is_type_64(),
        is_big_endian: endian == Endianness::Big,
        is_ident_false: is_ident_false(header, endian),
        machine: header.e_machine(endian).0,
        kind: header.e_type(endian).0,
        sections,
        symbols: symbols_of(endian, symbols.unwrap_or_default()),
        symbol_names: table.and_then(|header| content_of(header.sh_link(endian) as usize)).unwrap_or_default(),
    })
}

fn is_ident_false<H: FileHeader>(header: &H, endian: Endianness) -> bool {
    let ident = header.e_ident();
    let class = if header.is_type_64() { ELFCLASS64 } else { ELFCLASS32 };
    let order = if endian == Endianness::Big { ELFDATA2MSB } else { ELFDATA2LSB };
    (ident.class, ident.data, ident.version) != (class, order, EV_CURRENT)
}

fn section<'data, H: FileHeader>(
    header: &H::SectionHeader,
    endian: H::Endian,
    bytes: &'data [u8],
    names: &'data [u8],
) -> Section<'data> {
    let flags = header.sh_flags(endian);
    Section {
        name: name(names, header.sh_name(endian)),
        size_bytes: header.sh_size(endian).into(),
        is_allocated: flags.contains(SHF_ALLOC),
        is_executable: flags.contains(SHF_EXECINSTR),
        is_writable: flags.contains(SHF_WRITE),
        content: content::<H>(header, endian, bytes),
    }
}

fn content<'data, H: FileHeader>(
    header: &H::SectionHeader,
    endian: H::Endian,
    bytes: &'data [u8],
) -> Option<&'data [u8]> {
    if header.sh_type(endian) == SHT_NOBITS {
        return None;
    }
    let content = bytes.read_bytes_at(header.sh_offset(endian).into(), header.sh_size(endian).into()).ok()?;
    (!content.is_empty()).then_some(content)
}

/// A string of C in a table. Empty if it is outside.
fn name(table: &[u8], offset: u32) -> &[u8] {
    let rest = table.get(offset as usize..).unwrap_or_default();
    // Tables without a NUL would be read for every name.
    let rest = rest.get(..MAX_NAME_BYTES).unwrap_or(rest);
    memchr::memchr(0, rest).and_then(|end| rest.get(..end)).unwrap_or(rest)
}

impl<'data> Elf<'data> {
    /// The section that the kernel takes for this name: the first that stays in memory, or else the first.
    pub(super) fn section(&self, name: &[u8]) -> Option<&Section<'data>> {
        let named = || self.sections.iter().filter(|section| section.name == name);
        named().find(|section| section.is_allocated).or_else(|| named().next())
    }

    /// Names of the symbols that the kernel has to find (`simplify_symbols`).
    pub(super) fn undefined(&self) -> impl Iterator<Item = &'data [u8]> {
        let (narrow, wide) = match self.symbols {
            Symbols::Narrow(endian, symbols) => (Some(undefined_in(symbols, endian)), None),
            Symbols::Wide(endian, symbols) => (None, Some(undefined_in(symbols, endian))),
        };
        let names = self.symbol_names;
        narrow.into_iter().flatten().chain(wide.into_iter().flatten()).map(move |offset| name(names, offset))
    }
}

/// Where their names are. The first symbol means nothing.
fn undefined_in<S: Sym<Endian = Endianness>>(symbols: &[S], endian: Endianness) -> impl Iterator<Item = u32> {
    let undefined = move |symbol: &&S| symbol.st_shndx(endian) == SHN_UNDEF;
    symbols.iter().skip(1).filter(undefined).map(move |symbol| symbol.st_name(endian))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::builder::{ALLOCATED, Builder};

    fn file() -> Builder {
        Builder::new()
            .section(".text", 0, b"idle")
            .section(".text", ALLOCATED, b"loaded")
            .defined("init_module")
            .undefined("printk")
            .undefined("__fentry__")
    }

    #[test]
    fn every_class_and_order_is_read() {
        for (is_64_bit, is_big_endian) in [(true, false), (true, true), (false, false), (false, true)] {
            let bytes = file().built_for(is_64_bit, is_big_endian).build();
            let elf = parse(&bytes).unwrap();
            assert_eq!((elf.is_64_bit, elf.is_big_endian, elf.is_ident_false), (is_64_bit, is_big_endian, false));
            assert_eq!((elf.kind, elf.machine), (1, if is_64_bit { 62 } else { 3 }));
            assert_eq!(elf.sections.len(), 5);
            assert_eq!(elf.undefined().collect::<Vec<_>>(), [b"printk".as_slice(), b"__fentry__"]);
            assert_eq!(elf.section(b".text").unwrap().content, Some(b"loaded".as_slice()));
            assert!(elf.section(b".data").is_none());
        }
    }

    #[test]
    fn who_lies_in_the_ident_is_read_all_the_same() {
        for (at, lie) in [(4, 1), (4, 0), (5, 2), (5, 77), (6, 0)] {
            let mut bytes = file().build();
            bytes[at] = lie;
            let elf = parse(&bytes).unwrap();
            assert!(elf.is_64_bit && !elf.is_big_endian && elf.is_ident_false, "{lie} at {at}");
            assert_eq!(elf.undefined().count(), 2);
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let refused = |bytes: &[u8]| parse(bytes).unwrap_err();
        assert_eq!(refused(b""), ElfError::NotElf);
        assert_eq!(refused(b"\x7fELF"), ElfError::NotElf);
        assert_eq!(refused(b"#!/bin/sh"), ElfError::NotElf);
        assert_eq!(refused(&[b"\x7fELF".as_slice(), &[0; 96]].concat()), ElfError::NoSections);
        let bytes = file().build();
        assert_eq!(refused(&bytes[..bytes.len() - 1]), ElfError::SectionsOutside);
    }

    #[test]
    fn a_name_without_an_end_costs_little() {
        let table = [b'x'; 2000];
        assert_eq!(name(&table, 0).len(), MAX_NAME_BYTES);
        assert_eq!(name(&table, 1999), b"x");
        assert_eq!(name(&table, 2000), b"");
        assert_eq!(name(&table, u32::MAX), b"");
    }
}
