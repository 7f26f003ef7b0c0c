//! Processes.

use std::borrow::Cow;

use super::{
    event_id,
    json::{Value, json, long, merge},
    scene::Scene,
};
use crate::model::{
    ArgumentsSource, Namespaces, Process, ProcessTree,
    text::{readable, text},
};

/// `process.*` with its parent, `container.*`, and what ECS has no field for.
pub(super) fn render<'a>(tree: &'a ProcessTree, scene: &Scene<'a>) -> Value<'a> {
    let caller = &tree.caller;
    let mut process = fields(caller, scene);
    merge(
        &mut process,
        json!({
            "thread": { "id": caller.tid, "capabilities": { "effective": capabilities(caller.capabilities) } },
            "group_leader": { "pid": known(caller.process_group) },
            "session_leader": { "pid": known(caller.session) },
            "parent": tree.ancestors.first().map(|parent| fields(parent, scene)),
        }),
    );
    let container = caller.container();
    json!({
        "process": process,
        "container": container.map(|container| json!({ "id": text(&container.id), "runtime": container.runtime })),
        "lkm_monitor": {
            "process": details(caller, scene),
            "audit": {
                "loginuid": caller.login_uid,
                "login_user": caller.login_uid.and_then(|uid| scene.user_name(uid)),
                "session": caller.audit_session,
            },
            "ancestors": tree.ancestors.iter().map(|process| ancestor(process, scene)).collect::<Vec<_>>(),
        },
    })
}

/// What a process and its parent have in common.
fn fields<'a>(process: &'a Process, scene: &Scene<'a>) -> Value<'a> {
    json!({
        "pid": process.pid,
        "name": readable(&process.name),
        "entity_id": entity_id(process, scene),
        "executable": process.executable.as_ref().map(|path| readable(&path.seen)),
        "args": arguments(process),
        "args_count": has_arguments(process).then_some(process.arguments.len() + process.more_arguments),
        "command_line": command_line(process),
        "working_directory": process.working_directory.as_ref().map(|path| readable(&path.seen)),
        "start": scene.time(process.start_boot_ns),
        "user": process.ids.map(|ids| scene.user(ids.euid)),
        "real_user": process.ids.map(|ids| scene.user(ids.uid)),
        "saved_user": process.ids.map(|ids| scene.user(ids.suid)),
        "group": process.ids.map(|ids| scene.group(ids.egid)),
        "real_group": process.ids.map(|ids| scene.group(ids.gid)),
        "saved_group": process.ids.map(|ids| scene.group(ids.sgid)),
        "tty": process.tty.as_ref().map(|tty| json!({ "char_device": { "major": tty.major, "minor": tty.minor } })),
    })
}

fn ancestor<'a>(process: &'a Process, scene: &Scene<'a>) -> Value<'a> {
    json!({
        "pid": process.pid,
        "name": readable(&process.name),
        "entity_id": entity_id(process, scene),
        "executable": process.executable.as_ref().map(|path| readable(&path.seen)),
        "executable_unlinked": process.executable_unlinked.then_some(true),
        "args": arguments(process),
        "arguments_source": arguments_source(process.arguments_source),
        "command_line": command_line(process),
        "working_directory": process.working_directory.as_ref().map(|path| readable(&path.seen)),
        "start": scene.time(process.start_boot_ns),
        "uid": process.ids.map(|ids| ids.uid),
        "euid": process.ids.map(|ids| ids.euid),
        "suid": process.ids.map(|ids| ids.suid),
        "gid": process.ids.map(|ids| ids.gid),
        "egid": process.ids.map(|ids| ids.egid),
        "sgid": process.ids.map(|ids| ids.sgid),
        "loginuid": process.login_uid,
        "capabilities": (!process.kernel_thread).then(|| format!("{:016x}", process.capabilities)),
        "tty": process.tty.as_ref().map(|tty| readable(&tty.name)),
        "cgroup": process.control_group.as_deref().map(text),
        "container_id": process.container().map(|container| text(&container.id)),
        "namespaces": foreign_namespaces(process, scene),
        "kernel_thread": process.kernel_thread.then_some(true),
    })
}

