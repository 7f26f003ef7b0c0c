//! Whole documents, and what holds for every document.

mod arbitrary;
mod files;
mod images;
mod inventory;
mod kernel;
mod looks;
mod mapping;

use proptest::prelude::*;
use serde_json::{Value, json};

use arbitrary::{any_call, any_rarity, any_text};

use super::{Document, Renderer, limit::MAX_DOCUMENT_BYTES};
use crate::{
    assess::{Context, assess},
    model::{
        Agent, ArgumentsSource, BlindHook, Bytes, Clock, Coverage, Ids, LoadStage, Loss, LossReason, LostHook,
        ModuleCall, ModuleFacts, ModuleRequest, NotStarted, Observation, Operation, Part, ProbeState, Process,
        ProcessTree, SeenPath, SensorChange, SensorState, SyscallHooks, Tty, Verdict, samples, taint,
    },
};

/// 2023-11-14T22:13:20Z at boot.
const CLOCK: Clock = Clock { realtime_offset_ns: 1_700_000_000_000_000_000 };
const SECOND_NS: u64 = 1_000_000_000;

fn renderer() -> Renderer {
    let agent = Agent {
        id: "a0000000-0000-8000-8000-000000000001".to_owned(),
        ephemeral_id: "e0000000-0000-8000-8000-000000000002".to_owned(),
    };
    Renderer::new(samples::host(), agent, CLOCK)
}

fn render(observation: &Observation) -> Document {
    let (host, accounts) = (samples::host(), samples::accounts());
    let verdict = assess(observation, &Context { host: &host, accounts: &accounts });
    renderer().render_observation(observation, &verdict, &accounts)
}

fn render_call(call: ModuleCall) -> Value {
    parse(&render(&Observation::Call(Box::new(call))))
}

/// The document, after what holds for all of them was checked.
fn parse(document: &Document) -> Value {
    assert!(document.line.len() < MAX_DOCUMENT_BYTES, "{} bytes", document.line.len());
    let (newline, object) = document.line.split_last().unwrap();
    assert_eq!(*newline, b'\n');
    assert!(!object.iter().any(u8::is_ascii_control));
    let value: Value = serde_json::from_slice(object).unwrap();
    // Whatever the order: nothing stands there twice, and nothing is escaped without need.
    assert_eq!(value.to_string().len(), object.len());
    assert_eq!(value["event"]["id"], document.id.as_str());
    assert_sound(&value, false);
    mapping::assert_mapped(&value);
    value
}

