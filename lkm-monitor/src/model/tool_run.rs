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
    /// It is the dynamic loader, which was told to run a tool.
    Interpreter,
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
            Self::Interpreter => "interpreter",
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

/// What a file is to module tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolKind {
    #[default]
    Tool,
    /// Many tools, by its first argument.
    Many,
    /// The dynamic loader of one, which runs what its arguments name.
    Interpreter,
}

/// The file behind a tool of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstalledTool {
    /// Major and minor number.
    pub device: (u32, u32),
    pub inode: u64,
    /// The first bytes of the file.
    pub head: Vec<u8>,
    pub kind: ToolKind,
}

impl ToolRun {
    /// The tool that it is, by the name that it goes by: argv\[0\], the program's own name, or the first that it was told to be.
    pub fn tool(&self) -> Option<&'static str> {
        let caller = &self.process.caller;
        let mut arguments = caller.arguments.iter().map(|argument| argument.bytes.as_slice());
        let first = arguments.next().unwrap_or_default();
        // As a login shell is called; programs of many take it off.
        let first = first.strip_prefix(b"-").filter(|_| self.has(ToolMatch::Argument0)).unwrap_or(first);
        let own = [base(first), &caller.name].into_iter().find_map(tool_of_name);
        let is_told = self.has(ToolMatch::Applet) || self.has(ToolMatch::Interpreter);
        own.or_else(|| arguments.map(base).find_map(tool_of_name).filter(|_| is_told))
    }

    fn has(&self, found: ToolMatch) -> bool {
        self.matches.contains(&found)
    }

    /// It is an installed tool, or a copy of one, under a name that no tool has: its file's, or the one that it was given. The
    /// tool itself goes by what it is given, so a copy can do its work by any other name.
    pub fn is_disguised(&self) -> bool {
        // A program of many has many names, and `ldd` has the dynamic loader look at tools.
        let is_other = [ToolMatch::Applet, ToolMatch::Argument0, ToolMatch::Interpreter].iter().any(|m| self.has(*m));
        let caller = &self.process.caller;
        let file = caller.executable.as_ref().and_then(|path| tool_of_name(base(&path.seen)));
        let by_file = self.has(ToolMatch::Inode) || self.has(ToolMatch::Build);
        by_file && !is_other && (self.tool().is_none() || file.or_else(|| tool_of_name(&caller.name)).is_none())
    }
}

fn tool_of_name(name: &[u8]) -> Option<&'static str> {
    TOOL_NAMES.into_iter().chain(READING_NAMES).find(|tool| tool.as_bytes() == name)
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bytes, samples};

    fn tool(name: &str, arguments: &[&str], matches: &[ToolMatch]) -> Option<&'static str> {
        let mut run = samples::tool_run();
        run.process.caller.name = name.into();
        run.process.caller.arguments = arguments.iter().map(|argument| Bytes::whole(*argument)).collect();
        run.matches = matches.to_vec();
        run.tool()
    }

    #[test]
    fn a_program_of_many_is_the_tool_that_it_is_asked_for() {
        let busybox = |arguments: &[&str], found| tool("busybox", arguments, &[ToolMatch::Inode, found]);
        assert_eq!(busybox(&["busybox", "/x/insmod", "rmmod"], ToolMatch::Applet), Some("insmod"));
        assert_eq!(busybox(&["busybox", "busybox", "rmmod", "x"], ToolMatch::Applet), Some("rmmod"));
        assert_eq!(busybox(&["-rmmod", "x"], ToolMatch::Argument0), Some("rmmod"));
        assert_eq!(busybox(&["-/x/insmod", "x"], ToolMatch::Argument0), Some("insmod"));
        assert_eq!(busybox(&["-insmod", "x"], ToolMatch::Build), None, "kmod takes no dash off");
    }

    #[test]
    fn the_dynamic_loader_is_the_tool_that_it_runs() {
        let loader = |arguments: &[&str]| tool("ld.so", arguments, &[ToolMatch::Inode, ToolMatch::Interpreter]);
        assert_eq!(loader(&["/lib64/ld.so", "--argv0", "insmod", "/usr/bin/kmod", "x.ko"]), Some("insmod"));
        assert_eq!(loader(&["/lib64/ld.so", "/sbin/rmmod", "x"]), Some("rmmod"));
    }
}
