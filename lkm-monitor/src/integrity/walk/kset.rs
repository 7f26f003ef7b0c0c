//! What /sys/module is made of: the members of `module_kset` of kernel/params.c.

use super::{MOST_MODULES, Walk};
use crate::integrity::{
    layout::KsetLayout,
    memory::{End, Memory, MemoryError, u64_at},
};

/// Follows the list of the set to which `pointer` leads. What is built into the kernel is in it too, with no module.
pub(in crate::integrity) fn walk(
    memory: &mut dyn Memory,
    pointer: u64,
    layout: &KsetLayout,
) -> Result<Walk, MemoryError> {
    let Some(kset) = memory.read_u64(pointer)? else {
        return Ok(Walk { broken: Some("the pointer to it cannot be read".to_owned()), ..Walk::default() });
    };
    let head = kset.wrapping_add(layout.list as u64);
    let chain = memory.chain(head, 0, End::At(head), MOST_MODULES)?;
    let module = |member: u64| member.wrapping_sub(layout.entry as u64).wrapping_add(layout.module as u64);
    let pointers: Vec<u64> = chain.pointers.into_iter().map(module).collect();
    let mut walk = Walk { broken: chain.broken, ..Walk::default() };
    memory.read_each(&pointers, 8, &mut |at, bytes| match bytes.and_then(|bytes| u64_at(bytes, 0)) {
        Some(0) => {}
        Some(module) => {
            walk.modules.insert(module);
        }
        None => walk.broken = Some(format!("its member at {at:#x} cannot be read")),
    })?;
    Ok(walk)
}
