//! Runs of kmod, modprobe, insmod, rmmod and depmod.

use super::{Operation, ProcessTree};

/// How a program is known as a module tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolMatch {
    /// It is the installed file.
    Inode,
    /// It begins like the installed file.
    Build,
    /// It was executed by a tool's name.
    Name,
    /// It was told that it is one, by its first argument.
    Argument0,
    /// It is a program of many, which was asked for a tool.
    Applet,
}

impl ToolMatch {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inode => "inode",
            Self::Build => "build",
            Self::Name => "name",
            Self::Argument0 => "argv0",
            Self::Applet => "applet",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolEnd {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Killed(u8),
    /// The process executed another program.
    Replaced,
}

/// What the process of a run asked of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOperation {
    /// Thread and enter time, as in [`super::ModuleCall`].
    pub call: (u32, u64),
    pub operation: Operation,
    /// The module's name, as far as it is known.
    pub module: Option<Vec<u8>>,
    pub succeeded: Option<bool>,
    pub errno: Option<i32>,
}

/// One run, from its exec to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRun {
    /// The exec, in nanoseconds since boot.
    pub boot_ns: u64,
    pub cpu: u32,
    pub process: ProcessTree,
    /// As the kernel counted them at the exec.
    pub argument_count: u32,
    pub matches: Vec<ToolMatch>,
    pub operations: Vec<ToolOperation>,
    /// Further operations, of which only the number is kept.
    pub more_operations: u32,
    pub end: Option<ToolEnd>,
    pub ended_boot_ns: Option<u64>,
    /// How often it was told before it ended.
    pub told: u32,
}

/// The names of module tools.
pub const TOOL_NAMES: [&str; 5] = ["kmod", "modprobe", "insmod", "rmmod", "depmod"];

/// What kmod is called besides, when it only reads. These are no names to look for: who is not kmod itself does no harm by them.
pub const READING_NAMES: [&str; 2] = ["lsmod", "modinfo"];

/// The names of programs that are many tools, by their first argument.
pub const MANY_NAMES: [&str; 2] = ["busybox", "toybox"];

/// The file behind a tool of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstalledTool {
    /// Major and minor number.
    pub device: (u32, u32),
    pub inode: u64,
    /// The first bytes of the file.
    pub head: Vec<u8>,
    /// It is many tools, by its first argument.
    pub is_many: bool,
}

impl ToolRun {
    /// The tool that it is, by the name that it goes by: argv\[0\], the applet, or the program's own name.
    pub fn tool(&self) -> Option<&'static str> {
        let caller = &self.process.caller;
        let argument = |at: usize| caller.arguments.get(at).map(|argument| base(&argument.bytes));
        let applet = self.matches.contains(&ToolMatch::Applet).then(|| argument(1)).flatten();
        [argument(0), Some(caller.name.as_slice()), applet].into_iter().flatten().find_map(tool_of_name)
    }

    /// It is an installed tool, or a copy of one, under a name that no tool has: its file's, or the one that it was given. The
    /// tool itself goes by what it is given, so a copy can do its work by any other name.
    pub fn is_disguised(&self) -> bool {
        let has = |found: ToolMatch| self.matches.contains(&found);
        // A program of many has many names.
        let is_many = has(ToolMatch::Applet) || has(ToolMatch::Argument0);
        let caller = &self.process.caller;
        let file = caller.executable.as_ref().and_then(|path| tool_of_name(base(&path.seen)));
        let by_file = has(ToolMatch::Inode) || has(ToolMatch::Build);
        by_file && !is_many && (self.tool().is_none() || file.or_else(|| tool_of_name(&caller.name)).is_none())
    }
}

fn tool_of_name(name: &[u8]) -> Option<&'static str> {
    TOOL_NAMES.into_iter().chain(READING_NAMES).find(|tool| tool.as_bytes() == name)
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}
