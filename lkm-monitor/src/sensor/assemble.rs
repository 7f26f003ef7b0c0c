//! Makes the model's facts out of the parts of a call.

use lkm_monitor_common::{
    event::EventKind,
    section::{Image, Syscall},
};

use super::{
    decode::{self, Event},
    join::Parts,
};
use crate::model::{
    CallOutcome, CallerText, Capture, Content, ImageName, ImageSource, LoadStage, ModuleCall, ModuleFacts,
    ModuleRequest, Operation, Part, ProcessTree,
};

/// The call that `parts` tell of.
pub fn call(parts: &Parts) -> ModuleCall {
    let end = parts.exit.as_ref().and_then(|exit| exit.end);
    let arguments = parts.enter.as_ref().and_then(|enter| enter.call);
    let syscall = arguments.map(|call| call.syscall).or(end.map(|end| end.syscall));
    let operation = operation(syscall, parts);
    let happened = end.map_or(0, |end| end.happened) | parts.bits();
    let image = parts.image.as_ref().and_then(|event| event.image);
    let offered_file = parts.enter.as_ref().and_then(|enter| enter.file.as_ref());
    let read_file = parts.image.as_ref().and_then(|event| event.file.as_ref());
    let offered_parameters = parts.enter.as_ref().and_then(|enter| enter.parameters.clone()).flatten();
    let kernel_parameters = parts.parameters.as_ref().and_then(|event| event.parameters.clone()).flatten();
    let first = parts.present().min_by_key(|event| event.boot_ns);

    ModuleCall {
        operation,
        tid: first.map_or(0, |event| event.thread.tid),
        call_id: first.map_or(0, |event| event.call_id),
        boot_ns: first.map_or(0, |event| event.boot_ns),
        cpu: first.map_or(0, |event| event.cpu),
        abi: arguments.and_then(|call| call.abi).or(end.and_then(|end| decode::abi(end.abi))),
        flags: arguments.filter(|_| operation != Operation::InitModule).map(|call| call.flags),
        fd: arguments.filter(|_| operation == Operation::FinitModule).map(|call| call.fd),
        offered_bytes: arguments.filter(|_| operation == Operation::InitModule).map(|call| call.image_bytes),
        image_bytes: image.map(|image| image.size),
        image_source: image_source(image, operation),
        // What was in the file, where the kernel unpacks that.
        capture: parts.packed.as_ref().or(parts.image.as_ref()).and_then(capture),
        image: None,
        file: read_file.or(offered_file).cloned(),
        content: Content::default(),
        file_swapped: match (offered_file, read_file) {
            (Some(offered), Some(read)) => {
                (offered.inode, offered.device_major, offered.device_minor)
                    != (read.inode, read.device_major, read.device_minor)
            }
            _ => false,
        },
        parameters_rewritten: matches!((&offered_parameters, &kernel_parameters),
            (Some(offered), Some(kernel)) if !offered.truncated && offered.bytes != kernel.bytes),
        parameters: kernel_parameters.or(offered_parameters),
        requested_name: requested_name(parts),
        unreadable: unreadable(parts),
        module: module(parts),
        outcome: parts.exit.as_ref().and_then(|exit| Some(CallOutcome { ret: exit.end?.ret, boot_ns: exit.boot_ns })),
        stage: stage(operation, end.map(|end| end.ret), happened, parts),
        freed: happened & EventKind::ModuleFreed.bit() != 0,
        process: process(parts),
        request: None,
        request_candidates: 0,
        missing: missing(happened, parts),
        told: 0,
    }
}

/// The request that an event tells of.
pub fn request(mut event: Event) -> ModuleRequest {
    ModuleRequest {
        name: event.module_name.take().unwrap_or_default(),
        wait: event.waits,
        boot_ns: event.boot_ns,
        cpu: event.cpu,
        process: tree(&event),
    }
}

fn operation(syscall: Option<u8>, parts: &Parts) -> Operation {
    match syscall {
        Some(raw) if raw == Syscall::InitModule as u8 => Operation::InitModule,
        Some(raw) if raw == Syscall::FinitModule as u8 => Operation::FinitModule,
        Some(raw) if raw == Syscall::DeleteModule as u8 => Operation::DeleteModule,
        _ if parts.image.is_none() && parts.parameters.is_none() && parts.loaded.is_none() => Operation::UnknownUnload,
        _ => Operation::UnknownLoad,
    }
}

