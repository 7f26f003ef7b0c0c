//! An ordinary host, load and unload for tests, each to be changed by the test that needs something else.

use super::{
    Abi, AccessOutcome, Accounts, Bytes, CallOutcome, Check, Content, Extent, FileAction, FileChange, FileFacts,
    HiddenModule, HookKind, Host, Ids, ImageSource, KernelHook, KernelLook, KeyFacts, KeySource, LoadStage, ModuleCall,
    ModuleFacts, ModuleState, Namespaces, ObjectAccess, ObjectKind, ObjectOperation, OperatingSystem, Operation,
    OwnObject, Place, Process, ProcessTree, SeenPath, Sight, Site, SystemCallEntry, SystemCallTable, SystemMount,
    ToolEnd, ToolMatch, ToolRun, View, Writing, taint,
};

const NAMESPACES: Namespaces = Namespaces {
    mount: 4_026_531_841,
    pid: 4_026_531_836,
    net: 4_026_531_840,
    user: 4_026_531_837,
    uts: 4_026_531_838,
    ipc: 4_026_531_839,
    cgroup: 4_026_531_835,
};

pub(crate) fn path(path: &str) -> SeenPath {
    SeenPath {
        seen: path.into(),
        absolute: path.into(),
        mount_point: Some(b"/".to_vec()),
        mount_id: 27,
        mount_root: Some(Vec::new()),
        ..SeenPath::default()
    }
}

/// kmod, run by root in the login session of alice.
pub(crate) fn tree() -> ProcessTree {
    let caller = Process {
        pid: 901,
        tid: 901,
        name: b"modprobe".to_vec(),
        executable: Some(path("/usr/bin/kmod")),
        executable_device: (254, 1),
        ids: Some(Ids::default()),
        capabilities: u64::MAX,
        login_uid: Some(1000),
        control_group: Some(b"/user.slice/user-1000.slice/session-2.scope".to_vec()),
        namespaces: NAMESPACES,
        ..Process::default()
    };
    ProcessTree { caller, ..ProcessTree::default() }
}

pub(crate) fn load_from(file: &str) -> ModuleCall {
    ModuleCall {
        operation: Operation::FinitModule,
        tid: 901,
        call_id: 100,
        boot_ns: 100,
        cpu: 1,
        abi: Some(Abi::X86_64),
        flags: Some(0),
        fd: Some(3),
        offered_bytes: None,
        image_bytes: Some(8192),
        image_source: Some(ImageSource::File),
        capture: None,
        image: None,
        file: Some(FileFacts {
            path: path(file),
            device_major: 254,
            device_minor: 1,
            size: 8192,
            links: 1,
            ..FileFacts::default()
        }),
        content: Content::default(),
        file_swapped: false,
        parameters: None,
        parameters_rewritten: false,
        requested_name: None,
        unreadable: Vec::new(),
        module: ModuleFacts { name: Some(Bytes::whole("foo")), taints: Some(0), ..ModuleFacts::default() },
        outcome: Some(CallOutcome { ret: 0, boot_ns: 200 }),
        stage: LoadStage::Live,
        freed: false,
        process: Some(tree()),
        request: None,
        request_candidates: 0,
        missing: Vec::new(),
        told: 0,
    }
}

pub(crate) fn load() -> ModuleCall {
    load_from("/usr/lib/modules/6.1.0/kernel/foo.ko")
}

pub(crate) fn unload() -> ModuleCall {
    ModuleCall {
        operation: Operation::DeleteModule,
        file: None,
        image_bytes: None,
        image_source: None,
        requested_name: Some(Bytes::whole("foo")),
        unreadable: Vec::new(),
        freed: true,
        ..load()
    }
}

/// The call with this answer of the kernel.
pub(crate) fn refused(call: ModuleCall, errno: i32) -> ModuleCall {
    let outcome = Some(CallOutcome { ret: -i64::from(errno), boot_ns: 200 });
    ModuleCall { outcome, stage: LoadStage::Refused, freed: false, ..call }
}

/// A Debian host whose system files are all on one file system.
pub(crate) fn host() -> Host {
    Host {
        hostname: "web-1".to_owned(),
        machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
        boot_id: "11111111-2222-4333-8444-555555555555".to_owned(),
        kernel_release: "6.1.0-28-amd64".to_owned(),
        architecture: "x86_64".to_owned(),
        operating_system: OperatingSystem {
            family: "debian".to_owned(),
            name: "Debian GNU/Linux".to_owned(),
            platform: "debian".to_owned(),
            version: "12".to_owned(),
            full: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        },
        initial_namespaces: NAMESPACES,
        system_mounts: vec![SystemMount { id: 27, device: (254, 1), point: b"/".to_vec(), root: Vec::new() }],
    }
}

pub(crate) fn accounts() -> Accounts {
    Accounts {
        users: [(0, b"root".to_vec()), (1000, b"alice".to_vec())].into(),
        groups: [(0, b"root".to_vec()), (1000, b"alice".to_vec())].into(),
    }
}

