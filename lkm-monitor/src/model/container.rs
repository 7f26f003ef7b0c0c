//! Containers, as a control group path names them.

use super::Process;

/// The container that a process runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The runtime's own id or, where machines have names, the name.
    pub id: Vec<u8>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`; `None` when the path does not tell.
    pub runtime: Option<&'static str>,
}

/// systemd scopes and cgroupfs directories of the runtimes: prefix of a path component, before the id.
const PREFIXES: [(&[u8], &str); 6] = [
    (b"docker-", "docker"),
    (b"cri-containerd-", "containerd"),
    (b"nerdctl-", "containerd"),
    (b"crio-", "cri-o"),
    (b"libpod-payload-", "podman"),
    (b"libpod-", "podman"),
];

impl Process {
    /// The container that the process's control group belongs to; `None` on the host itself.
    pub fn container(&self) -> Option<Container> {
        Container::from_control_group(self.control_group.as_deref()?)
    }
}

impl Container {
    /// The innermost container in a control group path.
    pub fn from_control_group(path: &[u8]) -> Option<Self> {
        let components: Vec<_> = path.split(|&byte| byte == b'/').filter(|component| !component.is_empty()).collect();
        (0..components.len()).rev().find_map(|at| component(&components[..=at]))
    }
}

/// The container that the last of `components` names.
fn component(components: &[&[u8]]) -> Option<Container> {
    let (&last, before) = components.split_last()?;
    let above = before.last().copied().unwrap_or_default();
    let unit = last.strip_suffix(b".scope").unwrap_or(last);

    for (prefix, runtime) in PREFIXES {
        if let Some(id) = unit.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some(Container { id: id.to_vec(), runtime: Some(runtime) });
        }
    }
    // `<pod slice>:cri-containerd:<id>`: a runtime that was told of systemd but writes to cgroupfs.
    let mut fields = unit.rsplit(|&byte| byte == b':');
    if let (Some(id), Some(prefix), Some(_)) = (fields.next(), fields.next(), fields.next())
        && is_id(id)
    {
        let runtime = match prefix {
            b"cri-containerd" => Some("containerd"),
            b"crio" => Some("cri-o"),
            b"docker" => Some("docker"),
            _ => None,
        };
        return Some(Container { id: id.to_vec(), runtime });
    }
    if is_id(unit) {
        let runtime = match above {
            b"docker" => Some("docker"),
            b"libpod_parent" => Some("podman"),
            _ => None,
        };
        return Some(Container { id: unit.to_vec(), runtime });
    }
    machine(unit, above)
}

/// Containers that have a name and no id.
fn machine(unit: &[u8], above: &[u8]) -> Option<Container> {
    let named =
        |name: &[u8], runtime| (!name.is_empty()).then(|| Container { id: name.to_vec(), runtime: Some(runtime) });

    if matches!(above, b"lxc" | b"lxc.payload") {
        return named(unit, "lxc");
    }
    if let Some(name) = unit.strip_prefix(b"lxc.payload.") {
        return named(name, "lxc");
    }
    if let Some(name) = unit.strip_prefix(b"systemd-nspawn@") {
        return named(name.strip_suffix(b".service").unwrap_or(name), "systemd-nspawn");
    }
    if let Some(name) = unit.strip_prefix(b"machine-lxc\\x2d") {
        return named(name, "lxc");
    }
    // Virtual machines of libvirt register with systemd-machined as containers do; their processes are the host's.
    let name = unit.strip_prefix(b"machine-").filter(|name| !name.starts_with(b"qemu"))?;
    if above == b"machine.slice" { named(name, "systemd-nspawn") } else { None }
}

/// The runtimes name containers by 32 random bytes in hexadecimal.
fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == 64 && bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f";
    const OUTER: &str = "00004a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f";
    const POD: &str = "kubepods-burstable-pod1234abcd_12ab_34cd_56ef_1234567890ab.slice";

    fn found(path: &str) -> Option<(String, Option<&'static str>)> {
        Container::from_control_group(path.as_bytes())
            .map(|container| (String::from_utf8(container.id).unwrap(), container.runtime))
    }

    #[test]
    fn paths_of_containers() {
        for (path, runtime) in [
            (format!("/system.slice/docker-{ID}.scope"), Some("docker")),
            (format!("/docker/{ID}"), Some("docker")),
            (format!("/docker/{ID}/system.slice/cron.service"), Some("docker")),
            (format!("/docker/{OUTER}/docker/{ID}"), Some("docker")),
            (format!("/kubepods.slice/kubepods-burstable.slice/{POD}/cri-containerd-{ID}.scope"), Some("containerd")),
            (format!("/kubepods.slice/kubepods-burstable.slice/{POD}/crio-{ID}.scope"), Some("cri-o")),
            (format!("/kubepods.slice/kubepods-burstable.slice/{POD}/docker-{ID}.scope"), Some("docker")),
            (format!("/system.slice/containerd.service/{POD}:cri-containerd:{ID}"), Some("containerd")),
            (format!("/kubepods/besteffort/pod1234abcd-12ab-34cd-56ef-1234567890ab/{ID}"), None),
            (format!("/system.slice/nerdctl-{ID}.scope"), Some("containerd")),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Some("podman")),
            (
                format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container"),
                Some("podman"),
            ),
            (format!("/libpod_parent/libpod-{ID}"), Some("podman")),
            (format!("/ecs/0123456789abcdef/{ID}"), None),
        ] {
            assert_eq!(found(&path), Some((ID.to_owned(), runtime)), "{path}");
        }
    }

    #[test]
    fn paths_of_named_machines() {
        for (path, name, runtime) in [
            ("/lxc/web", "web", "lxc"),
            ("/lxc.payload.web/system.slice/ssh.service", "web", "lxc"),
            ("/lxc.payload/web", "web", "lxc"),
            ("/machine.slice/systemd-nspawn@build.service/payload", "build", "systemd-nspawn"),
            ("/machine.slice/machine-build.scope/payload/init.scope", "build", "systemd-nspawn"),
            ("/machine.slice/machine-lxc\\x2d2\\x2dweb.scope", "2\\x2dweb", "lxc"),
        ] {
            assert_eq!(found(path), Some((name.to_owned(), Some(runtime))), "{path}");
        }
    }

    #[test]
    fn paths_of_the_host() {
        for path in [
            "",
            "/",
            "/init.scope",
            "/system.slice/docker.service",
            "/system.slice/ssh.service",
            "/user.slice/user-0.slice/session-4.scope",
            "/lxc.monitor.web",
            "/lxc",
            "/machine.slice/machine-qemu\\x2d1\\x2dwin.scope/libvirt/emulator",
            "/kubepods.slice/kubepods-burstable.slice/kubelet.service",
            "/system.slice/docker-0123.scope",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
        // The monitors of podman and CRI-O run on the host.
        assert_eq!(found(&format!("/machine.slice/libpod-conmon-{ID}.scope")), None);
        assert_eq!(found(&format!("/kubepods.slice/crio-conmon-{ID}.scope")), None);
    }
}
