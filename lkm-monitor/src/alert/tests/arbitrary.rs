//! Observations as bad as they can be: any bytes, any length, any number.

use proptest::prelude::*;

use crate::model::{
    Answer, Bytes, Capture, Content, ContentStatus, FileState, Ids, ImageName, LoadStage, ModuleCall, ModuleFacts,
    ModuleRequest, Operation, Part, Process, ProcessTree, Rarity, Scope, SeenPath, Standing, Tty, samples,
};

pub(super) fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"/".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\"\\".to_vec()),
        Just("é…".as_bytes().to_vec()),
        any::<[u8; 3]>().prop_map(Vec::from),
    ];
    (piece, prop_oneof![0_usize..20, Just(2500)]).prop_map(|(piece, times)| piece.repeat(times))
}

pub(super) fn any_text() -> impl Strategy<Value = String> {
    any_bytes().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn any_path() -> impl Strategy<Value = SeenPath> {
    (any_bytes(), any_bytes(), proptest::option::of(any_bytes()), any::<[bool; 5]>()).prop_map(
        |(seen, absolute, mount_point, [bind_mount, outside_root, anonymous, truncated, unreadable])| SeenPath {
            seen,
            absolute,
            mount_point,
            mount_id: 1,
            mount_root: None,
            bind_mount,
            foreign_root: outside_root,
            outside_root,
            anonymous,
            mount_unknown: bind_mount && anonymous,
            truncated,
            unreadable,
        },
    )
}

fn any_process() -> impl Strategy<Value = Process> {
    let arguments = prop_oneof![
        proptest::collection::vec(any_bytes(), 0..4),
        any_bytes().prop_map(|argument| vec![argument]),
        Just(vec![Vec::new(); 3000]),
    ];
    (any_bytes(), any_path(), arguments, any::<u64>(), any::<[u32; 6]>()).prop_map(
        |(name, path, arguments, number, small)| Process {
            pid: small[0],
            tid: small[1],
            start_boot_ns: number,
            executable: Some(path.clone()),
            arguments: arguments.into_iter().map(Bytes::whole).collect(),
            working_directory: Some(path.clone()),
            root_directory: Some(path.absolute),
            ids: Some(Ids { uid: small[2], euid: small[3], ..Ids::default() }),
            capabilities: number,
            login_uid: Some(small[4]),
            tty: Some(Tty { name: name.clone(), major: small[5], minor: 0 }),
            control_group: Some([b"/lxc/", name.as_slice()].concat()),
            control_group_id: number,
            executable_replaced: number % 2 == 0,
            name,
            ..Process::default()
        },
    )
}

pub(super) fn any_tree() -> impl Strategy<Value = ProcessTree> {
    (any_process(), proptest::collection::vec(any_process(), 0..9), any::<bool>()).prop_map(
        |(caller, ancestors, incomplete)| ProcessTree { caller, ancestors, more_ancestors: incomplete, incomplete },
    )
}

pub(super) fn any_call() -> impl Strategy<Value = ModuleCall> {
    let stage = prop_oneof![Just(LoadStage::Live), Just(LoadStage::Refused), Just(LoadStage::Unknown)];
    let operation = prop_oneof![
        Just(Operation::FinitModule),
        Just(Operation::InitModule),
        Just(Operation::DeleteModule),
        Just(Operation::UnknownLoad),
    ];
    (
        any_tree(),
        any_tree(),
        any_path(),
        [any_bytes(), any_bytes(), any_bytes(), any_bytes()],
        any::<u64>(),
        stage,
        operation,
    )
        .prop_map(|(tree, asking, path, [name, parameters, version, image], number, stage, operation)| {
            let mut call = samples::load();
            call.operation = operation;
            call.stage = stage;
            call.boot_ns = number;
            call.call_id = number;
            call.flags = Some(number as u32);
            call.outcome.as_mut().unwrap().ret = number as i64;
            call.module = ModuleFacts {
                name: (number % 3 != 0).then(|| Bytes::whole(name.clone())),
                version: Some(Bytes::whole(version.clone())),
                srcversion: Some(Bytes::whole(version)),
                taints: Some(number),
            };
            call.requested_name = Some(Bytes::whole(name.clone()));
            call.parameters = Some(Bytes { bytes: parameters, truncated: true });
            call.image_bytes = Some(number);
            call.offered_bytes = Some(number);
            let file = call.file.as_mut().unwrap();
            (file.path, file.size, file.inode, file.fs_magic) = (path, number, number, number);
            call.process = Some(tree);
            let name = Bytes { bytes: name, truncated: true };
            call.request = Some(ModuleRequest { name, wait: true, boot_ns: number, cpu: 0, process: asking });
            let after = FileState { sha256: Some([number as u8; 32]), ..FileState::default() };
            let status = if number % 2 == 0 { ContentStatus::Read } else { ContentStatus::Gone };
            call.content = Content { status, after: Some(after), ..Content::default() };
            call.missing = vec![Part::Enter, Part::Image, Part::Parameters, Part::Exit];
            let name = ImageName { id: number, tid: 1 };
            call.capture = Some(Capture { name, image_bytes: number, captured_bytes: number });
            call.image = (number % 4 != 0).then(|| Box::new(super::images::full_of(&image)));
            call
        })
}

pub(super) fn any_rarity() -> impl Strategy<Value = Rarity> {
    (any::<[u64; 3]>(), any::<[bool; 4]>(), any::<u32>()).prop_map(
        |(numbers, [rare, seen_before, known, silent], days)| {
            let [count, agents, first_s] = numbers;
            let scope = if silent { Scope::Host } else { Scope::Fleet };
            let standing = Standing { scope, count, agents, first_s, seen_before, in_baseline: !seen_before };
            let answer = match (known, silent) {
                (false, _) => Answer::Unknown,
                (true, false) => Answer::Known(standing),
                (true, true) => Answer::FleetSilent(standing),
            };
            Rarity { rare, answer, window_days: days, not_all_known: seen_before, settles: None }
        },
    )
}
