//! Command lines that the kernel probe did not know, because the process was executed before the probe was there.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::model::{ArgumentsSource, Bytes, Process, ProcessTree};

/// Bytes of a command line, as many as the probe takes of the caller's.
const MAX_COMMAND_LINE_BYTES: usize = 4096;

/// The unit of times in `stat` files, in nanoseconds: USER_HZ is 100 on x86 and arm64, whatever HZ the kernel runs at.
const CLOCK_TICK_NS: u64 = 10_000_000;

/// The process files of the running kernel.
#[derive(Clone, Debug)]
pub struct ProcFiles {
    root: PathBuf,
}

impl ProcFiles {
    /// `root` is /proc on a real host.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The command line of the process with that id, if it is still the one that started then.
    ///
    /// The start time is looked at last: a process that has it now had the id while the command line was read, too.
    fn arguments(&self, process: &Process) -> Option<(Vec<Bytes>, bool)> {
        let directory = self.root.join(process.pid.to_string());
        let mut line = Vec::new();
        let limit = MAX_COMMAND_LINE_BYTES as u64 + 1;
        File::open(directory.join("cmdline")).ok()?.take(limit).read_to_end(&mut line).ok()?;
        let stat = fs::read(directory.join("stat")).ok()?;
        if start_ticks(&stat)? != process.start_boot_ns / CLOCK_TICK_NS {
            return None;
        }
        let truncated = line.len() > MAX_COMMAND_LINE_BYTES;
        line.truncate(MAX_COMMAND_LINE_BYTES);
        let arguments = split(&line, truncated);
        (!arguments.is_empty()).then_some((arguments, truncated))
    }
}

/// Fills in the arguments of the processes that have none.
///
/// A process that was never executed after its fork has its parent's. That is certain where the probe saw the parent being
/// executed, since it would have seen the child, too. Where the parent is older than the probe, /proc is asked first: the
/// child may have executed the same program again, with other arguments, as `systemd --user` does.
pub fn complete_arguments(tree: &mut ProcessTree, files: &ProcFiles) {
    let mut parent: Option<&Process> = None;
    for process in tree.ancestors.iter_mut().rev().chain([&mut tree.caller]) {
        if process.arguments_source == ArgumentsSource::Unknown && !process.kernel_thread {
            complete(process, parent, files);
        }
        parent = Some(process);
    }
}

fn complete(process: &mut Process, parent: Option<&Process>, files: &ProcFiles) {
    let parent = parent.filter(|parent| {
        process.executable_inode != 0
            && (process.executable_inode, process.executable_device)
                == (parent.executable_inode, parent.executable_device)
    });
    let certain = |parent: &&Process| {
        matches!(parent.arguments_source, ArgumentsSource::Memory | ArgumentsSource::Exec | ArgumentsSource::Inherited)
    };
    if let Some(parent) = parent.filter(certain) {
        inherit(process, parent);
    } else if let Some((arguments, truncated)) = files.arguments(process) {
        process.arguments = arguments;
        process.arguments_truncated = truncated;
        process.arguments_source = ArgumentsSource::Proc;
    } else if let Some(parent) = parent.filter(|parent| parent.arguments_source == ArgumentsSource::Proc) {
        inherit(process, parent);
    }
}

fn inherit(process: &mut Process, parent: &Process) {
    process.arguments.clone_from(&parent.arguments);
    process.arguments_truncated = parent.arguments_truncated;
    process.arguments_source = ArgumentsSource::Inherited;
}

/// Arguments of a `cmdline` file. A process that wrote a title over its arguments leaves NULs behind it: they are none.
fn split(line: &[u8], truncated: bool) -> Vec<Bytes> {
    let end = line.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return Vec::new();
    }
    let mut arguments: Vec<_> = line[..end].split(|&byte| byte == 0).map(Bytes::whole).collect();
    if let Some(last) = arguments.last_mut() {
        last.truncated = truncated;
    }
    arguments
}

