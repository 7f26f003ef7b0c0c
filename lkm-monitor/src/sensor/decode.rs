//! Events from the ring, decoded. The kernel's layouts end here.

use lkm_monitor_common::{
    event::{self, EventHeader, EventKind, WIRE_VERSION, header_flags},
    section::{
        self, CallEnd, ExecRecord, FileOperation, PathHead, SectionHeader, Tag, Tool, exec_flags, file_flags, flags,
        process_flags,
    },
};
use zerocopy::FromBytes;

use super::{
    object_access::{self, AccessSeen},
    path_bytes,
};
use crate::model::{
    Abi, ArgumentsSource, Bytes, FileFacts, FileTime, Ids, Namespaces, Process, SeenPath,
    process::{MAX_ARGUMENTS, Tracer, Tty},
};

/// Why an event is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{0} bytes are no event header")]
    Short(usize),
    #[error("wire version {0}, expected {WIRE_VERSION}")]
    Version(u16),
    #[error("unknown event kind {0}")]
    Kind(u16),
    #[error("section {tag} of {len} bytes does not fit")]
    Section { tag: u16, len: u32 },
}

/// One event: the thread that it happened in, and whatever the probe had to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: EventKind,
    /// Bytes that it had in the ring; what it holds here takes about twice as many.
    pub wire_bytes: usize,
    pub cpu: u32,
    pub boot_ns: u64,
    /// Enter time of the call that it belongs to; 0 when there is none.
    pub call_id: u64,
    /// The thread's process, as far as the event's head knows it.
    pub thread: Process,
    /// Sections were left out because the event was full.
    pub sections_dropped: bool,
    pub call: Option<CallArguments>,
    pub end: Option<CallEnd>,
    pub file: Option<FileFacts>,
    pub image: Option<section::Image>,
    /// `None` inside: there, but not readable.
    pub parameters: Option<Option<Bytes>>,
    pub module_name: Option<Bytes>,
    /// There is a name, but it could not be read.
    pub module_name_unreadable: bool,
    pub taints: Option<u64>,
    pub version: Option<Bytes>,
    pub srcversion: Option<Bytes>,
    pub waits: bool,
    pub change: Option<FileOperationSeen>,
    /// There is an inode in `file`, and not only a path.
    pub has_inode: bool,
    pub old_path: Option<SeenPath>,
    pub link_target: Option<Bytes>,
    pub tool: Option<Tool>,
    pub access: Option<AccessSeen>,
    /// The caller first, then its ancestors.
    pub processes: Vec<Process>,
    pub more_ancestors: bool,
}

/// A change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOperationSeen {
    pub operation: FileOperation,
    /// Bits of [`section::file_change_flags`].
    pub flags: u32,
    pub call_flags: u32,
    pub ret: i64,
}

/// A call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallArguments {
    pub syscall: u8,
    pub abi: Option<Abi>,
    pub flags: u32,
    pub fd: i32,
    pub image_bytes: u64,
}

/// Decodes one event. Any bytes are safe to pass; sections of unknown tag are passed over.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let (header, mut rest) = EventHeader::read_from_prefix(bytes).map_err(|_| DecodeError::Short(bytes.len()))?;
    if header.version != WIRE_VERSION {
        return Err(DecodeError::Version(header.version));
    }
    let kind = EventKind::from_raw(header.kind).ok_or(DecodeError::Kind(header.kind))?;
    let mut event = Event { wire_bytes: bytes.len(), ..empty(kind, &header) };
    while !rest.is_empty() {
        let Ok((head, content)) = SectionHeader::read_from_prefix(rest) else {
            return Err(DecodeError::Section { tag: 0, len: u32::try_from(rest.len()).unwrap_or(u32::MAX) });
        };
        let malformed = DecodeError::Section { tag: head.tag, len: head.len };
        let len = usize::try_from(head.len).map_err(|_| malformed.clone())?;
        let content_and_padding = content.get(..len).zip(content.get(len.next_multiple_of(8)..));
        let Some((content, next)) = content_and_padding else {
            return Err(malformed);
        };
        event.take(head, content).ok_or(malformed)?;
        rest = next;
    }
    // Not before: what a process was executed with is compared with all of what it shows.
    event.processes.iter_mut().for_each(|process| process.cut_arguments(MAX_ARGUMENTS));
    Ok(event)
}