/// A module file, made by root's kmod (which no kmod does).
pub(crate) fn file_change() -> FileChange {
    FileChange {
        action: FileAction::Created,
        boot_ns: 100,
        cpu: 1,
        tid: 901,
        path: path("/tmp/rootkit.ko"),
        old_path: None,
        link_target: None,
        facts: Some(FileFacts {
            inode: 77,
            device_major: 254,
            device_minor: 1,
            size: 8192,
            mode: 0o100_644,
            links: 1,
            ..FileFacts::default()
        }),
        facts_before: None,
        just_changed: false,
        ret: Some(0),
        writing: Writing::Closed,
        closed_boot_ns: Some(200),
        writers: 1,
        call_flags: 0,
        process: tree(),
        told: 0,
    }
}

/// A run of modprobe that asked the kernel for nothing.
pub(crate) fn tool_run() -> ToolRun {
    let mut process = tree();
    process.caller.arguments = ["modprobe", "-n", "foo"].map(Bytes::whole).to_vec();
    ToolRun {
        boot_ns: 100,
        cpu: 1,
        process,
        argument_count: 3,
        matches: vec![ToolMatch::Inode, ToolMatch::Name],
        operations: Vec::new(),
        more_operations: 0,
        end: Some(ToolEnd::Exited(0)),
        ended_boot_ns: Some(200),
        told: 0,
    }
}

/// What `bpftool` does to list a map and a link.
pub(crate) fn object_access() -> ObjectAccess {
    let object = |kind, id, name: Option<&str>| OwnObject { kind, id, name: name.map(str::to_owned) };
    ObjectAccess {
        boot_ns: 1_000_000_000,
        last_boot_ns: 1_002_000_000,
        cpu: 0,
        operation: ObjectOperation::Open,
        count: 3,
        objects: vec![object(ObjectKind::Map, 5, Some("COUNTERS")), object(ObjectKind::Link, 9, None)],
        outcome: AccessOutcome::Succeeded,
        process: tree(),
    }
}

/// With which the running kernel's modules were signed.
pub(crate) fn build_key() -> KeyFacts {
    KeyFacts {
        subject: "CN=Build key".to_owned(),
        algorithm: "rsa-4096".to_owned(),
        sha256: [7; 32],
        source: KeySource::KernelImage("/boot/vmlinuz".into()),
        revoked: false,
        in_kernel: Some(true),
    }
}

/// A look at which one view was not whole and one was not there.
pub(crate) fn kernel_look() -> KernelLook {
    let sight = |view| match view {
        View::Memory => Sight::Incomplete { count: 3, why: "it changed while it was read".to_owned() },
        View::History => Sight::Unavailable { why: "loads are not seen".to_owned() },
        View::ProcModules | View::ProcModulesInPieces => Sight::Whole { count: 2 },
        _ => Sight::Whole { count: 3 },
    };
    let of_check = |check| match check {
        Check::Kprobes => Sight::Unavailable { why: "the kernel names no kprobe_table".to_owned() },
        _ => Sight::Whole { count: 7 },
    };
    KernelLook {
        boot_ns: 90_000_000_000,
        cpu_ns: 21_500_000,
        elapsed_ns: 34_000_000,
        moved: false,
        others_code: Some(70),
        views: View::ALL.map(|view| (view, sight(view))).into(),
        checks: Check::ALL.map(|check| (check, of_check(check))).into(),
        findings: Vec::new(),
        more_findings: 0,
    }
}

/// A module that has left /proc/modules.
pub(crate) fn hidden_module() -> HiddenModule {
    HiddenModule {
        name: "rootkit".to_owned(),
        address: Some(0xffff_ffff_c0a3_e000),
        memory: vec![Extent { address: 0xffff_ffff_c0a3_c000, bytes: 0x4000 }],
        state: Some(ModuleState::Live),
        taints: Some(taint::OUT_OF_TREE | taint::UNSIGNED),
        loaded_boot_ns: Some(80_000_000_000),
        seen_in: vec![View::SysModule, View::AddressTree, View::History],
        missing_from: vec![View::ProcModules, View::ProcModulesInPieces, View::List],
    }
}

/// kill(2) goes to that module.
pub(crate) fn changed_entry() -> SystemCallEntry {
    SystemCallEntry { table: SystemCallTable::X64, number: 62, target: hidden_place() }
}

/// A kprobe that calls that module.
pub(crate) fn foreign_hook() -> KernelHook {
    KernelHook {
        kind: HookKind::Kprobe,
        record: Some(0xffff_ffff_c0a3_f000),
        site: Some(Site { address: 0xffff_ffff_8114_2230, symbol: Some("kallsyms_lookup_name+0x0".to_owned()) }),
        target: hidden_place(),
    }
}

fn hidden_place() -> Place {
    Place { address: 0xffff_ffff_c0a3_c040, module: Some("rootkit".to_owned()), hidden: true }
}
