//! What the bytes of a kernel module say of it. Who built the module chose all of them.

use super::{Bytes, SymbolOfInterest};

/// The bytes that the kernel read at a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleImage {
    /// `None` if the bytes are not compressed.
    pub compression: Option<Compression>,
    /// `None` if there is no ELF file to be read.
    pub elf: Option<ElfFacts>,
    /// Why there is no `elf`.
    pub problem: Option<ImageProblem>,
}

/// What was unpacked, as `kernel/module/decompress.c` does it: one stream, and nothing behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    pub format: CompressionFormat,
    /// `None` if it could not be unpacked.
    pub unpacked_bytes: Option<u64>,
    /// Behind the end of the stream: nobody looks at them. The checksum that ends a gzip file is not counted.
    pub ignored_bytes: u64,
    /// The stream has no end. The kernel takes what there is, of zstd only.
    pub is_cut: bool,
}

/// The three that the kernel can be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionFormat {
    Gzip,
    Xz,
    Zstd,
}

impl CompressionFormat {
    /// The name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageProblem {
    pub kind: ImageProblemKind,
    /// A sentence for an operator.
    pub detail: String,
}

/// What kind of bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageProblemKind {
    /// The compressed stream is not what its format says.
    Damaged,
    /// Unpacked it has more bytes than we take, or needs more memory.
    TooLarge,
    /// The format has it, and we do not.
    Unsupported,
    /// Neither ELF nor compressed.
    NotElf,
    /// An ELF header that points nowhere.
    BrokenElf,
}

impl ImageProblemKind {
    /// What of a module is not known for it, as words of a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Self::Damaged | Self::TooLarge | Self::Unsupported => "what is packed in its image",
            Self::NotElf | Self::BrokenElf => "what its image holds",
        }
    }

    /// The name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::TooLarge => "too-large",
            Self::Unsupported => "unsupported",
            Self::NotElf => "not-elf",
            Self::BrokenElf => "broken-elf",
        }
    }
}

/// An ELF file, as the kernel's loader looks at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ElfFacts {
    pub is_64_bit: bool,
    pub is_big_endian: bool,
    /// Class, byte order or version in `e_ident` are others: the kernel does not look there, and readelf(1) does.
    pub is_ident_false: bool,
    /// `e_machine`: 62 is x86-64, 183 is AArch64.
    pub machine: u16,
    /// `e_type`: a module has 1, a relocatable file.
    pub kind: u16,
    /// `name` of `struct module`: what the module is called once it is loaded.
    pub name: Option<Bytes>,
    pub marks: ImageMarks,
    /// In the order of the file. Of too many, those that stay in memory are kept first.
    pub sections: Vec<SectionFacts>,
    /// How many the file has.
    pub section_count: u32,
    pub modinfo: Option<ModInfo>,
    pub imports: Imports,
}

/// What there is in a module. All false in one that was stripped of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageMarks {
    /// `.gnu.linkonce.this_module`, without which nothing is a module.
    pub this_module: bool,
    /// `.modinfo`.
    pub modinfo: bool,
    /// `__versions`, or `__version_ext_crcs` of newer kernels.
    pub versions: bool,
    /// `.init.text`, with content.
    pub init_text: bool,
    /// `livepatch` in `.modinfo`, or a section `.klp.*`.
    pub livepatch: bool,
    /// `.kcfi_traps`: built with kCFI.
    pub kcfi: bool,
    /// `retpoline=Y` in `.modinfo`, or a section `.retpoline_sites`.
    pub retpoline: bool,
    /// Returns through `__x86_return_thunk`, or a section `.return_sites`.
    pub return_thunk: bool,
    /// `.BTF`.
    pub btf: bool,
}

/// One section.
#[derive(Clone, Debug, PartialEq)]
pub struct SectionFacts {
    pub name: Bytes,
    /// As its header says, also if the file ends before.
    pub size_bytes: u64,
    /// Shannon's, in bits for each byte: 0 to 8. `None` without content in the file, or if sections share their bytes and so are more work
    /// than the file has bytes.
    pub entropy_bits: Option<f64>,
    /// It stays in memory.
    pub is_allocated: bool,
    pub is_executable: bool,
    pub is_writable: bool,
}

/// What `.modinfo` says. Of a key that is there once, the first value, which is the one that the kernel takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModInfo {
    pub name: Option<Bytes>,
    pub version: Option<Bytes>,
    pub srcversion: Option<Bytes>,
    pub license: Option<Bytes>,
    pub vermagic: Option<Bytes>,
    /// Names with commas between them, perhaps none.
    pub depends: Option<Bytes>,
    pub intree: Option<Bytes>,
    pub retpoline: Option<Bytes>,
    pub staging: Option<Bytes>,
    pub livepatch: Option<Bytes>,
    pub authors: Vec<Bytes>,
    /// A module that is linked of several files may have one of each.
    pub descriptions: Vec<Bytes>,
    pub aliases: Vec<Bytes>,
    pub softdeps: Vec<Bytes>,
    pub firmware: Vec<Bytes>,
    pub import_namespaces: Vec<Bytes>,
    pub parameters: Vec<ModuleParameter>,
    /// Keys that are none of these.
    pub others: Vec<ModInfoPair>,
    /// Keys that have one value in an honest module, and here several that differ.
    pub repeated: Vec<&'static str>,
    pub entry_count: u64,
    /// Entries that are in none of the lists, for want of room.
    pub left_out_count: u64,
}

/// `parm` and `parmtype` of one parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleParameter {
    pub name: Bytes,
    pub description: Option<Bytes>,
    /// As in `charp` or `array of int`.
    pub kind: Option<Bytes>,
}

/// An entry with a key that has no meaning here. One without `=` is all key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModInfoPair {
    pub key: Bytes,
    pub value: Bytes,
}

/// What the module wants of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    /// Undefined symbols, all of them.
    pub undefined_count: u64,
    /// Those that give a capability, in the order of our table.
    pub of_interest: Vec<SymbolOfInterest>,
    /// Those of rare capabilities that are not imported, and whose names are among the module's data: code that looks a symbol up at run time
    /// has them there.
    pub mentioned: Vec<SymbolOfInterest>,
}