fn empty(kind: EventKind, header: &EventHeader) -> Event {
    Event {
        kind,
        wire_bytes: 0,
        cpu: header.cpu,
        boot_ns: header.boot_ns,
        call_id: header.call_id,
        thread: thread(header),
        sections_dropped: header.flags & header_flags::SECTIONS_DROPPED != 0,
        call: None,
        end: None,
        file: None,
        image: None,
        parameters: None,
        module_name: None,
        module_name_unreadable: false,
        taints: None,
        version: None,
        srcversion: None,
        waits: false,
        change: None,
        has_inode: false,
        old_path: None,
        link_target: None,
        tool: None,
        access: None,
        processes: Vec::new(),
        more_ancestors: false,
    }
}

fn thread(header: &event::EventHeader) -> Process {
    Process {
        pid: header.tgid,
        tid: header.tid,
        start_boot_ns: header.process_start_boot_ns,
        name: until_nul(&header.comm),
        ids: Some(Ids {
            uid: header.uid,
            gid: header.gid,
            euid: header.euid,
            egid: header.egid,
            suid: header.suid,
            sgid: header.sgid,
        }),
        ..Process::default()
    }
}

impl Event {
    /// Takes one section in; `None` when its content is not what its tag says.
    fn take(&mut self, head: SectionHeader, content: &[u8]) -> Option<()> {
        let text = || Bytes { bytes: content.to_vec(), truncated: head.flags & flags::TRUNCATED != 0 };
        let readable = head.flags & flags::UNREADABLE == 0;
        match tag(head.tag) {
            Some(Tag::Call) => self.call = Some(call(&read(content)?)),
            Some(Tag::CallEnd) => self.end = Some(read(content)?),
            Some(Tag::File) => {
                self.file = Some(file(&read(content)?));
                self.has_inode = true;
            }
            Some(Tag::FileChange) => self.change = Some(change(&read(content)?)?),
            Some(Tag::OldPath) => self.old_path = Some(path_bytes::decode(content, head.flags)?),
            Some(Tag::LinkTarget) if readable => self.link_target = Some(text()),
            Some(Tag::Tool) => self.tool = Some(read(content)?),
            Some(Tag::ObjectAccess) => self.access = Some(object_access::seen(&read(content)?)?),
            Some(Tag::FilePath) => {
                let path = path_bytes::decode(content, head.flags)?;
                self.file.get_or_insert_default().path = path;
            }
            Some(Tag::Image) => self.image = Some(read(content)?),
            Some(Tag::Parameters) => self.parameters = Some(readable.then(text)),
            Some(Tag::ModuleName) if readable => self.module_name = Some(text()),
            Some(Tag::ModuleName) => self.module_name_unreadable = true,
            Some(Tag::Module) => self.taints = Some(read::<section::Module>(content)?.taints),
            Some(Tag::ModuleVersion) if readable => self.version = Some(text()),
            Some(Tag::ModuleSrcversion) if readable => self.srcversion = Some(text()),
            Some(Tag::Request) => self.waits = read::<section::Request>(content)?.wait != 0,
            Some(Tag::Process) => {
                let raw: section::Process = read(content)?;
                self.more_ancestors |= raw.flags & process_flags::MORE_ANCESTORS != 0;
                self.processes.push(process(&raw));
            }
            Some(Tag::MountRoot) => {
                // It belongs to the path right before it: a process's sections come after the file's.
                let path = match self.processes.last_mut() {
                    Some(process) => process.executable.as_mut().filter(|_| process.working_directory.is_none()),
                    None => self.old_path.as_mut().or(self.file.as_mut().map(|file| &mut file.path)),
                };
                if let Some(path) = path {
                    path.mount_root = path_bytes::mount_root(content, head.flags);
                }
            }
            Some(tag) => {
                if let Some(process) = self.processes.last_mut() {
                    describe(process, tag, head.flags, content)?;
                }
            }
            None => {}
        }
        Some(())
    }
}