/// Field 22 of a `stat` file (proc_pid_stat(5)), in clock ticks since boot. The second field, the name in parentheses, may
/// hold anything, so the fields are counted from the last parenthesis.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn process(pid: u32, inode: u64, source: ArgumentsSource, arguments: &[&str]) -> Process {
        Process {
            pid,
            start_boot_ns: u64::from(pid) * SECOND_NS + 123,
            executable_inode: inode,
            executable_device: (8, 1),
            arguments: arguments.iter().map(|argument| Bytes::whole(*argument)).collect(),
            arguments_source: source,
            ..Process::default()
        }
    }

    /// A /proc in which these processes run.
    fn proc_with(processes: &[(u32, &str)]) -> (tempfile::TempDir, ProcFiles) {
        let root = tempfile::tempdir().unwrap();
        for (pid, line) in processes {
            let directory = root.path().join(pid.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("cmdline"), line).unwrap();
            let zeros = "0 ".repeat(18);
            fs::write(directory.join("stat"), format!("{pid} (a ) b) S {zeros}{} 0 0", u64::from(*pid) * 100)).unwrap();
        }
        let files = ProcFiles::new(root.path());
        (root, files)
    }

    fn words(process: &Process) -> Vec<String> {
        process.arguments.iter().map(|argument| String::from_utf8(argument.bytes.clone()).unwrap()).collect()
    }

    #[test]
    fn forked_child_inherits_from_an_executed_parent() {
        let mut tree = ProcessTree {
            caller: process(12, 7, ArgumentsSource::Memory, &["insmod", "x.ko"]),
            ancestors: vec![
                process(11, 5, ArgumentsSource::Unknown, &[]),
                process(10, 5, ArgumentsSource::Exec, &["bash", "run.sh"]),
            ],
            ..ProcessTree::default()
        };
        let (_root, files) = proc_with(&[(11, "rewritten\0")]);
        complete_arguments(&mut tree, &files);
        assert_eq!(words(&tree.ancestors[0]), ["bash", "run.sh"]);
        assert_eq!(tree.ancestors[0].arguments_source, ArgumentsSource::Inherited);
    }

    #[test]
    fn processes_older_than_the_probe_are_read_from_proc() {
        let mut tree = ProcessTree {
            caller: process(12, 7, ArgumentsSource::Exec, &["insmod"]),
            ancestors: vec![
                process(3, 5, ArgumentsSource::Unknown, &[]),
                process(2, 5, ArgumentsSource::Unknown, &[]),
                process(1, 5, ArgumentsSource::Unknown, &[]),
            ],
            ..ProcessTree::default()
        };
        // Process 3 is gone.
        let (_root, files) = proc_with(&[(1, "/sbin/init\0"), (2, "systemd\0--user\0\0\0")]);
        complete_arguments(&mut tree, &files);
        assert_eq!(words(&tree.ancestors[2]), ["/sbin/init"]);
        assert_eq!(words(&tree.ancestors[1]), ["systemd", "--user"]);
        assert_eq!(tree.ancestors[1].arguments_source, ArgumentsSource::Proc);
        assert_eq!(words(&tree.ancestors[0]), ["systemd", "--user"]);
        assert_eq!(tree.ancestors[0].arguments_source, ArgumentsSource::Inherited);
    }

    #[test]
    fn another_process_with_the_same_id_is_not_believed() {
        let (_root, files) = proc_with(&[(5, "innocent\0")]);
        let mut tree = ProcessTree { caller: process(5, 7, ArgumentsSource::Unknown, &[]), ..ProcessTree::default() };
        tree.caller.start_boot_ns += SECOND_NS;
        complete_arguments(&mut tree, &files);
        assert_eq!(tree.caller.arguments_source, ArgumentsSource::Unknown);
    }

    #[test]
    fn long_command_lines_are_cut_and_marked() {
        let (_root, files) = proc_with(&[(5, &"a".repeat(MAX_COMMAND_LINE_BYTES + 1))]);
        let mut tree = ProcessTree { caller: process(5, 7, ArgumentsSource::Unknown, &[]), ..ProcessTree::default() };
        complete_arguments(&mut tree, &files);
        assert!(tree.caller.arguments_truncated && tree.caller.arguments[0].truncated);
        assert_eq!(tree.caller.arguments[0].bytes.len(), MAX_COMMAND_LINE_BYTES);
    }

    #[test]
    fn real_proc_agrees_with_itself() {
        let files = ProcFiles::new(Path::new("/proc"));
        let stat = fs::read("/proc/self/stat").unwrap();
        let mut tree = ProcessTree::default();
        tree.caller.pid = std::process::id();
        tree.caller.start_boot_ns = start_ticks(&stat).unwrap() * CLOCK_TICK_NS;
        complete_arguments(&mut tree, &files);
        assert_eq!(tree.caller.arguments_source, ArgumentsSource::Proc);
        assert_eq!(tree.caller.arguments.len(), std::env::args().count());
    }

    #[test]
    fn malformed_stat_files() {
        for stat in [b"".as_slice(), b"1 (x", b"1 (x) S 1 2", b"1 (x) \xff"] {
            assert_eq!(start_ticks(stat), None);
        }
    }
}
