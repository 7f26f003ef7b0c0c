//! What ftrace calls: `ftrace_ops_list` of kernel/trace/ftrace.c. The functions of kprobes, BPF and live patching are the kernel's; the
//! trampolines that the kernel makes for them are in no module's memory and are not looked at.

use super::{MOST_HOOKS, Owners, sight};
use crate::{
    integrity::{
        ground::Ftrace,
        memory::{End, Memory, MemoryError, u64_at},
    },
    model::{HookKind, KernelHook, Sight},
};

/// Hooks that call what nobody answers for.
pub(in crate::integrity) fn look(
    memory: &mut dyn Memory,
    ftrace: &Ftrace,
    owners: &Owners<'_>,
) -> Result<(Vec<KernelHook>, Sight), MemoryError> {
    let Ftrace { first, end, layout } = *ftrace;
    let chain = memory.chain(first, layout.next as u64, End::At(end), MOST_HOOKS)?;
    let mut sight = sight(&chain);
    let functions: Vec<u64> = chain.pointers.iter().map(|record| record.wrapping_add(layout.function as u64)).collect();
    let mut found = Vec::new();
    let mut records = chain.pointers.iter();
    memory.read_each(&functions, 8, &mut |at, bytes| {
        let record = records.next().copied().unwrap_or(at);
        match bytes.and_then(|bytes| u64_at(bytes, 0)) {
            Some(function) => found.extend(owners.foreign(function).map(|target| KernelHook {
                kind: HookKind::Ftrace,
                record: Some(record),
                site: None,
                target,
            })),
            None => {
                let why = format!("its member at {record:#x} cannot be read");
                sight = Sight::Incomplete { count: sight.count(), why };
            }
        }
    })?;
    Ok((found, sight))
}