/// The namespaces of an ancestor that are not the host's.
fn foreign_namespaces<'a>(process: &'a Process, scene: &Scene<'a>) -> Value<'a> {
    let foreign = process.namespaces.differing(&scene.host.initial_namespaces);
    let number = |kind, number| foreign.contains(&kind).then_some(number);
    let namespaces = process.namespaces;
    json!({
        "mount": number("mount", namespaces.mount),
        "pid": number("pid", namespaces.pid),
        "net": number("net", namespaces.net),
        "user": number("user", namespaces.user),
        "uts": number("uts", namespaces.uts),
        "ipc": number("ipc", namespaces.ipc),
        "cgroup": number("cgroup", namespaces.cgroup),
    })
}

fn details<'a>(process: &'a Process, scene: &Scene<'a>) -> Value<'a> {
    let absolute = process.executable.as_ref().filter(|path| path.absolute != path.seen);
    let namespaces = process.namespaces;
    let initial = scene.host.initial_namespaces;
    let comparable = namespaces != Namespaces::default() && initial != Namespaces::default();
    json!({
        "namespaces": {
            "mount": known(namespaces.mount),
            "pid": known(namespaces.pid),
            "net": known(namespaces.net),
            "user": known(namespaces.user),
            "uts": known(namespaces.uts),
            "ipc": known(namespaces.ipc),
            "cgroup": known(namespaces.cgroup),
        },
        "initial_namespaces": comparable.then(|| namespaces.differing(&initial).is_empty()),
        "cgroup": {
            "path": process.control_group.as_deref().map(text),
            "id": (process.control_group_id != 0).then(|| long(process.control_group_id)),
        },
        "root_directory": process.root_directory.as_deref().map(text),
        "namespace_pid": known(process.namespace_pid).filter(|&pid| pid != process.pid),
        "arguments_source": arguments_source(process.arguments_source),
        "arguments_rewritten": process.arguments_rewritten.then_some(true),
        "arguments_truncated": process.arguments_truncated.then_some(true),
        "executable_absolute_path": absolute.map(|path| readable(&path.absolute)),
        "executable_unlinked": process.executable_unlinked.then_some(true),
        "executable_replaced": process.executable_replaced.then_some(true),
        "kernel_thread": process.kernel_thread.then_some(true),
        "tracer": process.tracer.as_ref().map(|tracer| json!({ "pid": tracer.pid, "name": readable(&tracer.name) })),
        "tty_name": process.tty.as_ref().map(|tty| readable(&tty.name)),
    })
}

/// The arguments in one line, for reading: where they hold blanks, only `args` tells them apart.
pub(super) fn command_line(process: &Process) -> Cow<'_, str> {
    match process.arguments.as_slice() {
        [only] => readable(&only.bytes),
        arguments => arguments.iter().map(|argument| readable(&argument.bytes)).collect::<Vec<_>>().join(" ").into(),
    }
}

pub(super) fn entity_id(process: &Process, scene: &Scene<'_>) -> Option<String> {
    (process.start_boot_ns != 0).then(|| event_id::entity_id(&scene.host.boot_id, process))
}

fn arguments(process: &Process) -> Value<'_> {
    process.arguments.iter().map(|argument| readable(&argument.bytes)).collect()
}

fn has_arguments(process: &Process) -> bool {
    !process.arguments.is_empty()
}

/// 0 is no process, no group and no namespace.
fn known(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

const fn arguments_source(source: ArgumentsSource) -> Option<&'static str> {
    match source {
        ArgumentsSource::Unknown => None,
        ArgumentsSource::Memory => Some("memory"),
        ArgumentsSource::Exec => Some("exec"),
        ArgumentsSource::Inherited => Some("inherited"),
        ArgumentsSource::Proc => Some("proc"),
        ArgumentsSource::Parent => Some("parent"),
    }
}

/// include/uapi/linux/capability.h, in the order of the bits.
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Names of the capabilities in a mask; one that has no name yet is its number, as ECS wants it.
fn capabilities(mask: u64) -> Vec<Cow<'static, str>> {
    (0..u64::BITS as usize)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| CAPABILITIES.get(bit).map_or_else(|| bit.to_string().into(), |&name| name.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_names() {
        assert_eq!(capabilities(1 << 16 | 1 << 39), ["CAP_SYS_MODULE", "CAP_BPF"]);
        assert_eq!(capabilities(1 << 41), ["41"]);
        assert!(capabilities(0).is_empty());
    }
}
