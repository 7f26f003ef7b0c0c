//! Resolves what the probes need to know of the running kernel from its BTF.

use std::path::Path;

use btf_rs::{Btf, Type};
use lkm_monitor_common::offsets::{KernelValues, Member, Offsets};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Where the kernel shows its own type information (CONFIG_DEBUG_INFO_BTF).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why the kernel's structures are not known.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error("{path}: {source}")]
    Read { path: String, source: btf_rs::Error },
    #[error("this kernel has no {0}, which the probes cannot do without")]
    MissingMember(String),
}

/// What the probes are given before they are loaded.
#[derive(Clone, Debug)]
pub struct KernelLayout {
    pub offsets: Offsets,
    pub values: KernelValues,
    /// Optional members that this kernel does not have, as `struct.member`.
    pub missing: Vec<String>,
}

/// The kernel's type information. Reading it takes some 140 milliseconds and as many megabytes as it has, so it is read once, when everything
/// is attached, and dropped.
pub struct Types {
    btf: Btf,
}

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Types").finish_non_exhaustive()
    }
}

impl Types {
    /// Those of the running kernel.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(VMLINUX))
    }

    fn read(path: &Path) -> Result<Self, BtfError> {
        let btf = Btf::from_file(path).map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Ok(Self { btf })
    }

    /// Resolves every member of [`Offsets::MEMBERS`].
    pub fn layout(&self) -> Result<KernelLayout, BtfError> {
        let mut offsets = Vec::with_capacity(Offsets::MEMBERS.len());
        let mut missing = Vec::new();
        for member in Offsets::MEMBERS {
            match resolve_member(&self.btf, member) {
                Some(offset) => offsets.push(offset),
                None if member.optional => {
                    missing.push(describe(member));
                    offsets.push(Offsets::MISSING);
                }
                None => return Err(BtfError::MissingMember(describe(member))),
            }
        }
        let offsets = Offsets::read_from_bytes(offsets.as_bytes())
            .map_err(|_| BtfError::MissingMember("layout of the expected size".to_owned()))?;
        Ok(KernelLayout { offsets, values: resolve_values(&self.btf), missing })
    }

    /// The offset in bytes of a member, `inner.member` in a nested structure.
    pub(crate) fn offset(&self, structure: &str, member: &str) -> Option<usize> {
        usize::try_from(offset_of(&self.btf, structure, member)?).ok()
    }

    /// The bytes of a structure.
    pub(crate) fn size(&self, name: &str) -> Option<usize> {
        match structure(&self.btf, name)? {
            Type::Struct(found) => Some(found.size()),
            _ => None,
        }
    }

    /// The value of an enumeration's variant.
    pub(crate) fn enum_value(&self, name: &str, variant: &str) -> Option<u32> {
        enum_value(&self.btf, name, variant)
    }
}

fn describe(member: &Member) -> String {
    let names: Vec<_> = member.candidates.iter().map(|(ty, name)| format!("{ty}.{name}")).collect();
    names.join(" or ")
}

fn resolve_member(btf: &Btf, member: &Member) -> Option<u32> {
    member.candidates.iter().find_map(|(ty, path)| offset_of(btf, ty, path))
}

fn offset_of(btf: &Btf, ty: &str, path: &str) -> Option<u32> {
    let mut ty = structure(btf, ty)?;
    let mut bits = 0;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let (offset, inner) = find_member(btf, &ty, name)?;
        bits += offset;
        if names.peek().is_some() {
            ty = resolve_aliases(btf, inner)?;
        }
    }
    Some(bits / 8)
}

/// The structure called `name`; forward declarations of the same name are passed over.
fn structure(btf: &Btf, name: &str) -> Option<Type> {
    btf.resolve_types_by_name(name).ok()?.into_iter().find(|ty| matches!(ty, Type::Struct(_)))
}

/// Bit offset and type of a member, looked for in anonymous structures and unions too.
fn find_member(btf: &Btf, ty: &Type, name: &str) -> Option<(u32, Type)> {
    let (Type::Struct(structure) | Type::Union(structure)) = ty else {
        return None;
    };
    for member in &structure.members {
        let member_name = btf.resolve_name(member).unwrap_or_default();
        if member_name == name {
            return Some((member.bit_offset(), btf.resolve_chained_type(member).ok()?));
        }
        if member_name.is_empty()
            && let Ok(inner) = btf.resolve_chained_type(member)
            && let Some((offset, found)) = find_member(btf, &inner, name)
        {
            return Some((member.bit_offset() + offset, found));
        }
    }
    None
}