/// No empty member, no control character, no number that Elasticsearch refuses.
fn assert_sound(value: &Value, in_array: bool) {
    match value {
        Value::Null => panic!("null"),
        Value::Bool(_) => {}
        Value::Number(number) => assert!(number.is_i64(), "{number}"),
        Value::String(text) => {
            assert!(in_array || !text.is_empty(), "empty string");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        Value::Array(elements) => {
            assert!(!elements.is_empty(), "empty array");
            elements.iter().for_each(|element| assert_sound(element, true));
        }
        Value::Object(members) => {
            assert!(!members.is_empty(), "empty object");
            members.values().for_each(|member| assert_sound(member, false));
        }
    }
}

/// For snapshots, which outlive a version of the daemon.
fn pretty(document: &Value) -> String {
    let mut document = document.clone();
    for member in ["agent", "observer"] {
        document[member]["version"] = json!("[version]");
    }
    serde_json::to_string_pretty(&document).unwrap()
}

fn process(pid: u32, name: &str, program: &str, arguments: &[&str]) -> Process {
    Process {
        pid,
        tid: pid,
        namespace_pid: pid,
        start_boot_ns: u64::from(pid) * SECOND_NS,
        name: name.into(),
        executable: Some(samples::path(program)),
        arguments: arguments.iter().map(|argument| Bytes::whole(*argument)).collect(),
        arguments_source: ArgumentsSource::Exec,
        working_directory: Some(samples::path("/root")),
        ids: Some(Ids::default()),
        process_group: pid,
        session: 700,
        ..samples::tree().caller
    }
}

/// insmod from the shell of alice, who became root.
fn tree() -> ProcessTree {
    let mut caller = process(901, "insmod", "/usr/bin/kmod", &["insmod", "foo.ko", "debug=1"]);
    caller.arguments_source = ArgumentsSource::Memory;
    caller.capabilities = 1 << 16 | 1 << 21;
    caller.audit_session = Some(2);
    caller.control_group_id = 4711;
    caller.tty = Some(Tty { name: b"pts0".to_vec(), major: 136, minor: 0 });
    let mut shell = process(812, "bash", "/usr/bin/bash", &["-bash"]);
    shell.ids = Some(Ids { uid: 1000, gid: 1000, ..Ids::default() });
    let ancestors = vec![
        shell,
        process(700, "sshd", "/usr/sbin/sshd", &["sshd: alice [priv]"]),
        process(1, "systemd", "/usr/lib/systemd/systemd", &["/sbin/init"]),
    ];
    ProcessTree { caller, ancestors, ..ProcessTree::default() }
}

fn load_from_tmp() -> ModuleCall {
    let mut call = ModuleCall {
        boot_ns: 1000 * SECOND_NS,
        call_id: 1000 * SECOND_NS,
        outcome: Some(crate::model::CallOutcome { ret: 0, boot_ns: 1000 * SECOND_NS + 2_500_000 }),
        parameters: Some(Bytes::whole("debug=1")),
        module: ModuleFacts {
            name: Some(Bytes::whole("foo")),
            version: Some(Bytes::whole("1.0")),
            srcversion: Some(Bytes::whole("0123456789ABCDEF0123456")),
            taints: Some(taint::OUT_OF_TREE | taint::UNSIGNED),
        },
        process: Some(tree()),
        ..samples::load_from("/tmp/foo.ko")
    };
    let file = call.file.as_mut().unwrap();
    (file.inode, file.mode, file.uid, file.gid, file.fs_magic) = (131_073, 0o100_644, 1000, 1000, 0xef53);
    call
}

fn request() -> ModuleRequest {
    let mut asking = process(850, "ping", "/usr/bin/ping", &["ping", "::1"]);
    asking.ids = Some(Ids { uid: 1000, gid: 1000, euid: 1000, egid: 1000, suid: 1000, sgid: 1000 });
    asking.capabilities = 0;
    let process = ProcessTree { caller: asking, ..ProcessTree::default() };
    ModuleRequest { name: Bytes::whole("net-pf-10"), wait: true, boot_ns: 999 * SECOND_NS, cpu: 2, process }
}

fn state(change: SensorChange) -> SensorState {
    let probe = |name: &str, error: Option<&str>| ProbeState {
        name: name.to_owned(),
        hook: format!("__x64_sys_{name}"),
        kind: "fentry".to_owned(),
        attached: error.is_none(),
        error: error.map(str::to_owned),
    };
    SensorState {
        change,
        boot_ns: 10 * SECOND_NS,
        coverage: Coverage::Partial,
        syscall_hooks: SyscallHooks::Fentry,
        probes: vec![probe("finit_module", None), probe("init_module", Some("not permitted"))],
        blind: vec!["Loads from memory are seen without their parameters.".to_owned()],
        blind_hooks: vec![BlindHook {
            hook: "__x64_sys_init_module".to_owned(),
            probe: "init_module".to_owned(),
            not_seen: "Loads from memory.".to_owned(),
            cause: "not permitted".to_owned(),
            since_boot_ns: 9 * SECOND_NS,
        }],
        lost_hooks: match change {
            SensorChange::Detached => vec![LostHook {
                hook: "module_load".to_owned(),
                probe: "module_load".to_owned(),
                not_seen: "the kernel's word on a load".to_owned(),
                seen_boot_ns: 5 * SECOND_NS,
                error: Some("not permitted".to_owned()),
            }],
            _ => Vec::new(),
        },
        tampering: match change {
            SensorChange::TamperedWith => vec!["ring FILES: events that were not read were written over".to_owned()],
            _ => Vec::new(),
        },
        counters: if change == SensorChange::Stopped {
            vec![("calls_entered", 7), ("documents", 5)]
        } else {
            Vec::new()
        },
    }
}

#[test]
fn load_from_nonstandard_path() {
    insta::assert_snapshot!(pretty(&render_call(load_from_tmp())));
}

#[test]
fn load_from_memfd_in_container() {
    let mut call = ModuleCall { stage: LoadStage::InitFailed, told: 1, ..load_from_tmp() };
    let file = call.file.as_mut().unwrap();
    file.path = SeenPath {
        seen: b"memfd:a\nb".to_vec(),
        absolute: b"memfd:a\nb".to_vec(),
        anonymous: true,
        ..SeenPath::default()
    };
    (file.kernel_mount, file.unlinked, file.links, file.fs_magic) = (true, true, 0, 0x0102_1994);
    call.outcome.as_mut().unwrap().ret = -i64::from(libc::ENODEV);
    call.missing = vec![Part::Parameters];
    call.file_swapped = true;
    let tree = call.process.as_mut().unwrap();
    tree.more_ancestors = true;
    let caller = &mut tree.caller;
    caller.control_group = Some(format!("/system.slice/docker-{}.scope", "ab".repeat(32)).into());
    caller.namespaces.pid = 4_026_532_000;
    caller.namespace_pid = 7;
    caller.executable.as_mut().unwrap().absolute = b"/var/lib/docker/overlay2/x/merged/usr/bin/kmod".to_vec();
    caller.root_directory = Some(b"/var/lib/docker/overlay2/x/merged".to_vec());
    caller.arguments = vec![Bytes::whole("x\\y"), Bytes::whole(""), Bytes::whole(b"\xff".as_slice())];
    caller.arguments_rewritten = true;
    caller.executable_unlinked = true;
    insta::assert_snapshot!(pretty(&render_call(call)));
}

#[test]
fn load_that_answers_a_request() {
    let call = ModuleCall {
        request: Some(request()),
        stage: LoadStage::Refused,
        outcome: Some(crate::model::CallOutcome { ret: -i64::from(libc::EPERM), boot_ns: 1001 * SECOND_NS }),
        module: ModuleFacts::default(),
        ..load_from_tmp()
    };
    insta::assert_snapshot!(pretty(&render_call(call)));
}

#[test]
fn load_of_which_little_was_seen() {
    let call = ModuleCall {
        operation: Operation::UnknownLoad,
        call_id: 0,
        abi: None,
        flags: None,
        fd: None,
        image_bytes: None,
        image_source: None,
        file: None,
        parameters: None,
        outcome: None,
        stage: LoadStage::Unknown,
        process: None,
        missing: vec![Part::Enter, Part::Image, Part::Exit],
        ..load_from_tmp()
    };
    insta::assert_snapshot!(pretty(&render_call(call)));
}

#[test]
fn unload_that_failed_is_telemetry() {
    let call = ModuleCall {
        flags: Some(libc::O_NONBLOCK as u32),
        process: Some(tree()),
        module: ModuleFacts::default(),
        ..samples::refused(samples::unload(), libc::EAGAIN)
    };
    insta::assert_snapshot!(pretty(&render_call(call)));
}

#[test]
fn requested_module() {
    insta::assert_snapshot!(pretty(&parse(&render(&Observation::Request(Box::new(request()))))));
}

#[test]
fn lost_events() {
    let loss =
        Loss { reason: LossReason::RingFull, count: 3, total: 10, calls_unseen: Some(1), boot_ns: 20 * SECOND_NS };
    insta::assert_snapshot!(pretty(&parse(&renderer().render_loss(&loss))));
}

#[test]
fn a_damaged_part_of_the_spool_is_no_number_of_events() {
    let loss = Loss { reason: LossReason::TornRecord, count: 1, total: 1, calls_unseen: None, boot_ns: SECOND_NS };
    let document = parse(&renderer().render_loss(&loss));
    assert_eq!(document["lkm_monitor"]["loss"], json!({ "stage": "spool", "reason": "torn_record" }));
}

#[test]
fn sensor_started() {
    insta::assert_snapshot!(pretty(&parse(
        &renderer().render_state(&state(SensorChange::Started), &Verdict::default())
    )));
}

#[test]
fn sensor_stopped() {
    insta::assert_snapshot!(pretty(&parse(
        &renderer().render_state(&state(SensorChange::Stopped), &Verdict::default())
    )));
}

#[test]
fn hooks_lost() {
    let state = state(SensorChange::Detached);
    let verdict = crate::assess::assess_sensor(&state);
    insta::assert_snapshot!(pretty(&parse(&renderer().render_state(&state, &verdict))));
}

#[test]
fn sensor_not_started() {
    let not_started = NotStarted { boot_ns: 7 * SECOND_NS, reason: "the kernel refuses the probes".to_owned() };
    let verdict = crate::assess::assess_not_started(&not_started);
    insta::assert_snapshot!(pretty(&parse(&renderer().render_not_started(&not_started, &verdict))));
}

#[test]
fn sensor_tampered_with() {
    let state = state(SensorChange::TamperedWith);
    let verdict = crate::assess::assess_sensor(&state);
    insta::assert_snapshot!(pretty(&parse(&renderer().render_state(&state, &verdict))));
}

#[test]
fn run_after_one_that_was_killed() {
    let succession = mapping::succession();
    let verdict = crate::assess::assess_succession(&succession);
    insta::assert_snapshot!(pretty(&parse(&renderer().render_succession(&succession, &verdict))));
}

#[test]
fn heartbeat() {
    insta::assert_snapshot!(pretty(&parse(&renderer().render_heartbeat(&mapping::heartbeat()))));
}

#[test]
fn objects_opened() {
    insta::assert_snapshot!(pretty(&parse(&render(&Observation::Object(Box::new(samples::object_access()))))));
}

#[test]
fn sequence_counts_documents_and_ids_do_not_depend_on_it() {
    let mut renderer = renderer();
    let first = renderer.render_state(&state(SensorChange::Started), &Verdict::default());
    let second = renderer.render_state(&state(SensorChange::Started), &Verdict::default());
    assert_eq!(first.id, second.id);
    assert_eq!(
        (parse(&first)["event"]["sequence"].clone(), parse(&second)["event"]["sequence"].clone()),
        (json!(1), json!(2))
    );
}

#[test]
fn numbers_that_no_long_holds_are_capped() {
    let mut call = ModuleCall { image_bytes: Some(u64::MAX), offered_bytes: Some(u64::MAX), ..load_from_tmp() };
    call.file.as_mut().unwrap().size = u64::MAX;
    call.module.taints = Some(u64::MAX);
    call.process.as_mut().unwrap().caller.control_group_id = u64::MAX;
    assert_eq!(render_call(call)["file"]["size"], i64::MAX);
}

#[test]
fn small_documents_are_whole_and_cuts_are_named_in_order() {
    assert_eq!(render_call(load_from_tmp())["lkm_monitor"]["truncated"], Value::Null);

    let mut call = load_from_tmp();
    let long = Bytes::whole(vec![b'a'; 4000]);
    let tree = call.process.as_mut().unwrap();
    for ancestor in &mut tree.ancestors {
        ancestor.arguments = vec![long.clone()];
    }
    let document = render_call(call.clone());
    assert_eq!(
        document["lkm_monitor"]["truncated"],
        json!([
            "lkm_monitor.ancestors.args",
            "lkm_monitor.ancestors.command_line",
            "process.parent.args",
            "process.parent.command_line"
        ])
    );
    assert_eq!(document["process"]["args"], json!(["insmod", "foo.ko", "debug=1"]));

    call.process.as_mut().unwrap().caller.arguments = vec![long.clone(), long.clone()];
    call.parameters = Some(long);
    let document = render_call(call);
    let truncated = document["lkm_monitor"]["truncated"].as_array().unwrap();
    assert!(truncated.contains(&json!("process.args")) && !truncated.contains(&json!("lkm_monitor.module.params")));
    assert_eq!(document["process"]["args_count"], 2);
    assert_eq!(document["file"]["path"], "/tmp/foo.ko");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_rarity_gives_a_sound_document(rarity in any_rarity()) {
        let verdict = Verdict { rarity: Some(rarity), ..Verdict::default() };
        let load = Observation::Call(Box::new(load_from_tmp()));
        let document = parse(&renderer().render_observation(&load, &verdict, &samples::accounts()));
        assert_eq!(document["lkm_monitor"]["rarity"]["rare"], rarity.rare);
    }

    #[test]
    fn any_call_gives_a_sound_document(call in any_call()) {
        if let Some(request) = call.request.clone() {
            parse(&render(&Observation::Request(Box::new(request))));
        }
        render_call(call);
    }

    #[test]
    fn any_state_gives_a_sound_document(texts in proptest::collection::vec(any_text(), 0..40), many in 0_usize..400) {
        let mut state = state(SensorChange::Stopped);
        state.blind = texts.clone();
        let probes = texts.into_iter().map(|text| ProbeState { error: Some(text), ..ProbeState::default() });
        state.probes = probes.cycle().take(many).collect();
        for hook in &mut state.blind_hooks {
            hook.cause = state.blind.first().cloned().unwrap_or_default();
        }
        state.blind_hooks = state.blind_hooks.into_iter().cycle().take(many).collect();
        parse(&renderer().render_state(&state, &Verdict::default()));
    }
}
