//! The kernel's list of modules: `modules` of kernel/module/main.c, before Linux 5.19 in kernel/module.c.

use super::{MOST_MODULES, Walk};
use crate::integrity::{
    layout::ModuleLayout,
    memory::{End, Memory, MemoryError},
};

/// Follows the list whose head is at `head`.
pub(in crate::integrity) fn walk(
    memory: &mut dyn Memory,
    head: u64,
    layout: &ModuleLayout,
) -> Result<Walk, MemoryError> {
    let chain = memory.chain(head, 0, End::At(head), MOST_MODULES)?;
    let module = |member: u64| member.wrapping_sub(layout.list as u64);
    Ok(Walk { modules: chain.pointers.into_iter().map(module).collect(), broken: chain.broken })
}
