//! Module images: the fixtures, what they say of themselves, and damaged copies.

use std::{
    fs::{self, File},
    ops::Range,
    path::{Path, PathBuf},
};

use crate::machine;

const SIGNATURE_MARKER: &[u8] = b"~Module signature appended~\n";
/// `struct module_signature`, which stands before the marker. Its last four bytes are the signature's size.
const SIGNATURE_HEAD_BYTES: usize = 12;

/// A copy of a module for scenarios to change.
#[derive(Clone)]
pub(crate) struct Image(pub(crate) Vec<u8>);

/// The fixture's file outside of the module tree.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(format!("/fixtures/{name}.ko"))
}

/// The same module where modprobe finds it.
pub(crate) fn installed(name: &str) -> PathBuf {
    in_module_tree(&format!("{name}.ko"))
}

/// The one module that modprobe finds packed, there.
pub(crate) fn installed_packed(name: &str) -> PathBuf {
    in_module_tree(&format!("{name}.ko.xz"))
}

fn in_module_tree(file: &str) -> PathBuf {
    let root = Path::new("/usr/lib/modules").join(machine::kernel_release());
    let index = fs::read_to_string(root.join("modules.dep")).expect("read depmod's index");
    let ending = format!("/{file}");
    let path = index.lines().filter_map(|line| line.split(':').next()).find(|path| path.ends_with(&ending));
    root.join(path.unwrap_or_else(|| panic!("{file} is not installed")))
}

/// A copy of a fixture, opened.
pub(crate) fn copy(name: &str, to: impl AsRef<Path>) -> File {
    fs::copy(fixture(name), &to).expect("copy a module");
    File::open(to).expect("open the copy")
}

impl Image {
    pub(crate) fn of(name: &str) -> Self {
        Self(fs::read(fixture(name)).unwrap_or_else(|error| panic!("there is no fixture {name}: {error}")))
    }

    pub(crate) fn write(&self, path: impl AsRef<Path>) -> File {
        fs::write(&path, &self.0).expect("write a module");
        File::open(path).expect("open a module")
    }

    /// A `key=value` of the module's own description.
    pub(crate) fn modinfo(&self, key: &str) -> Option<String> {
        let entries = self.0[self.section(".modinfo")].split(|byte| *byte == 0);
        let value = entries.filter_map(|entry| entry.strip_prefix(key.as_bytes())?.strip_prefix(b"=")).next()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Without its signature: the kernel takes a changed module only if it does not claim to be signed.
    pub(crate) fn unsigned(mut self) -> Self {
        let end = self.0.len() - SIGNATURE_MARKER.len();
        assert_eq!(&self.0[end..], SIGNATURE_MARKER, "Debian signs its modules");
        let size = u32::from_be_bytes(self.0[end - 4..end].try_into().expect("four bytes"));
        self.0.truncate(end - SIGNATURE_HEAD_BYTES - size as usize);
        self
    }

    /// Another module, for the kernel: the same by another name, which is as long. It cannot be signed.
    pub(crate) fn renamed(self, from: &str, to: &str) -> Self {
        let described = [from, to].map(|name| format!("\0name={name}\0"));
        self.unsigned().patched(".gnu.linkonce.this_module", from.as_bytes(), to.as_bytes()).patched(
            ".modinfo",
            described[0].as_bytes(),
            described[1].as_bytes(),
        )
    }

    /// Overwrites the first `from` in a section with the equally long `to`.
    pub(crate) fn patched(self, section: &str, from: &[u8], to: &[u8]) -> Self {
        let range = self.section(section);
        self.overwritten(range, from, to)
    }

    /// The same, wherever in the file it is: where the compiler puts texts differs from kernel to kernel.
    pub(crate) fn patched_anywhere(self, from: &[u8], to: &[u8]) -> Self {
        let range = 0..self.0.len();
        self.overwritten(range, from, to)
    }

    fn overwritten(mut self, range: Range<usize>, from: &[u8], to: &[u8]) -> Self {
        assert_eq!(from.len(), to.len(), "a patch moves nothing");
        let at = self.0[range.clone()].windows(from.len()).position(|window| window == from);
        let start = range.start + at.unwrap_or_else(|| panic!("{} is not there", from.escape_ascii()));
        self.0[start..start + to.len()].copy_from_slice(to);
        self
    }

    /// elf(5), 64-bit little-endian, as far as sections go.
    fn section(&self, name: &str) -> Range<usize> {
        let headers = self.number(0x28, 8);
        let header = |index: usize| headers + index * self.number(0x3a, 2);
        let content = |header: usize| {
            let start = self.number(header + 0x18, 8);
            start..start + self.number(header + 0x20, 8)
        };
        let names = content(header(self.number(0x3e, 2))).start;
        let found = (0..self.number(0x3c, 2)).map(header).find(|header| {
            let text = &self.0[names + self.number(*header, 4)..];
            text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        });
        content(found.unwrap_or_else(|| panic!("the module has no section {name}")))
    }

    fn number(&self, offset: usize, bytes: usize) -> usize {
        self.0[offset..offset + bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }
}