/// Takes in a section that belongs to a process.
fn describe(process: &mut Process, tag: Tag, section_flags: u16, content: &[u8]) -> Option<()> {
    let readable = section_flags & flags::UNREADABLE == 0;
    let truncated = section_flags & flags::TRUNCATED != 0;
    match tag {
        Tag::ExecutablePath => process.executable = Some(path_bytes::decode(content, section_flags)?),
        Tag::WorkingDirectory => {
            process.working_directory = Some(path_bytes::decode(content, section_flags)?);
        }
        Tag::RootDirectory => {
            let root: SeenPath = path_bytes::decode(content, section_flags)?;
            process.root_directory = (root.absolute != b"/" && !root.unreadable).then_some(root.absolute);
        }
        Tag::Arguments if readable => {
            process.arguments = split_arguments(content, truncated);
            process.arguments_truncated = truncated;
            process.arguments_source = ArgumentsSource::Memory;
        }
        Tag::ExecArguments => recall_exec(process, &read(content)?),
        Tag::ControlGroup if readable => {
            process.control_group = Some(path_bytes::control_group(content));
            process.control_group_truncated = truncated;
        }
        Tag::Terminal if readable => process.tty.get_or_insert_default().name = content.to_vec(),
        _ => {}
    }
    Some(())
}

/// Compares the process with what it was executed as; the exec's word counts. A record that is not of this process, or
/// cannot be one, is passed over: the process stands for itself.
fn recall_exec(process: &mut Process, record: &ExecRecord) {
    let of_process = record.start_boot_ns == process.start_boot_ns;
    let Some(executed) = record.args.get(..usize::from(record.len)).filter(|_| of_process) else {
        return;
    };
    let truncated = record.flags & exec_flags::TRUNCATED != 0;
    let inherited = record.flags & exec_flags::INHERITED != 0;
    if record.exe_inode != 0 && process.executable_inode != 0 {
        process.executable_replaced =
            (record.exe_inode, device(record.exe_device)) != (process.executable_inode, process.executable_device);
    }
    let arguments = split_arguments(executed, truncated);
    if process.arguments_source == ArgumentsSource::Memory {
        let same = process.arguments == arguments || truncated && starts_with(&process.arguments, &arguments);
        // Forks name themselves by their task, as udev's workers do: that is no disguise.
        if same || inherited {
            return;
        }
        process.arguments_rewritten = true;
    }
    process.arguments = arguments;
    process.arguments_truncated = truncated;
    process.arguments_source = if inherited { ArgumentsSource::Inherited } else { ArgumentsSource::Exec };
}

/// Whether `whole` begins with `cut`, of which the last argument may be cut short.
fn starts_with(whole: &[Bytes], cut: &[Bytes]) -> bool {
    let Some((last, first)) = cut.split_last() else {
        return true;
    };
    whole.starts_with(first) && whole.get(first.len()).is_some_and(|argument| argument.bytes.starts_with(&last.bytes))
}

fn split_arguments(bytes: &[u8], truncated: bool) -> Vec<Bytes> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let ended = bytes.last() == Some(&0);
    // A process that wrote a title over its arguments leaves NULs behind it: they are none.
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return Vec::new();
    }
    let bytes = &bytes[..end];
    let mut arguments: Vec<_> = bytes.split(|&byte| byte == 0).map(Bytes::whole).collect();
    if let Some(last) = arguments.last_mut() {
        last.truncated = truncated && !ended;
    }
    arguments
}

fn change(raw: &section::FileChange) -> Option<FileOperationSeen> {
    Some(FileOperationSeen {
        operation: FileOperation::from_raw(raw.operation)?,
        flags: raw.flags,
        call_flags: raw.call_flags,
        ret: raw.ret,
    })
}

fn call(raw: &section::Call) -> CallArguments {
    CallArguments {
        syscall: raw.syscall,
        abi: abi(raw.abi),
        flags: raw.flags,
        fd: raw.fd,
        image_bytes: raw.image_bytes,
    }
}

/// The entry of a call, `None` when it was not seen.
pub fn abi(raw: u8) -> Option<Abi> {
    match raw {
        1 => Some(Abi::X86_64),
        2 => Some(Abi::I386),
        3 => Some(Abi::X32),
        _ => None,
    }
}

