//! Command lines that the kernel probe did not know, because the process was executed before the probe was there.
//!
//! They are read once, when the daemon starts, by a thread that nobody waits for. Reading one later, when an event asks for
//! it, would give whoever caused the event a way to stop the daemon: `/proc/PID/cmdline` waits for the process's memory map,
//! which an unprivileged process can hold for ever.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use crate::model::{ArgumentsSource, Bytes, Process, ProcessTree, process::MAX_ARGUMENTS};

/// Bytes of a command line, as many as the probe takes of the caller's.
const MAX_COMMAND_LINE_BYTES: usize = 4096;
/// More than the fields of a `stat` file can take.
const MAX_STAT_BYTES: usize = 4096;
/// Processes whose command lines are kept.
const MAX_PROCESSES: usize = 4096;

/// The unit of times in `stat` files, in nanoseconds: USER_HZ is 100 on x86 and arm64, whatever HZ the kernel runs at.
const CLOCK_TICK_NS: u64 = 10_000_000;

/// A process by its id and its start, in clock ticks since boot.
type Key = (u32, u64);

/// Command lines of the processes that were running when the daemon started.
#[derive(Clone, Debug, Default)]
pub struct RunningProcesses {
    found: Arc<Mutex<HashMap<Key, CommandLine>>>,
}

#[derive(Clone, Debug)]
struct CommandLine {
    /// NUL-separated.
    line: Vec<u8>,
    truncated: bool,
    /// Inode of the executable, to notice that the process executed another one since.
    executable: u64,
}

impl RunningProcesses {
    /// Begins to read, in a thread of its own; what is not read when it is asked for is not known.
    pub fn collect(proc: &Path) -> io::Result<Self> {
        let running = Self::default();
        let (reader, proc) = (running.clone(), proc.to_owned());
        std::thread::Builder::new().name("processes".to_owned()).spawn(move || reader.read_all(&proc))?;
        Ok(running)
    }

    fn read_all(&self, proc: &Path) {
        let entries = fs::read_dir(proc).into_iter().flatten().flatten();
        let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        // Services have low numbers. Whoever makes this thread wait hides none that are older than himself.
        pids.sort_unstable();
        for pid in pids.into_iter().take(MAX_PROCESSES) {
            if let Some((key, line)) = read_one(&proc.join(pid.to_string()), pid) {
                self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, line);
            }
        }
    }

    fn command_line(&self, process: &Process) -> Option<CommandLine> {
        let key = (process.pid, process.start_boot_ns / CLOCK_TICK_NS);
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

/// The start time is looked at last: a process that has it now had the id while the command line was read, too.
fn read_one(directory: &Path, pid: u32) -> Option<(Key, CommandLine)> {
    let mut line = read(&directory.join("cmdline"), MAX_COMMAND_LINE_BYTES + 1).ok()?;
    let start = start_ticks(&read(&directory.join("stat"), MAX_STAT_BYTES).ok()?)?;
    let executable = fs::metadata(directory.join("exe")).map_or(0, |metadata| metadata.ino());
    let truncated = line.len() > MAX_COMMAND_LINE_BYTES;
    line.truncate(MAX_COMMAND_LINE_BYTES);
    line.shrink_to_fit();
    Some(((pid, start), CommandLine { line, truncated, executable }))
}

fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(limit as u64).read_to_end(&mut content)?;
    Ok(content)
}

/// Fills in the arguments of the processes that have none: those that are older than the probes, or of which the probes
/// remember nothing any more. Never waits.
///
/// Where nothing is known of a process, its parent's arguments stand in if it has the same executable. That is a guess, and
/// marked as one: a process may have been adopted by a parent that did not make it.
pub fn complete_arguments(tree: &mut ProcessTree, running: &RunningProcesses) {
    let mut parent: Option<&Process> = None;
    for process in tree.ancestors.iter_mut().rev().chain([&mut tree.caller]) {
        if process.arguments_source == ArgumentsSource::Unknown && !process.kernel_thread {
            complete(process, parent, running);
        }
        parent = Some(process);
    }
}

