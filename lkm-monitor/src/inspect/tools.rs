//! The module tools that this host has.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use crate::model::{
    InstalledTool, ToolKind,
    tool_run::{MANY_NAMES, TOOL_NAMES},
};

/// Where programs lie; systems whose /bin is not a link to /usr/bin have two of each.
const FOLDERS: [&str; 6] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// The header of an ELF file: as much as the probes compare, and some.
const HEAD_BYTES: u64 = 64;

/// The files behind the names of module tools, and those that load them, each once. Some stat calls and short reads.
pub fn installed_tools() -> Vec<InstalledTool> {
    installed_in(&FOLDERS.map(Path::new))
}

fn installed_in(folders: &[&Path]) -> Vec<InstalledTool> {
    let many = MANY_NAMES.map(|name| (name, ToolKind::Many));
    let tools = TOOL_NAMES.map(|name| (name, ToolKind::Tool));
    // A tool that is a link to a program of many is that program.
    let named = many.into_iter().chain(tools);
    let paths = named.flat_map(|(name, kind)| folders.iter().map(move |folder| (folder.join(name), kind)));
    let mut found: Vec<InstalledTool> = Vec::new();
    let mut interpreters = Vec::new();
    for (path, kind) in paths {
        if add(&mut found, &path, kind) {
            interpreters.extend(interpreter(&path));
        }
    }
    for path in interpreters {
        add(&mut found, &path, ToolKind::Interpreter);
    }
    found
}

/// Whether there is a file with this path that was not found before.
fn add(found: &mut Vec<InstalledTool>, path: &Path, kind: ToolKind) -> bool {
    let known =
        |tool: &InstalledTool| found.iter().any(|other| (other.device, other.inode) == (tool.device, tool.inode));
    let new = installed(path, kind).filter(|tool| !known(tool));
    let is_new = new.is_some();
    found.extend(new);
    is_new
}

fn installed(path: &Path, kind: ToolKind) -> Option<InstalledTool> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)).ok()?;
    let device = metadata.dev();
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    Some(InstalledTool { device, inode: metadata.ino(), head, kind })
}

/// elf(5): segments of this type hold the path of the program's dynamic loader.
const PT_INTERP: u64 = 3;
const MAX_SEGMENTS: u64 = 64;
const MAX_PATH_BYTES: u64 = 4096;

/// The dynamic loader that the program with this path names. `None` for programs without one, and other than 64-bit ones.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let file = File::open(path).ok()?;
    let read = |at: u64, len: u64| {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
    };
    let head = read(0, HEAD_BYTES)?;
    let is_64_bit = head.starts_with(b"\x7fELF\x02\x01");
    let segments = number(&head, 0x20, 8).filter(|_| is_64_bit)?;
    let (size, count) = (number(&head, 0x36, 2)?, number(&head, 0x38, 2)?);
    (0..count.min(MAX_SEGMENTS)).find_map(|n| {
        let segment = read(segments.checked_add(n * size)?, size)?;
        number(&segment, 0, 4).filter(|kind| *kind == PT_INTERP)?;
        let text = read(number(&segment, 0x08, 8)?, number(&segment, 0x20, 8)?.min(MAX_PATH_BYTES))?;
        Some(PathBuf::from(OsStr::from_bytes(text.split(|byte| *byte == 0).next()?)))
    })
}

/// The little-endian number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("kmod"), "kmod").unwrap();
        fs::write(file("busybox"), "busybox").unwrap();
        std::os::unix::fs::symlink("kmod", file("modprobe")).unwrap();
        std::os::unix::fs::symlink("busybox", file("insmod")).unwrap();
        fs::create_dir(file("rmmod")).unwrap();
        let found = installed_in(&[folder.path(), folder.path()]);
        let heads: Vec<_> = found.iter().map(|tool| (tool.head.as_slice(), tool.kind)).collect();
        assert_eq!(heads, [(&b"busybox"[..], ToolKind::Many), (&b"kmod"[..], ToolKind::Tool)]);
    }

    /// A program of one segment, which names its loader.
    fn program(loader: &Path) -> Vec<u8> {
        let text = [loader.as_os_str().as_bytes(), b"\0"].concat();
        let mut program = b"\x7fELF\x02\x01".to_vec();
        program.resize(0x40 + 0x38, 0);
        for (at, value) in [(0x20, 0x40), (0x36, 0x38), (0x38, 1), (0x40, 3), (0x48, 0x78), (0x60, text.len())] {
            program[at] = u8::try_from(value).unwrap();
        }
        [program, text].concat()
    }

    #[test]
    fn the_loader_of_a_tool_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let loader = folder.path().join("ld.so");
        fs::write(folder.path().join("kmod"), program(&loader)).unwrap();
        fs::write(folder.path().join("modprobe"), [program(&loader), b"another".to_vec()].concat()).unwrap();
        fs::write(&loader, "loader").unwrap();
        let found = installed_in(&[folder.path()]);
        let kinds: Vec<_> = found.iter().map(|tool| tool.kind).collect();
        assert_eq!(kinds, [ToolKind::Tool, ToolKind::Tool, ToolKind::Interpreter]);
        assert_eq!(found[2].head, b"loader");
    }

    #[test]
    fn what_names_no_loader_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kmod");
        let whole = program(Path::new("/lib64/ld.so"));
        for (content, loader) in [
            (whole.clone(), Some(PathBuf::from("/lib64/ld.so"))),
            (whole[..0x60].to_vec(), None),
            (b"#!/bin/sh\n".to_vec(), None),
            ([&whole[..0x40], &[0; 0x40]].concat(), None),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(interpreter(&path), loader);
        }
    }
}
