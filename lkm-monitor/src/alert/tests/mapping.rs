//! Whether Elasticsearch finds in documents what they say: the component templates in `dist/elastic` against what is rendered.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use serde_json::Value;

use super::{
    CLOCK, SECOND_NS, files, images, inventory, load_from_tmp, parse, process, render, renderer, request, state, tree,
};
use crate::{
    alert::Document,
    assess,
    model::{
        AccessOutcome, Answer, ArgumentsSource, Bytes, CallerText, Clock, ClockStep, Content, ContentStatus, Excluded,
        FileAction, FileBurst, FileReport, Heartbeat, Ids, Loss, LossReason, Metric, ModuleCall, ModuleRequest, Moment,
        Namespaces, ObjectAccess, Observation, Operation, Part, Predecessor, Process, ProcessTree, Rarity, Reload,
        ReloadOutcome, RingFill, RunEnd, RunRecord, Scope, SeenPath, SensorChange, SettingChange, SpoolChange,
        Standing, Succession, ToolEnd, ToolMatch, ToolOperation, ToolRun, Tty, Verdict, Writing, samples,
    },
};

const TEMPLATES: [&str; 2] = [
    include_str!("../../../../dist/elastic/component-template-ecs.json"),
    include_str!("../../../../dist/elastic/component-template-own.json"),
];

/// Types by field.
static MAPPING: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut types = HashMap::new();
    for template in TEMPLATES {
        let template: Value = serde_json::from_str(template).unwrap();
        collect("", &template["template"]["mappings"], &mut types);
    }
    types
});

fn collect(path: &str, mapping: &Value, types: &mut HashMap<String, String>) {
    // One of many that are found each by itself, with members as any other.
    if let Some(kind) = mapping["type"].as_str().filter(|kind| *kind != "nested") {
        types.insert(path.to_owned(), kind.to_owned());
    }
    for (name, member) in mapping["properties"].as_object().into_iter().flatten() {
        collect(&below(path, name), member, types);
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Every value is mapped, as a type that takes it.
pub(super) fn assert_mapped(document: &Value) {
    assert_part("", document);
    // ES|QL compares single values.
    assert_eq!(document["event"]["type"].as_array().map(Vec::len), Some(1));
    assert!(document["event"]["action"].is_string());
}

fn assert_part(path: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            assert!(!MAPPING.contains_key(path), "{path} is mapped as one value and holds an object");
            members.iter().for_each(|(name, member)| assert_part(&below(path, name), member));
        }
        Value::Array(elements) => elements.iter().for_each(|element| assert_part(path, element)),
        leaf => {
            let kind = MAPPING.get(path).unwrap_or_else(|| panic!("{path} is not mapped: {leaf}"));
            let fits = match kind.as_str() {
                "long" => leaf.is_i64(),
                "float" => leaf.is_number(),
                "boolean" => leaf.is_boolean(),
                "date" => leaf.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                "keyword" | "wildcard" | "match_only_text" | "constant_keyword" => leaf.is_string(),
                other => panic!("{path} is of type {other}"),
            };
            assert!(fits, "{path} is mapped as {kind}, and holds {leaf}");
        }
    }
}

/// A process of which everything is odd.
fn odd_process() -> Process {
    let path = SeenPath { absolute: b"/elsewhere/x".to_vec(), ..samples::path("/x") };
    Process {
        namespace_pid: 7,
        executable: Some(path.clone()),
        executable_unlinked: true,
        executable_replaced: true,
        arguments: vec![Bytes::whole("x")],
        arguments_source: ArgumentsSource::Memory,
        arguments_truncated: true,
        arguments_rewritten: true,
        working_directory: Some(path),
        root_directory: Some(b"/elsewhere".to_vec()),
        ids: Some(Ids::default()),
        login_uid: Some(1000),
        audit_session: Some(2),
        tty: Some(Tty { name: b"pts0".to_vec(), major: 136, minor: 0 }),
        control_group: Some(format!("/system.slice/docker-{}.scope", "ab".repeat(32)).into()),
        control_group_id: 4711,
        namespaces: Namespaces { mount: 1, pid: 2, net: 3, user: 4, uts: 5, ipc: 6, cgroup: 7 },
        tracer: Some(crate::model::process::Tracer { pid: 8, name: b"gdb".to_vec() }),
        ..process(901, "x", "/x", &["x"])
    }
}

