//! Whether the kernel still has the taints that it must have. When a module gets a taint so does the kernel, first (`add_taint_module`), and
//! nothing but a boot takes it from the kernel again.

use std::{fs, io, path::Path};

use crate::{
    integrity::{census::Census, files::Names},
    model::{Sight, TaintCleared, View, taint, text},
};

/// `in_memory` is the kernel's mask, where its memory can be read. `brought` are taints of modules that were seen loaded: the kernel got each
/// before the module did. `had` are taints that the kernel had in this boot, and gets those that it has now.
pub(in crate::integrity) fn look(
    root: &Path,
    in_memory: Option<u64>,
    census: &Census,
    brought: u64,
    had: &mut u64,
) -> (Option<TaintCleared>, Sight) {
    let in_file = mask(root);
    let mask = match (in_memory, in_file) {
        // What the file shows is made of the other, and may be what a filter makes of it.
        (Some(mask), Ok(shown)) => mask & shown,
        (Some(mask), Err(_)) | (None, Ok(mask)) => mask,
        (None, Err(error)) => {
            return (None, Sight::Unavailable { why: format!("the kernel's taints cannot be read: {error}") });
        }
    };
    let modules = modules(census);
    *had |= brought;
    let of_modules = modules.iter().fold(0, |all, (_, taints)| all | taints);
    let bits = (of_modules | *had) & !mask;
    let cleared = (bits != 0).then(|| TaintCleared {
        bits,
        mask,
        modules: modules.iter().filter(|(_, taints)| taints & bits != 0).map(|(name, _)| text::text(name)).collect(),
        had: *had & bits,
    });
    *had |= mask;
    (cleared, Sight::Whole { count: modules.len() })
}

/// Modules with their taints: as they are in kernel memory, or as /proc/modules shows them.
fn modules(census: &Census) -> Vec<(&[u8], u64)> {
    if !census.modules.is_empty() {
        return census.modules.values().map(|module| (module.name.as_slice(), module.taints)).collect();
    }
    let shown = census.named.get(&View::ProcModules).into_iter().flat_map(Names::iter);
    shown.map(|(name, shown)| (name.as_slice(), taint::bits(&shown.taints).unwrap_or(0))).collect()
}

/// The kernel's taints, by /proc/sys/kernel/tainted.
fn mask(root: &Path) -> io::Result<u64> {
    let content = fs::read_to_string(root.join("proc/sys/kernel/tainted"))?;
    content.trim().parse().map_err(io::Error::other)
}
