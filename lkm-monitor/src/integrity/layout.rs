//! Where the kernel's structures have what the walks need, by its type information.

use crate::sensor::btf::Types;

/// The kernel has no such member. Says which, as a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this kernel has no {0}")]
pub(super) struct Missing(String);

fn offset(types: &Types, structure: &str, member: &str) -> Result<usize, Missing> {
    types.offset(structure, member).ok_or_else(|| Missing(format!("{structure}.{member}")))
}

fn size(types: &Types, structure: &str) -> Result<usize, Missing> {
    types.size(structure).ok_or_else(|| Missing(format!("struct {structure}")))
}

/// `struct module` (include/linux/module.h).
#[derive(Clone, Debug)]
pub(super) struct ModuleLayout {
    pub(super) bytes: usize,
    pub(super) state: usize,
    pub(super) list: usize,
    pub(super) name: usize,
    pub(super) taints: usize,
    /// Base and size of each piece of memory, text first.
    pub(super) memory: Vec<(usize, usize)>,
}

impl ModuleLayout {
    pub(super) fn of(types: &Types) -> Result<Self, Missing> {
        Ok(Self {
            bytes: size(types, "module")?,
            state: offset(types, "module", "state")?,
            list: offset(types, "module", "list")?,
            name: offset(types, "module", "name")?,
            taints: offset(types, "module", "taints")?,
            memory: memory(types)?,
        })
    }
}

/// Two layouts before Linux 6.4, then an array with one element for each kind of memory.
fn memory(types: &Types) -> Result<Vec<(usize, usize)>, Missing> {
    let Some(array) = types.offset("module", "mem") else {
        let of = |layout: &str| {
            let member = |name| offset(types, "module", &format!("{layout}.{name}"));
            Ok((member("base")?, member("size")?))
        };
        return Ok(vec![of("core_layout")?, of("init_layout")?]);
    };
    let element = size(types, "module_memory")?;
    let base = offset(types, "module_memory", "base")?;
    let bytes = offset(types, "module_memory", "size")?;
    let kinds = types.enum_value("mod_mem_type", "MOD_MEM_NUM_TYPES");
    let kinds = kinds.ok_or_else(|| Missing("MOD_MEM_NUM_TYPES".to_owned()))?;
    // There are seven. A number that makes no sense must not make many.
    Ok((0..kinds.min(64) as usize)
        .map(|kind| array + kind * element)
        .map(|start| (start + base, start + bytes))
        .collect())
}

/// `struct mod_tree_root` and what hangs in it (kernel/module/tree_lookup.c, include/linux/rbtree_latch.h): two red-black trees with the
/// same members, of which one can be read while the other is changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct TreeLayout {
    /// The roots of both trees, in the root.
    pub(super) roots: [usize; 2],
    /// The number that every change of the tree increases, in the root.
    pub(super) sequence: usize,
    /// `struct mod_tree_node`, and in it the module and the nodes of both trees.
    pub(super) node_bytes: usize,
    pub(super) module: usize,
    pub(super) nodes: [usize; 2],
    /// In `struct rb_node`.
    pub(super) left: usize,
    pub(super) right: usize,
}

impl TreeLayout {
    pub(super) fn of(types: &Types) -> Result<Self, Missing> {
        let latch = offset(types, "mod_tree_root", "root")?;
        let roots = latch + offset(types, "latch_tree_root", "tree")?;
        let root = size(types, "rb_root")?;
        let node = offset(types, "mod_tree_node", "node")? + offset(types, "latch_tree_node", "node")?;
        Ok(Self {
            roots: [roots, roots + root],
            sequence: latch + offset(types, "latch_tree_root", "seq")?,
            node_bytes: size(types, "mod_tree_node")?,
            module: offset(types, "mod_tree_node", "mod")?,
            nodes: [node, node + size(types, "rb_node")?],
            left: offset(types, "rb_node", "rb_left")?,
            right: offset(types, "rb_node", "rb_right")?,
        })
    }
}

/// `struct kset`, `struct kobject` and `struct module_kobject`.
#[derive(Clone, Copy, Debug)]
pub(super) struct KsetLayout {
    /// The head of the list, in the set.
    pub(super) list: usize,
    /// The list's member in `struct module_kobject`.
    pub(super) entry: usize,
    /// The pointer to the module there, null for what is built into the kernel.
    pub(super) module: usize,
}

impl KsetLayout {
    pub(super) fn of(types: &Types) -> Result<Self, Missing> {
        Ok(Self {
            list: offset(types, "kset", "list")?,
            entry: offset(types, "module_kobject", "kobj")? + offset(types, "kobject", "entry")?,
            module: offset(types, "module_kobject", "mod")?,
        })
    }
}

/// `struct ftrace_ops` (include/linux/ftrace.h).
#[derive(Clone, Copy, Debug)]
pub(super) struct FtraceLayout {
    pub(super) function: usize,
    pub(super) next: usize,
}

impl FtraceLayout {
    pub(super) fn of(types: &Types) -> Result<Self, Missing> {
        Ok(Self { function: offset(types, "ftrace_ops", "func")?, next: offset(types, "ftrace_ops", "next")? })
    }
}

/// `struct kprobe` (include/linux/kprobes.h).
#[derive(Clone, Debug)]
pub(super) struct KprobeLayout {
    pub(super) bytes: usize,
    /// Its place in the table, and in the list of those that share an address.
    pub(super) table: usize,
    pub(super) list: usize,
    pub(super) address: usize,
    /// What it calls: before the instruction, behind it, and before Linux 5.14 on a fault.
    pub(super) handlers: Vec<usize>,
    pub(super) before: usize,
    /// In `struct kretprobe`, which begins with its kprobe: what it calls at the return and at the enter.
    pub(super) return_handlers: Vec<usize>,
}

impl KprobeLayout {
    pub(super) fn of(types: &Types) -> Result<Self, Missing> {
        let start = offset(types, "kretprobe", "kp")?;
        let some = |structure, members: &[&str]| -> Vec<usize> {
            members.iter().filter_map(|member| types.offset(structure, member)).collect()
        };
        let behind_start = |offset: usize| offset.wrapping_sub(start);
        let return_handlers = some("kretprobe", &["handler", "entry_handler"]).into_iter().map(behind_start);
        Ok(Self {
            bytes: size(types, "kprobe")?,
            table: offset(types, "kprobe", "hlist")?,
            list: offset(types, "kprobe", "list")?,
            address: offset(types, "kprobe", "addr")?,
            handlers: some("kprobe", &["pre_handler", "post_handler", "fault_handler"]),
            before: offset(types, "kprobe", "pre_handler")?,
            return_handlers: return_handlers.collect(),
        })
    }
}
