//! What is in a module: pure functions over bytes that whoever loads it has chosen.
//!
//! Work is linear in the bytes, memory is bounded by [`Limits`].

mod capabilities;
mod elf;
mod imports;
mod modinfo;
mod sections;
mod this_module;
mod unpack;

#[cfg(test)]
mod builder;
#[cfg(test)]
mod tests;

pub use elf::ElfError;
pub use modinfo::parse as parse_modinfo;
pub use unpack::{Limits, UnpackError, Unpacked, format_of, unpack};

use crate::model::{Compression, ElfFacts, ImageMarks, ImageProblem, ImageProblemKind, ModInfo, ModuleImage};

/// A module for the tests of others, with one section of theirs.
#[cfg(test)]
pub(crate) fn module_with(section: &str, content: &[u8]) -> Vec<u8> {
    builder::Builder::new().section(section, builder::ALLOCATED, content).build()
}

/// What was found in the bytes of a module.
#[derive(Debug)]
pub struct Examined {
    pub facts: ModuleImage,
    /// The bytes unpacked, where they were compressed and could be unpacked.
    pub unpacked: Option<Vec<u8>>,
}

/// Everything that the bytes of one module tell.
pub fn examine(bytes: &[u8], limits: &Limits) -> Examined {
    let Some(format) = format_of(bytes) else { return Examined { facts: image(None, bytes), unpacked: None } };
    match unpack(bytes, format, limits) {
        Ok(unpacked) => {
            let compression = Compression {
                format,
                unpacked_bytes: Some(unpacked.bytes.len() as u64),
                ignored_bytes: unpacked.ignored_bytes as u64,
                is_cut: unpacked.is_cut,
            };
            Examined { facts: image(Some(compression), &unpacked.bytes), unpacked: Some(unpacked.bytes) }
        }
        Err(error) => {
            let compression = Compression { format, unpacked_bytes: None, ignored_bytes: 0, is_cut: false };
            let facts = ModuleImage { compression: Some(compression), elf: None, problem: Some(error.into()) };
            Examined { facts, unpacked: None }
        }
    }
}

fn image(compression: Option<Compression>, bytes: &[u8]) -> ModuleImage {
    match elf::parse(bytes) {
        Ok(elf) => ModuleImage { compression, elf: Some(facts(&elf, bytes)), problem: None },
        Err(error) => ModuleImage { compression, elf: None, problem: Some(error.into()) },
    }
}

fn facts(elf: &elf::Elf<'_>, bytes: &[u8]) -> ElfFacts {
    let content = |name: &str| elf.section(name.as_bytes()).and_then(|section| section.content);
    let modinfo = content(".modinfo").map(modinfo::parse);
    ElfFacts {
        is_64_bit: elf.is_64_bit,
        is_big_endian: elf.is_big_endian,
        is_ident_false: elf.is_ident_false,
        machine: elf.machine,
        kind: elf.kind,
        name: content(".gnu.linkonce.this_module").and_then(|module| this_module::name(module, elf.is_64_bit)),
        marks: marks(elf, modinfo.as_ref()),
        sections: sections::facts(elf, bytes.len()),
        // There are fewer than 65,536.
        section_count: elf.sections.len() as u32,
        modinfo,
        imports: imports::read(elf, bytes),
    }
}

fn marks(elf: &elf::Elf<'_>, modinfo: Option<&ModInfo>) -> ImageMarks {
    let has = |name: &str| elf.section(name.as_bytes()).is_some();
    ImageMarks {
        this_module: has(".gnu.linkonce.this_module"),
        modinfo: modinfo.is_some(),
        versions: has("__versions") || has("__version_ext_crcs"),
        init_text: elf.section(b".init.text").is_some_and(|section| section.content.is_some()),
        livepatch: modinfo.is_some_and(|info| info.livepatch.is_some())
            || elf.sections.iter().any(|section| section.name.starts_with(b".klp.")),
        kcfi: has(".kcfi_traps"),
        retpoline: modinfo.is_some_and(|info| info.retpoline.is_some()) || has(".retpoline_sites"),
        return_thunk: has(".return_sites") || elf.undefined().any(|name| name == b"__x86_return_thunk"),
        btf: has(".BTF"),
    }
}

impl From<UnpackError> for ImageProblem {
    fn from(error: UnpackError) -> Self {
        let kind = match error {
            UnpackError::Damaged { .. } => ImageProblemKind::Damaged,
            UnpackError::TooLarge { .. } | UnpackError::TooMuchMemory { .. } => ImageProblemKind::TooLarge,
            UnpackError::Unsupported { .. } => ImageProblemKind::Unsupported,
        };
        Self { kind, detail: error.to_string() }
    }
}

impl From<ElfError> for ImageProblem {
    fn from(error: ElfError) -> Self {
        let kind = match error {
            ElfError::NotElf => ImageProblemKind::NotElf,
            ElfError::NoSections | ElfError::SectionsOutside => ImageProblemKind::BrokenElf,
        };
        Self { kind, detail: error.to_string() }
    }
}
