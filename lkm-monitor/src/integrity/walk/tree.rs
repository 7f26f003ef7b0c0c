//! The tree by which the kernel finds the module that an address belongs to: `mod_tree` of kernel/module/tree_lookup.c.

use std::collections::BTreeSet;

use super::{MOST_MODULES, Walk};
use crate::integrity::{
    layout::TreeLayout,
    memory::{Memory, MemoryError, u32_at, u64_at},
};

/// A module has a node for each piece of its memory, of which there are seven.
const MOST_NODES: usize = 8 * MOST_MODULES;

/// Goes through both trees below `root`, level by level.
pub(in crate::integrity) fn walk(memory: &mut dyn Memory, root: u64, layout: &TreeLayout) -> Result<Walk, MemoryError> {
    let mut walk = Walk::default();
    for (start, node) in layout.roots.into_iter().zip(layout.nodes) {
        let Some(top) = memory.read_u64(root.wrapping_add(start as u64))? else {
            walk.broken = Some("its root cannot be read".to_owned());
            continue;
        };
        below(memory, top, node, layout, &mut walk)?;
    }
    Ok(walk)
}

/// Adds what hangs below the `struct rb_node` at `top`, which is `node` bytes behind the begin of its `struct mod_tree_node`.
fn below(
    memory: &mut dyn Memory,
    top: u64,
    node: usize,
    layout: &TreeLayout,
    walk: &mut Walk,
) -> Result<(), MemoryError> {
    let mut seen = BTreeSet::new();
    let mut level: Vec<u64> = if top == 0 { Vec::new() } else { vec![top] };
    while !level.is_empty() {
        let starts: Vec<u64> = level.iter().map(|at| at.wrapping_sub(node as u64)).collect();
        level.clear();
        memory.read_each(&starts, layout.node_bytes, &mut |start, bytes| {
            let number = |offset| bytes.and_then(|bytes| u64_at(bytes, offset));
            let (Some(module), Some(left), Some(right)) =
                (number(layout.module), number(node + layout.left), number(node + layout.right))
            else {
                walk.broken = Some(format!("its node at {start:#x} cannot be read"));
                return;
            };
            if walk.modules.len() < MOST_MODULES {
                walk.modules.insert(module);
            } else if !walk.modules.contains(&module) {
                walk.broken = Some(format!("it has more than {MOST_MODULES} modules"));
            }
            for child in [left, right].into_iter().filter(|child| *child != 0) {
                if seen.len() >= MOST_NODES {
                    walk.broken = Some(format!("it has more than {MOST_NODES} nodes"));
                } else if !seen.insert(child) {
                    walk.broken = Some(format!("its node at {child:#x} hangs in more than one place"));
                } else {
                    level.push(child);
                }
            }
        })?;
    }
    Ok(())
}

/// The number that changes whenever a module comes or goes.
pub(in crate::integrity) fn sequence(
    memory: &mut dyn Memory,
    root: u64,
    layout: &TreeLayout,
) -> Result<Option<u32>, MemoryError> {
    let mut sequence = None;
    memory.read_each(&[root.wrapping_add(layout.sequence as u64)], 4, &mut |_, bytes| {
        sequence = bytes.and_then(|bytes| u32_at(bytes, 0));
    })?;
    Ok(sequence)
}
