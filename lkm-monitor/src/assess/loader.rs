//! Who loads.

use super::{Context, Detection, Match, attack, phrase::sentence, system::doubt};
use crate::model::{Abi, ModuleCall, Process, Rule, Severity, text::brief};

pub(super) static DETECTIONS: &[Detection] = &[
    Detection {
        rule: Rule {
            code: 108,
            id: "unusual-loader",
            name: "Kernel module loaded by an unusual program",
            description: "The program that loaded a module is none of those that do so on a Linux system (kmod and the parts of \
                          systemd and udev), or only has the name of one.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::LOADING,
        },
        matches: unusual_program,
    },
    Detection {
        rule: Rule {
            code: 109,
            id: "load-in-container",
            name: "Kernel module loaded from a container",
            description: "A process in a container, or in a pid or user namespace of its own, loaded a module. The module runs \
                          in the kernel of the host.",
            version: 1,
            severity: Severity::High,
            techniques: attack::CONTAINER_LOADING,
        },
        matches: in_container,
    },
    Detection {
        rule: Rule {
            code: 113,
            id: "compat-loader",
            name: "Kernel module loaded through a 32-bit system call",
            description: "A 32-bit program loaded a module into a 64-bit kernel. No distribution does that, and many monitors \
                          do not see it.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::HIDDEN_LOADING,
        },
        matches: compat,
    },
    Detection {
        rule: Rule {
            code: 114,
            id: "traced-loader",
            name: "Kernel module loaded by a traced process",
            description: "Another process controls the loading one with ptrace and can have made the call in its name. Besides \
                          an administrator who looks on with strace, few have a reason to.",
            version: 1,
            severity: Severity::Medium,
            techniques: attack::INJECTED_LOADING,
        },
        matches: traced,
    },
];

/// Programs that load modules on ordinary systems, by the paths that links lead to. Not busybox: where a distribution has
/// kmod, a load by busybox comes from outside.
const LOADERS: [&[u8]; 16] = [
    b"/usr/bin/kmod",
    b"/bin/kmod",
    b"/usr/sbin/modprobe",
    b"/usr/sbin/insmod",
    b"/sbin/modprobe",
    b"/sbin/insmod",
    b"/usr/bin/modprobe",
    b"/usr/bin/insmod",
    b"/bin/modprobe",
    b"/bin/insmod",
    b"/usr/lib/systemd/systemd-modules-load",
    b"/lib/systemd/systemd-modules-load",
    b"/usr/lib/systemd/systemd-udevd",
    b"/lib/systemd/systemd-udevd",
    b"/usr/bin/udevadm",
    b"/bin/udevadm",
];

/// The init program loads a few modules early on; the same program as another process does not.
const INITS: [&[u8]; 3] = [b"/usr/lib/systemd/systemd", b"/lib/systemd/systemd", b"/sbin/init"];

fn unusual_program(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let process = &call.process.as_ref()?.caller;
    let why = unusual(process, context)?;
    let reason = format!("{}; the program is {why}", sentence(call, context, ""));
    Some(Match { severity: Severity::Medium, reason })
}

/// What is wrong with the program; `None` when it is a known loader, or not known itself.
fn unusual(process: &Process, context: &Context<'_>) -> Option<String> {
    let path = process.executable.as_ref()?;
    let known = |paths: &[&[u8]]| paths.contains(&path.seen.as_slice());
    if !known(&LOADERS) && !(process.pid == 1 && known(&INITS)) {
        return Some("not one that loads modules on an ordinary system".to_owned());
    }
    if process.executable_unlinked {
        return Some("a deleted file".to_owned());
    }
    doubt(path, process.executable_device, Some(process), context).map(|why| format!("{}, {why}", brief(&path.seen)))
}

fn in_container(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let process = &call.process.as_ref()?.caller;
    let foreign: Vec<_> = process
        .namespaces
        .differing(&context.host.initial_namespaces)
        .into_iter()
        // Other kinds say little: many a service has its own.
        .filter(|kind| matches!(*kind, "pid" | "user"))
        .collect();
    let place = match process.container() {
        Some(container) => {
            format!("in the {} container {}", container.runtime.unwrap_or("unnamed"), brief(&container.id))
        }
        None if foreign.is_empty() => return None,
        None => format!("in a {} namespace of its own", foreign.join(" and ")),
    };
    let reason = format!("{}; the process is {place}", sentence(call, context, ""));
    Some(Match { severity: Severity::High, reason })
}

fn compat(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let abi = call.abi.filter(|abi| matches!(abi, Abi::I386 | Abi::X32))?;
    let detail = format!(" through the {} system call table", abi.name());
    Some(Match { severity: Severity::Medium, reason: sentence(call, context, &detail) })
}