fn complete(process: &mut Process, parent: Option<&Process>, running: &RunningProcesses) {
    let known = running.command_line(process).filter(|known| {
        known.executable == 0 || process.executable_inode == 0 || known.executable == process.executable_inode
    });
    let arguments = known.as_ref().map(|known| split(&known.line, known.truncated)).unwrap_or_default();
    if let Some(known) = known.filter(|_| !arguments.is_empty()) {
        process.arguments = arguments;
        process.arguments_truncated = known.truncated;
        process.arguments_source = ArgumentsSource::Proc;
        process.cut_arguments(MAX_ARGUMENTS);
        return;
    }
    let executable = (process.executable_inode, process.executable_device);
    let alike = |parent: &&Process| {
        process.executable_inode != 0
            && (parent.executable_inode, parent.executable_device) == executable
            && parent.arguments_source != ArgumentsSource::Unknown
    };
    if let Some(parent) = parent.filter(alike) {
        process.arguments.clone_from(&parent.arguments);
        process.more_arguments = parent.more_arguments;
        process.arguments_truncated = parent.arguments_truncated;
        process.arguments_source = ArgumentsSource::Parent;
    }
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

    /// What was found in a /proc in which these processes run.
    fn running(processes: &[(u32, &str)]) -> RunningProcesses {
        let root = tempfile::tempdir().unwrap();
        for (pid, line) in processes {
            let directory = root.path().join(pid.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("cmdline"), line).unwrap();
            let zeros = "0 ".repeat(18);
            fs::write(directory.join("stat"), format!("{pid} (a ) b) S {zeros}{} 0 0", u64::from(*pid) * 100)).unwrap();
        }
        fs::create_dir(root.path().join("self")).unwrap();
        let running = RunningProcesses::default();
        running.read_all(root.path());
        running
    }

    fn completed(caller: Process, ancestors: &[Process], running: &RunningProcesses) -> Vec<(String, ArgumentsSource)> {
        let mut tree = ProcessTree { caller, ancestors: ancestors.to_vec(), ..ProcessTree::default() };
        complete_arguments(&mut tree, running);
        let described = |process: &Process| {
            let arguments = process.arguments.iter().map(|a| String::from_utf8_lossy(&a.bytes).into_owned());
            (arguments.collect::<Vec<_>>().join(" "), process.arguments_source)
        };
        [&tree.caller].into_iter().chain(&tree.ancestors).map(described).collect()
    }

    #[test]
    fn processes_that_ran_before_are_known() {
        let unknown = |pid| process(pid, u64::from(pid), ArgumentsSource::Unknown, &[]);
        let running = running(&[(10, "sshd\0-D\0"), (11, "title\0\0\0\0")]);
        assert_eq!(
            completed(unknown(11), &[unknown(10), unknown(1)], &running),
            [
                ("title".to_owned(), ArgumentsSource::Proc),
                ("sshd -D".to_owned(), ArgumentsSource::Proc),
                (String::new(), ArgumentsSource::Unknown)
            ]
        );
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let mut other = process(10, 1, ArgumentsSource::Unknown, &[]);
        other.start_boot_ns += SECOND_NS;
        assert_eq!(completed(other, &[], &running(&[(10, "sshd\0")]))[0].1, ArgumentsSource::Unknown);
    }

    #[test]
    fn a_process_that_executed_another_program_since_is_not_known() {
        let running = running(&[(10, "getty\0")]);
        running.found.lock().unwrap().values_mut().for_each(|known| known.executable = 5);
        let with = |inode| completed(process(10, inode, ArgumentsSource::Unknown, &[]), &[], &running).remove(0).1;
        assert_eq!((with(5), with(6)), (ArgumentsSource::Proc, ArgumentsSource::Unknown));
    }

    #[test]
    fn what_the_kernel_said_stays() {
        let caller = process(10, 1, ArgumentsSource::Exec, &["insmod", "x.ko"]);
        assert_eq!(completed(caller, &[], &running(&[(10, "pretended\0")]))[0].0, "insmod x.ko");
    }

    #[test]
    fn a_parent_with_the_same_executable_is_a_guess() {
        let parent = process(10, 7, ArgumentsSource::Exec, &["udevd"]);
        let fork = process(11, 7, ArgumentsSource::Unknown, &[]);
        let none = RunningProcesses::default();
        let (arguments, source) = completed(fork, std::slice::from_ref(&parent), &none).remove(0);
        assert_eq!((arguments.as_str(), source), ("udevd", ArgumentsSource::Parent));
        let other = process(11, 8, ArgumentsSource::Unknown, &[]);
        assert_eq!(completed(other, &[parent], &none)[0].1, ArgumentsSource::Unknown);
    }

    #[test]
    fn kernel_threads_have_none() {
        let thread = Process { kernel_thread: true, ..process(2, 0, ArgumentsSource::Unknown, &[]) };
        assert_eq!(completed(thread, &[], &running(&[(2, "forged\0")]))[0].1, ArgumentsSource::Unknown);
    }

    #[test]
    fn long_lines_are_cut() {
        let line = "x".repeat(MAX_COMMAND_LINE_BYTES + 10);
        let mut tree = ProcessTree { caller: process(10, 1, ArgumentsSource::Unknown, &[]), ..ProcessTree::default() };
        complete_arguments(&mut tree, &running(&[(10, &line)]));
        assert!(tree.caller.arguments_truncated && tree.caller.arguments[0].truncated);
        assert_eq!(tree.caller.arguments[0].bytes.len(), MAX_COMMAND_LINE_BYTES);
    }
}