/// Follows typedefs and qualifiers to a structure or union.
fn resolve_aliases(btf: &Btf, mut ty: Type) -> Option<Type> {
    loop {
        ty = match ty {
            Type::Typedef(alias) => btf.resolve_chained_type(&alias).ok()?,
            Type::Const(alias) => btf.resolve_chained_type(&alias).ok()?,
            Type::Volatile(alias) => btf.resolve_chained_type(&alias).ok()?,
            other => return Some(other),
        };
    }
}

fn resolve_values(btf: &Btf) -> KernelValues {
    let unresolved = KernelValues::UNRESOLVED;
    let arguments = |function, otherwise| parameters(btf, function).map_or(otherwise, |names| count(&names));
    let dentry_flag = |name, otherwise| enum_value(btf, "dentry_flags", name).unwrap_or(otherwise);
    let dentry = |function, otherwise| {
        let names = parameters(btf, function).unwrap_or_default();
        names.iter().position(|name| name == "dentry").and_then(|at| u32::try_from(at).ok()).unwrap_or(otherwise)
    };
    KernelValues {
        reading_module: enum_value(btf, "kernel_read_file_id", "READING_MODULE").unwrap_or(unresolved.reading_module),
        reading_module_compressed: enum_value(btf, "kernel_read_file_id", "READING_MODULE_COMPRESSED")
            .unwrap_or(unresolved.reading_module_compressed),
        loading_module: enum_value(btf, "kernel_load_data_id", "LOADING_MODULE").unwrap_or(unresolved.loading_module),
        upid_bytes: match structure(btf, "upid") {
            Some(Type::Struct(upid)) => u32::try_from(upid.size()).unwrap_or(unresolved.upid_bytes),
            _ => unresolved.upid_bytes,
        },
        pidtype_tgid: enum_value(btf, "pid_type", "PIDTYPE_TGID").unwrap_or(unresolved.pidtype_tgid),
        pidtype_pgid: enum_value(btf, "pid_type", "PIDTYPE_PGID").unwrap_or(unresolved.pidtype_pgid),
        pidtype_sid: enum_value(btf, "pid_type", "PIDTYPE_SID").unwrap_or(unresolved.pidtype_sid),
        cgroup_v1_subsys: enum_value(btf, "cgroup_subsys_id", "pids_cgrp_id").unwrap_or(unresolved.cgroup_v1_subsys),
        typed_task: u32::from(enum_value(btf, "bpf_func_id", "BPF_FUNC_get_current_task_btf").is_some()),
        dentry_type_mask: dentry_flag("DCACHE_ENTRY_TYPE", unresolved.dentry_type_mask),
        dentry_directory: dentry_flag("DCACHE_DIRECTORY_TYPE", unresolved.dentry_directory),
        vfs_link_arguments: arguments("vfs_link", unresolved.vfs_link_arguments),
        vfs_symlink_arguments: arguments("vfs_symlink", unresolved.vfs_symlink_arguments),
        vfs_create_arguments: arguments("vfs_create", unresolved.vfs_create_arguments),
        vfs_mknod_arguments: arguments("vfs_mknod", unresolved.vfs_mknod_arguments),
        do_truncate_arguments: arguments("do_truncate", unresolved.do_truncate_arguments),
        vfs_create_dentry: dentry("vfs_create", unresolved.vfs_create_dentry),
        vfs_mknod_dentry: dentry("vfs_mknod", unresolved.vfs_mknod_dentry),
    }
}

fn count(names: &[String]) -> u32 {
    u32::try_from(names.len()).unwrap_or(u32::MAX)
}

/// Names of a kernel function's parameters.
fn parameters(btf: &Btf, function: &str) -> Option<Vec<String>> {
    btf.resolve_types_by_name(function).ok()?.into_iter().find_map(|ty| {
        let Type::Func(function) = ty else {
            return None;
        };
        let Type::FuncProto(prototype) = btf.resolve_chained_type(&function).ok()? else {
            return None;
        };
        Some(prototype.parameters.iter().map(|parameter| btf.resolve_name(parameter).unwrap_or_default()).collect())
    })
}

fn enum_value(btf: &Btf, name: &str, variant: &str) -> Option<u32> {
    btf.resolve_types_by_name(name).ok()?.into_iter().find_map(|ty| {
        let Type::Enum(ty) = ty else {
            return None;
        };
        ty.members
            .iter()
            .find(|member| btf.resolve_name(*member).is_ok_and(|found| found == variant))
            .map(|member| member.val())
    })
}