fn file(raw: &section::File) -> FileFacts {
    let (device_major, device_minor) = device(raw.device);
    FileFacts {
        path: SeenPath::default(),
        inode: raw.inode,
        device_major,
        device_minor,
        size: raw.size,
        mode: raw.mode,
        uid: raw.uid,
        gid: raw.gid,
        links: raw.links,
        fs_magic: raw.fs_magic,
        unlinked: raw.flags & file_flags::UNLINKED != 0,
        kernel_mount: raw.flags & file_flags::KERNEL_MOUNT != 0,
        accessed: time(raw.accessed_s, raw.accessed_ns),
        modified: time(raw.modified_s, raw.modified_ns),
        changed: time(raw.changed_s, raw.changed_ns),
        created: None,
    }
}

/// A time stamp; all zero is what memory reads as that is not there.
fn time(seconds: i64, nanoseconds: u32) -> Option<FileTime> {
    (seconds != 0 || nanoseconds != 0).then_some(FileTime { seconds, nanoseconds })
}

/// Splits the kernel's `dev_t` (MKDEV of include/linux/kdev_t.h).
const fn device(device: u32) -> (u32, u32) {
    (device >> 20, device & 0xf_ffff)
}

fn process(raw: &section::Process) -> Process {
    let set = |id: u32| (id != u32::MAX).then_some(id);
    Process {
        pid: raw.pid,
        tid: raw.tid,
        namespace_pid: raw.namespace_pid,
        start_boot_ns: raw.start_boot_ns,
        name: until_nul(&raw.comm),
        executable_inode: raw.exe_inode,
        executable_device: device(raw.exe_device),
        executable_unlinked: raw.flags & process_flags::EXECUTABLE_UNLINKED != 0,
        ids: Some(Ids { uid: raw.uid, gid: raw.gid, euid: raw.euid, egid: raw.egid, suid: raw.suid, sgid: raw.sgid }),
        capabilities: raw.capabilities,
        login_uid: set(raw.loginuid),
        audit_session: set(raw.audit_session),
        process_group: raw.process_group,
        session: raw.session,
        tty: (raw.tty_major != 0).then(|| Tty { name: Vec::new(), major: raw.tty_major, minor: raw.tty_minor }),
        control_group_id: raw.cgroup_id,
        namespaces: Namespaces {
            mount: raw.mount_ns,
            pid: raw.pid_ns,
            net: raw.net_ns,
            user: raw.user_ns,
            uts: raw.uts_ns,
            ipc: raw.ipc_ns,
            cgroup: raw.cgroup_ns,
        },
        kernel_thread: raw.flags & process_flags::KERNEL_THREAD != 0,
        tracer: (raw.tracer_pid != 0).then(|| Tracer { pid: raw.tracer_pid, name: until_nul(&raw.tracer_comm) }),
        ..Process::default()
    }
}

fn read<T: FromBytes>(content: &[u8]) -> Option<T> {
    T::read_from_bytes(content).ok()
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

fn tag(raw: u16) -> Option<Tag> {
    const TAGS: [Tag; 25] = [
        Tag::Call,
        Tag::CallEnd,
        Tag::File,
        Tag::FilePath,
        Tag::Image,
        Tag::Parameters,
        Tag::ModuleName,
        Tag::Module,
        Tag::ModuleVersion,
        Tag::ModuleSrcversion,
        Tag::Process,
        Tag::ExecutablePath,
        Tag::WorkingDirectory,
        Tag::RootDirectory,
        Tag::Arguments,
        Tag::ExecArguments,
        Tag::ControlGroup,
        Tag::Terminal,
        Tag::Request,
        Tag::MountRoot,
        Tag::FileChange,
        Tag::OldPath,
        Tag::LinkTarget,
        Tag::Tool,
        Tag::ObjectAccess,
    ];
    TAGS.into_iter().find(|&tag| tag as u16 == raw)
}

const _: () = assert!(size_of::<PathHead>() == 16, "path_bytes reads the head itself");

#[cfg(test)]
pub(crate) mod tests;
