//! The module tools that this host has.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
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
pub(crate) const FOLDERS: [&str; 6] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// The header of an ELF file: as much as the probes compare, and some.
const HEAD_BYTES: u64 = 64;

/// The files behind the names of module tools, and those that load them, each once. Some stat calls and short reads. An error when one of
/// them cannot be read, which may be for want of descriptors: a list without it would say that it is gone.
pub fn installed_tools() -> io::Result<Vec<InstalledTool>> {
    installed_in(&FOLDERS.map(Path::new))
}

fn installed_in(folders: &[&Path]) -> io::Result<Vec<InstalledTool>> {
    let many = MANY_NAMES.map(|name| (name, ToolKind::Many));
    let tools = TOOL_NAMES.map(|name| (name, ToolKind::Tool));
    // A tool that is a link to a program of many is that program.
    let named = many.into_iter().chain(tools);
    let paths = named.flat_map(|(name, kind)| folders.iter().map(move |folder| (folder.join(name), kind)));
    let mut found: Vec<InstalledTool> = Vec::new();
    let mut interpreters = Vec::new();
    for (path, kind) in paths {
        if add(&mut found, &path, kind)? {
            interpreters.extend(open(&path)?.and_then(|file| interpreter(&file)));
        }
    }
    for path in interpreters {
        add(&mut found, &path, ToolKind::Interpreter)?;
    }
    Ok(found)
}

/// Whether there is a file with this path that was not found before.
fn add(found: &mut Vec<InstalledTool>, path: &Path, kind: ToolKind) -> io::Result<bool> {
    let known =
        |tool: &InstalledTool| found.iter().any(|other| (other.device, other.inode) == (tool.device, tool.inode));
    let new = installed(path, kind)?.filter(|tool| !known(tool));
    let is_new = new.is_some();
    found.extend(new);
    Ok(is_new)
}

fn installed(path: &Path, kind: ToolKind) -> io::Result<Option<InstalledTool>> {
    let Some(metadata) = fs::metadata(path).ok().filter(fs::Metadata::is_file) else { return Ok(None) };
    let Some(file) = open(path)? else { return Ok(None) };
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    let device = metadata.dev();
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    Ok(Some(InstalledTool { device, inode: metadata.ino(), head, kind }))
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// elf(5): segments of this type hold the path of the program's dynamic loader.
const PT_INTERP: u64 = 3;
const MAX_SEGMENTS: u64 = 64;
const MAX_PATH_BYTES: u64 = 4096;

/// The dynamic loader that a program names. `None` for programs without one, and other than 64-bit ones.
fn interpreter(file: &File) -> Option<PathBuf> {
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
        let found = installed_in(&[folder.path(), folder.path()]).unwrap();
        let heads: Vec<_> = found.iter().map(|tool| (tool.head.as_slice(), tool.kind)).collect();
        assert_eq!(heads, [(&b"busybox"[..], ToolKind::Many), (&b"kmod"[..], ToolKind::Tool)]);
    }

    #[test]
    fn what_cannot_be_read_is_not_gone() {
        let folder = tempfile::tempdir().unwrap();
        // It can be opened, but nothing is mapped at its beginning.
        std::os::unix::fs::symlink("/proc/self/mem", folder.path().join("kmod")).unwrap();
        assert!(installed_in(&[folder.path()]).is_err());
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
        let found = installed_in(&[folder.path()]).unwrap();
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
            assert_eq!(interpreter(&File::open(&path).unwrap()), loader);
        }
    }
}