fn odd_tree() -> ProcessTree {
    let thread = || Process { kernel_thread: true, ..odd_process() };
    ProcessTree { caller: odd_process(), ancestors: vec![odd_process(), thread()], ..ProcessTree::default() }
}

/// Calls and requests that together have every field of theirs.
fn calls() -> Vec<Observation> {
    let mut odd = ModuleCall {
        flags: Some(1),
        offered_bytes: Some(1),
        file_swapped: true,
        parameters_rewritten: true,
        unreadable: vec![CallerText::ModuleName],
        missing: vec![Part::Exit],
        request: Some(ModuleRequest {
            process: ProcessTree { caller: odd_process(), ..ProcessTree::default() },
            ..request()
        }),
        request_candidates: 2,
        told: 1,
        process: Some(odd_tree()),
        content: Content { status: ContentStatus::Gone, ..Content::default() },
        ..load_from_tmp()
    };
    let path = &mut odd.file.as_mut().unwrap().path;
    path.absolute = b"/elsewhere/tmp/foo.ko".to_vec();
    for flag in [
        &mut path.bind_mount,
        &mut path.outside_root,
        &mut path.foreign_root,
        &mut path.unreadable,
        &mut path.truncated,
    ] {
        *flag = true;
    }
    (path.mount_unknown, odd.file.as_mut().unwrap().unlinked) = (true, true);
    let thread = ProcessTree { caller: Process { kernel_thread: true, ..odd_process() }, ..ProcessTree::default() };
    let mut calls = vec![
        odd,
        ModuleCall { process: Some(thread), ..load_from_tmp() },
        samples::refused(load_from_tmp(), libc::EPERM),
    ];
    calls.extend(images::calls());
    let calls = calls.into_iter().map(|call| Observation::Call(Box::new(call)));
    calls.chain([Observation::Request(Box::new(request()))]).collect()
}

/// The same of changes of files.
fn changes() -> Vec<Observation> {
    let changed = |change: &dyn Fn(&mut FileReport)| {
        let mut report = files::configured();
        change(&mut report);
        Observation::File(Box::new(report))
    };
    let elsewhere = |path: &str| SeenPath { absolute: b"/elsewhere".to_vec(), ..samples::path(path) };
    vec![
        changed(&|report| {
            report.change.old_path = Some(elsewhere("/etc/x"));
            report.change.facts_before = report.change.facts.clone();
            report.change.link_target = Some(Bytes::whole("/x"));
            (report.change.writers, report.change.writing) = (2, Writing::Open);
            (report.whole_folder, report.left) = (true, true);
            let content = &mut report.content;
            for state in [&mut content.before, &mut content.after].into_iter().flatten() {
                state.link_target = Some(b"/x".to_vec());
            }
            let diff = content.diff.as_mut().unwrap();
            (diff.removed, diff.reordered, diff.more) = (vec![b"x".to_vec()], true, 1);
            content.directives_removed = vec!["x".to_owned()];
            (content.value_before, content.value) = (Some(b"1".to_vec()), Some(b"0".to_vec()));
        }),
        changed(&|report| {
            report.change.action = FileAction::ModeChanged;
            (report.change.ret, report.change.writing) = (Some(-i64::from(libc::EPERM)), Writing::Unknown);
        }),
        changed(&|report| {
            (report.change.action, report.change.writing) = (FileAction::Written, Writing::Closed);
            report.change.facts_before = report.change.facts.clone();
        }),
    ]
}