fn image_source(image: Option<Image>, operation: Operation) -> Option<ImageSource> {
    match (image, operation) {
        (Some(image), _) if image.source == Image::FROM_MEMORY => Some(ImageSource::Memory),
        (Some(_), _) | (None, Operation::FinitModule) => Some(ImageSource::File),
        (None, Operation::InitModule) => Some(ImageSource::Memory),
        (None, _) => None,
    }
}

fn capture(event: &Event) -> Option<Capture> {
    let Image { size, id, captured_bytes, .. } = event.image?;
    Some(Capture { name: ImageName { id, tid: event.thread.tid }, image_bytes: size, captured_bytes })
}

/// delete_module's argument: read at the enter, or at the exit when its page was not present before.
fn requested_name(parts: &Parts) -> Option<crate::model::Bytes> {
    [&parts.enter, &parts.exit].into_iter().flatten().find_map(|event| event.module_name.clone())
}

fn unreadable(parts: &Parts) -> Vec<CallerText> {
    let name = requested_name(parts).is_none() && parts.present().any(|event| event.module_name_unreadable);
    let offered = parts.enter.as_ref().is_some_and(|enter| enter.parameters == Some(None));
    [(CallerText::ModuleName, name), (CallerText::Parameters, offered && parts.parameters.is_none())]
        .into_iter()
        .filter_map(|(text, unreadable)| unreadable.then_some(text))
        .collect()
}

fn module(parts: &Parts) -> ModuleFacts {
    let linked = parts.loaded.as_ref().or(parts.freed.as_ref());
    let named = linked.or(parts.parameters.as_ref());
    ModuleFacts {
        name: named.and_then(|event| event.module_name.clone()),
        version: linked.and_then(|event| event.version.clone()),
        srcversion: linked.and_then(|event| event.srcversion.clone()),
        taints: linked.and_then(|event| event.taints),
    }
}

fn stage(operation: Operation, ret: Option<i64>, happened: u32, parts: &Parts) -> LoadStage {
    let linked = happened & EventKind::ModuleLoaded.bit() != 0;
    let read = happened & EventKind::ImageRead.bit() != 0;
    if !operation.is_load() {
        return LoadStage::Unknown;
    }
    match ret {
        // From 6.5 on (`idempotent_init_module`), simultaneous loads of one file share one load's result.
        Some(0) if !linked && !read && parts.enter.is_some() => LoadStage::Shared,
        Some(0) => LoadStage::Live,
        Some(_) if linked => LoadStage::InitFailed,
        Some(_) => LoadStage::Refused,
        // Linked and freed again without a return seen: its init failed, or it was unloaded at once.
        None if linked && parts.freed.is_none() => LoadStage::InitRunning,
        None => LoadStage::Unknown,
    }
}

/// Who: the description that came with the first part that has one, else what every event's head says.
fn process(parts: &Parts) -> Option<ProcessTree> {
    parts.present().find(|event| !event.processes.is_empty()).or_else(|| parts.present().next()).map(tree)
}

pub(super) fn tree(event: &Event) -> ProcessTree {
    let mut processes = event.processes.iter().cloned();
    match processes.next() {
        Some(caller) => ProcessTree {
            caller,
            ancestors: processes.collect(),
            more_ancestors: event.more_ancestors,
            incomplete: event.sections_dropped,
        },
        None => ProcessTree { caller: event.thread.clone(), incomplete: true, ..ProcessTree::default() },
    }
}

fn missing(happened: u32, parts: &Parts) -> Vec<Part> {
    let absent = happened & !parts.bits();
    [
        (Part::Enter, EventKind::CallEnter, parts.enter.is_none()),
        // No module is linked that was not read. A kernel that can be preempted in a probe skips it for who comes then.
        (Part::Image, EventKind::ImageRead, happened & EventKind::ModuleLoaded.bit() != 0 && parts.image.is_none()),
        (Part::Parameters, EventKind::Parameters, false),
        (Part::Loaded, EventKind::ModuleLoaded, false),
        (Part::Freed, EventKind::ModuleFreed, false),
        (Part::Exit, EventKind::CallExit, parts.exit.is_none()),
    ]
    .into_iter()
    .filter(|(_, kind, needed)| *needed || absent & kind.bit() != 0)
    .map(|(part, ..)| part)
    .collect()
}