fn traced(call: &ModuleCall, context: &Context<'_>) -> Option<Match> {
    let tracer = call.process.as_ref()?.caller.tracer.as_ref()?;
    let reason = format!(
        "{}; {} (process {}) traces that process",
        sentence(call, context, ""),
        brief(&tracer.name),
        tracer.pid
    );
    Some(Match { severity: Severity::Medium, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{finding, load, path},
        model::process::Tracer,
    };

    fn by(change: impl FnOnce(&mut Process)) -> ModuleCall {
        let mut call = load();
        change(&mut call.process.as_mut().unwrap().caller);
        call
    }

    #[test]
    fn a_traced_process_may_not_be_itself() {
        let tracer = Some(Tracer { pid: 77, name: b"gdb".to_vec() });
        let (severity, reason) = finding(&by(|process| process.tracer = tracer), 114).unwrap();
        assert_eq!(severity, Severity::Medium);
        assert!(reason.ends_with("; gdb (process 77) traces that process"), "{reason}");
        assert!(finding(&load(), 114).is_none());
    }

    fn by_program(program: &str) -> ModuleCall {
        by(|process| process.executable = Some(path(program)))
    }

    #[test]
    fn known_loaders_are_usual() {
        for program in ["/usr/bin/kmod", "/sbin/insmod", "/usr/lib/systemd/systemd-modules-load", "/usr/bin/udevadm"] {
            assert!(finding(&by_program(program), 108).is_none(), "{program}");
        }
    }

    #[test]
    fn other_programs_are_unusual() {
        for program in
            ["/usr/bin/busybox", "/tmp/kmod", "/usr/bin/python3.11", "/usr/bin/kmod2", "/lib/systemd/systemd"]
        {
            assert_eq!(finding(&by_program(program), 108).unwrap().0, Severity::Medium, "{program}");
        }
    }

    #[test]
    fn init_is_usual_as_process_1_only() {
        let mut call = by_program("/usr/lib/systemd/systemd");
        assert!(finding(&call, 108).is_some());
        call.process.as_mut().unwrap().caller.pid = 1;
        assert!(finding(&call, 108).is_none());
    }

    #[test]
    fn impostors_are_unusual() {
        let deleted = by(|process| process.executable_unlinked = true);
        assert!(finding(&deleted, 108).unwrap().1.ends_with("; the program is a deleted file"));

        let change_path =
            |change: fn(&mut crate::model::SeenPath)| by(|process| change(process.executable.as_mut().unwrap()));
        let bound = change_path(|path| (path.mount_point, path.mount_id) = (Some(b"/usr/bin/kmod".to_vec()), 99));
        assert!(finding(&bound, 108).unwrap().1.contains("mounted at /usr/bin/kmod"));
        let chroot = change_path(|path| path.absolute = b"/srv/root/usr/bin/kmod".to_vec());
        assert!(finding(&chroot, 108).unwrap().1.contains("stands for /srv/root/usr/bin/kmod"));
        assert!(finding(&change_path(|path| path.outside_root = true), 108).is_some());

        let elsewhere = by(|process| {
            process.namespaces.mount += 1;
            process.executable_device = (0, 99);
        });
        assert!(finding(&elsewhere, 108).is_some());
        let private_mounts = by(|process| process.namespaces.mount += 1);
        assert!(finding(&private_mounts, 108).is_none());
    }

    #[test]
    fn an_unknown_program_is_not_called_unusual() {
        assert!(finding(&by(|process| process.executable = None), 108).is_none());
    }

    #[test]
    fn containers_match() {
        let id = "ab".repeat(32);
        let docker = by(|process| process.control_group = Some(format!("/system.slice/docker-{id}.scope").into()));
        let (severity, reason) = finding(&docker, 109).unwrap();
        assert_eq!(severity, Severity::High);
        assert!(reason.contains("the docker container"), "{reason}");

        let namespaced = by(|process| process.namespaces.pid += 1);
        assert!(finding(&namespaced, 109).unwrap().1.ends_with("in a pid namespace of its own"));
        assert!(finding(&by(|process| process.namespaces.user += 1), 109).is_some());
    }

    #[test]
    fn services_of_the_host_do_not_match() {
        let udevd = by(|process| {
            process.namespaces.mount += 1;
            process.namespaces.uts += 1;
            process.control_group = Some(b"/system.slice/systemd-udevd.service/udev".to_vec());
        });
        assert!(finding(&udevd, 109).is_none());
        assert!(finding(&by(|process| process.namespaces.pid = 0), 109).is_none(), "not known");
    }

    #[test]
    fn compat_matches() {
        for (abi, matches) in [(Abi::I386, true), (Abi::X32, true), (Abi::X86_64, false)] {
            assert_eq!(finding(&ModuleCall { abi: Some(abi), ..load() }, 113).is_some(), matches, "{abi:?}");
        }
    }
}