/// The same of runs of tools.
fn runs() -> Vec<Observation> {
    let failed = ToolOperation {
        call: (1, 2),
        operation: Operation::FinitModule,
        module: Some(b"foo".to_vec()),
        succeeded: Some(false),
        errno: Some(libc::EPERM),
    };
    let ended = |end| {
        let (matches, operations) = (vec![ToolMatch::Build], vec![failed.clone()]);
        Observation::Tool(Box::new(ToolRun { end, matches, operations, more_operations: 1, ..samples::tool_run() }))
    };
    [Some(ToolEnd::Exited(1)), Some(ToolEnd::Killed(9)), Some(ToolEnd::Replaced), None].map(ended).into()
}

/// The same of accesses to the sensor's objects.
fn accesses() -> Vec<Observation> {
    let outcome = AccessOutcome::Refused(libc::EPERM);
    vec![Observation::Object(Box::new(ObjectAccess { outcome, process: odd_tree(), ..samples::object_access() }))]
}

/// The same of how an event stands.
fn rarities() -> Vec<Document> {
    let standing =
        Standing { scope: Scope::Fleet, count: 5, agents: 2, first_s: 1, seen_before: true, in_baseline: true };
    let answers = [Answer::Known(standing), Answer::FleetSilent(standing), Answer::Unknown];
    let load = Observation::Call(Box::new(load_from_tmp()));
    answers
        .map(|answer| {
            let rarity = Rarity { rare: true, answer, window_days: 30, not_all_known: true, settles: None };
            let verdict = Verdict { rarity: Some(rarity), ..Verdict::default() };
            renderer().render_observation(&load, &verdict, &samples::accounts())
        })
        .into()
}

/// A run that follows one that was killed.
pub(super) fn succession() -> Succession {
    let at = |seconds: u64| Moment { boot_ns: seconds * SECOND_NS, unix_ms: 1_700_000_000_000 + seconds as i64 * 1000 };
    let this = RunRecord {
        ephemeral_id: "e0000000-0000-8000-8000-000000000002".to_owned(),
        boot_id: "b".to_owned(),
        pid: 900,
        start_ticks: 1,
        began: at(95),
        seen: at(95),
        stopped: false,
        binary_sha256: Some("ab".repeat(32)),
        configuration_sha256: "cd".repeat(32),
    };
    let before = RunRecord {
        ephemeral_id: "e0000000-0000-8000-8000-000000000001".to_owned(),
        began: at(1),
        seen: at(5),
        configuration_sha256: "ef".repeat(32),
        ..this.clone()
    };
    Succession { this, before: Predecessor::OnRecord(Box::new(before), RunEnd::Killed) }
}

pub(super) fn heartbeat() -> Heartbeat {
    let mut state = state(SensorChange::Started);
    (state.probes, state.counters) = (Vec::new(), vec![("calls_entered", 7)]);
    let lost =
        [("stage", "sink"), ("reason", "retried"), ("sink", "siem")].map(|(name, value)| (name, value.to_owned()));
    Heartbeat {
        state,
        interval_s: 60,
        uptime_ns: 90 * SECOND_NS,
        memory_bytes: Some(17 << 20),
        cpu_ns: Some(2_500_000),
        rings: vec![RingFill { name: "truth", used_bytes: 64, size_bytes: 524_288 }],
        metrics: vec![Metric { name: "lost", labels: lost.into(), value: 3 }],
    }
}

