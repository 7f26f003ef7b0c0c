//! Tells the probes which files are module tools. The maps can be filled anew while the probes run.

use std::collections::BTreeMap;

use aya::{
    Ebpf, Pod,
    maps::{Array, MapError},
};
use lkm_monitor_common::watch::{
    TOOL_BUILD_AT, TOOL_BUILD_BYTES, TOOLS_SECTION, ToolBuild, ToolFile, ToolHints, name_bit, number_bit, tool_kinds,
};

use super::{
    attach::Incomplete,
    table::{self, TableError},
};
use crate::model::{
    InstalledTool, ToolKind,
    tool_run::{MANY_NAMES, TOOL_NAMES},
};

/// Why the probes do not know the tools.
#[derive(Debug, thiserror::Error)]
pub enum ToolFilesError {
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Map(#[from] MapError),
}

/// [`ToolFile`], as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FileKey([u64; 2]);

// SAFETY: plain numbers in a C layout, without padding.
unsafe impl Pod for FileKey {}

/// [`ToolHints`], as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct HintsValue(ToolHints);

// SAFETY: as above.
unsafe impl Pod for HintsValue {}

/// Makes the probes know these installed tools, and no longer those of an earlier list. Gives the maps that held something else.
pub fn install(ebpf: &mut Ebpf, tools: &[InstalledTool]) -> Result<Vec<&'static str>, ToolFilesError> {
    let mut names = BTreeMap::new();
    names.extend(TOOL_NAMES.map(|name| (comm(name), tool_kinds::TOOL)));
    names.extend(MANY_NAMES.map(|name| (comm(name), tool_kinds::MANY)));
    let kind = |tool: &InstalledTool| match tool.kind {
        ToolKind::Tool => tool_kinds::TOOL,
        ToolKind::Many => tool_kinds::MANY,
        ToolKind::Interpreter => tool_kinds::INTERPRETER,
    };
    let files = tools.iter().map(|tool| (file(tool), kind(tool))).collect();
    let builds: BTreeMap<_, _> = tools.iter().filter_map(|tool| Some((build(&tool.head)?, kind(tool)))).collect();
    let held_others = [
        ("TOOL_NAMES", table::fill::<[u8; 16], _>(ebpf, "TOOL_NAMES", &names)?),
        ("TOOL_FILES", table::fill::<FileKey, _>(ebpf, "TOOL_FILES", &files)?),
        ("TOOL_BUILDS", table::fill::<ToolBuild, _>(ebpf, "TOOL_BUILDS", &builds)?),
        (TOOLS_SECTION, write_hints(ebpf, hints(names.keys(), tools, builds.keys()))?),
    ];
    Ok(held_others.into_iter().filter_map(|(map, held_others)| held_others.then_some(map)).collect())
}

/// Whether they were others.
fn write_hints(ebpf: &mut Ebpf, hints: ToolHints) -> Result<bool, ToolFilesError> {
    let map = ebpf.map_mut(TOOLS_SECTION).ok_or(Incomplete(TOOLS_SECTION))?;
    let mut map: Array<_, HintsValue> = Array::try_from(map)?;
    let old = map.get(&0, 0)?.0;
    map.set(0, &HintsValue(hints), 0)?;
    Ok(old != hints)
}

/// What tells the probes quickly that a program is none of these.
fn hints<'a>(
    names: impl Iterator<Item = &'a [u8; 16]>,
    tools: &[InstalledTool],
    builds: impl Iterator<Item = &'a ToolBuild>,
) -> ToolHints {
    let all = |bits: &mut dyn Iterator<Item = u64>| bits.fold(0, |all, bit| all | bit);
    let first = |build: &ToolBuild| build.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    ToolHints {
        inodes: all(&mut tools.iter().map(|tool| number_bit(tool.inode))),
        builds: all(&mut builds.map(|build| number_bit(first(build)))),
        names: all(&mut names.map(|name| name_bit(u32::from_le_bytes([name[0], name[1], name[2], name[3]])))),
    }
}

/// `task->comm` of a program of this name.
fn comm(name: &str) -> [u8; 16] {
    let mut comm = [0; 16];
    comm.iter_mut().take(15).zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    comm
}

fn file(tool: &InstalledTool) -> FileKey {
    let (major, minor) = tool.device;
    let key = ToolFile { inode: tool.inode, device: major << 20 | minor & 0xf_ffff, reserved: 0 };
    FileKey([key.inode, u64::from(key.device)])
}

/// What copies of the file have in common with it; `None` when it is no ELF file.
fn build(head: &[u8]) -> Option<ToolBuild> {
    let build = head.get(TOOL_BUILD_AT..TOOL_BUILD_AT + TOOL_BUILD_BYTES)?;
    head.starts_with(b"\x7fELF").then_some(())?;
    build.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_as_the_kernel_does() {
        assert_eq!(&comm("kmod"), b"kmod\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(comm("a-name-of-more-than-fifteen")[15], 0);
    }

    #[test]
    fn a_file_is_known_as_the_kernel_keeps_its_device() {
        let tool = InstalledTool { device: (254, 3), inode: 99, ..InstalledTool::default() };
        assert!(file(&tool) == FileKey([99, 254 << 20 | 3]));
    }

    #[test]
    fn only_elf_files_have_a_build() {
        let mut head = b"\x7fELF".to_vec();
        head.resize(24, 0);
        head.extend(1..=24);
        assert_eq!(build(&head).unwrap()[0], 1);
        assert_eq!(build(&head[..40]), None);
        assert_eq!(build(&[b'#'; 64]), None);
    }
}
