//! What the document of an ordinary load costs: `cargo bench --bench render`. Fails where it costs more than it may.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lkm_monitor::{
    alert::Renderer,
    assess::{Context, assess},
    model::{
        Abi, Accounts, Agent, ArgumentsSource, Bytes, CallOutcome, Clock, Content, ContentStatus, FileFacts, FileState,
        Host, Ids, ImageSource, LoadStage, ModuleCall, ModuleFacts, Namespaces, Observation, OperatingSystem,
        Operation, Process, ProcessTree, SeenPath, Tty,
    },
};

const DOCUMENTS: u32 = 20_000;
/// The fastest counts: what else the machine does is no cost of ours.
const ROUNDS: u32 = 10;
const MOST: Duration = Duration::from_micros(8);
const SECOND_NS: u64 = 1_000_000_000;

const NAMESPACES: Namespaces = Namespaces {
    mount: 4_026_531_841,
    pid: 4_026_531_836,
    net: 4_026_531_840,
    user: 4_026_531_837,
    uts: 4_026_531_838,
    ipc: 4_026_531_839,
    cgroup: 4_026_531_835,
};

fn host() -> Host {
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
        system_mounts: Vec::new(),
    }
}

fn path(path: &str) -> SeenPath {
    SeenPath {
        seen: path.into(),
        absolute: path.into(),
        mount_point: Some(b"/".to_vec()),
        mount_id: 27,
        mount_root: Some(Vec::new()),
        ..SeenPath::default()
    }
}

fn process(pid: u32, name: &str, executable: &str, arguments: &[&str]) -> Process {
    Process {
        pid,
        tid: pid,
        namespace_pid: pid,
        start_boot_ns: u64::from(pid) * SECOND_NS,
        name: name.into(),
        executable: Some(path(executable)),
        arguments: arguments.iter().map(|argument| Bytes::whole(*argument)).collect(),
        arguments_source: ArgumentsSource::Exec,
        working_directory: Some(path("/root")),
        ids: Some(Ids::default()),
        capabilities: 1 << 16 | 1 << 21,
        login_uid: Some(1000),
        process_group: pid,
        session: 700,
        tty: Some(Tty { name: b"pts0".to_vec(), major: 136, minor: 0 }),
        control_group: Some(b"/user.slice/user-1000.slice/session-2.scope".to_vec()),
        control_group_id: 4711,
        namespaces: NAMESPACES,
        ..Process::default()
    }
}

/// insmod by root, from a shell that came by ssh.
fn load() -> ModuleCall {
    let ancestors = vec![process(812, "bash", "/usr/bin/bash", &["-bash"])];
    ModuleCall {
        operation: Operation::FinitModule,
        tid: 901,
        call_id: 1000 * SECOND_NS,
        boot_ns: 1000 * SECOND_NS,
        cpu: 1,
        abi: Some(Abi::X86_64),
        flags: Some(0),
        fd: Some(3),
        offered_bytes: None,
        image_bytes: Some(8192),
        image_source: Some(ImageSource::File),
        file: Some(FileFacts {
            path: path("/usr/lib/modules/6.1.0-28-amd64/kernel/drivers/net/dummy.ko"),
            inode: 131_073,
            device_major: 254,
            device_minor: 1,
            size: 8192,
            mode: 0o100_644,
            links: 1,
            fs_magic: 0xef53,
            ..FileFacts::default()
        }),
        content: Content {
            status: ContentStatus::Read,
            after: Some(FileState { sha256: Some([7; 32]), ..FileState::default() }),
            ..Content::default()
        },
        file_swapped: false,
        parameters: Some(Bytes::whole("debug=1")),
        parameters_rewritten: false,
        requested_name: None,
        unreadable: Vec::new(),
        module: ModuleFacts {
            name: Some(Bytes::whole("dummy")),
            srcversion: Some(Bytes::whole("0123456789ABCDEF0123456")),
            taints: Some(0),
            ..ModuleFacts::default()
        },
        outcome: Some(CallOutcome { ret: 0, boot_ns: 1000 * SECOND_NS + 2_500_000 }),
        stage: LoadStage::Live,
        freed: false,
        process: Some(ProcessTree {
            caller: process(901, "insmod", "/usr/bin/kmod", &["insmod", "dummy.ko", "debug=1"]),
            ancestors,
            ..ProcessTree::default()
        }),
        request: None,
        request_candidates: 0,
        missing: Vec::new(),
        told: 0,
    }
}

fn main() -> Result<()> {
    let host = host();
    let names = [(0, b"root".to_vec()), (1000, b"alice".to_vec())];
    let accounts = Accounts { users: names.clone().into(), groups: names.into() };
    let observation = Observation::Call(Box::new(load()));
    let verdict = assess(&observation, &Context { host: &host, accounts: &accounts });
    let clock = Clock { realtime_offset_ns: 1_700_000_000_000_000_000 };
    let mut renderer = Renderer::new(host, Agent { id: "a".repeat(36), ephemeral_id: "e".repeat(36) }, clock);

    let bytes = renderer.render_observation(&observation, &verdict, &accounts).line.len();
    let mut round = || {
        let began = Instant::now();
        for _ in 0..DOCUMENTS {
            black_box(renderer.render_observation(black_box(&observation), &verdict, &accounts));
        }
        began.elapsed() / DOCUMENTS
    };
    let each = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    println!("document of {bytes} bytes   {each:>8.1?}   (at most {MOST:?})");
    ensure!(each < MOST, "more than it may cost");
    Ok(())
}