/// What is no observation.
fn others() -> Vec<Document> {
    let mut renderer = renderer();
    let burst = FileBurst {
        boot_ns: 1,
        last_boot_ns: 2,
        cpu: 0,
        tid: 1,
        count: 9,
        participle: "created",
        event_type: "creation",
        directory: b"/tmp".to_vec(),
        first: b"a.ko".to_vec(),
        last: b"b.ko".to_vec(),
        process: tree(),
        continued: true,
        settles: Vec::new(),
    };
    let excluded = Excluded { path: "/x/*".to_owned(), executable: Some("/usr/bin/ld".to_owned()), count: 3 };
    let loss = Loss { reason: LossReason::RingFull, count: 3, total: 10, calls_unseen: Some(1), boot_ns: SECOND_NS };
    let after = Clock { realtime_offset_ns: CLOCK.realtime_offset_ns + 1 };
    let reload = |outcome| Reload { boot_ns: SECOND_NS, sha256_before: "a".repeat(64), outcome };
    let change = SettingChange {
        key: "rarity.window_days".to_owned(),
        before: Some("30".to_owned()),
        after: Some("7".to_owned()),
        in_place: false,
    };
    let unreadable = Succession { before: Predecessor::Unreadable("torn".to_owned()), ..succession() };
    let mut stopped = state(SensorChange::Stopped);
    stopped.counters = crate::sensor::report::counters(Some(&Default::default()));
    stopped.counters.extend(["documents", "folded", "excluded"].map(|name| (name, 1)));
    let mut documents: Vec<_> = super::looks::drifts()
        .iter()
        .map(|drift| renderer.render_drift(drift, 1, SECOND_NS, &crate::assess::assess_drift(drift)))
        .collect();
    documents.extend([
        renderer.render_burst(&burst, &Verdict::default(), &samples::accounts()),
        renderer.render_excluded(&[excluded], SECOND_NS),
        renderer.render_loss(&loss),
        renderer.render_clock_step(&ClockStep { before: CLOCK, after, boot_ns: SECOND_NS }),
        renderer.render_reload(&reload(ReloadOutcome::Reloaded { sha256: "b".repeat(64), changes: vec![change] })),
        renderer.render_reload(&reload(ReloadOutcome::Rejected { problems: vec!["a.toml:1: wrong".to_owned()] })),
        renderer.render_state(&stopped, &Verdict::default()),
        renderer.render_state(&state(SensorChange::Detached), &Verdict::default()),
        renderer.render_state(&state(SensorChange::TamperedWith), &Verdict::default()),
        renderer.render_succession(&succession(), &Verdict::default()),
        renderer.render_succession(&unreadable, &Verdict::default()),
        renderer.render_heartbeat(&heartbeat()),
        renderer.render_host_state(&super::looks::report()),
        renderer.render_spool(
            &SpoolChange { boot_ns: SECOND_NS, reason: Some("no space".to_owned()) },
            &Verdict::default(),
        ),
    ]);
    documents
}

/// Each kind of what is found in the kernel, and a look.
fn kernel() -> Vec<Document> {
    let (mut renderer, look) = (renderer(), samples::kernel_look());
    let alerts = super::kernel::facts().into_iter().map(super::kernel::alert);
    let mut documents: Vec<_> =
        alerts.map(|alert| renderer.render_kernel(&alert, &assess::assess_kernel(&alert))).collect();
    documents.push(renderer.render_look(&look));
    documents
}

fn leaves(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| leaves(&below(path, name), member, found)),
        Value::Array(elements) => elements.iter().for_each(|element| leaves(path, element, found)),
        _ => drop(found.insert(path.to_owned())),
    }
}

/// Nothing is mapped that no document has; and these documents, which [`parse`] holds to the mapping, have all of it.
#[test]
fn every_field_is_in_some_document() {
    let observations = [calls(), changes(), runs(), accesses()].concat();
    let documents = observations.iter().map(render).chain(rarities()).chain(others());
    let documents = documents.chain(inventory::documents()).chain(kernel());
    let mut found = BTreeSet::new();
    documents.for_each(|document| leaves("", &parse(&document), &mut found));
    let mut missing: Vec<_> = MAPPING.keys().filter(|field| !found.contains(*field)).collect();
    missing.sort();
    // The ingest pipeline adds these, and the syslog sink `reduced`.
    assert_eq!(missing, ["event.ingested", "lkm_monitor.reduced", "lkm_monitor.tool.arguments"]);
}
