//! What kprobes and kretprobes call: `kprobe_table` of kernel/kprobes.c. Several that share an address stand in the table as one whose
//! handlers are the kernel's, with a list of the others.

use std::collections::BTreeSet;

use super::{MOST_HOOKS, Owners};
use crate::{
    integrity::{
        ground::Kprobes,
        memory::{End, Memory, MemoryError, u64_at},
    },
    model::{HookKind, KernelHook, Sight, Site},
};

/// One probe.
struct Probe {
    record: u64,
    site: u64,
    /// Where its list leads to, which is to itself when it shares its address with no other.
    list: u64,
    handlers: Vec<u64>,
    of_kretprobe: bool,
}

/// Hooks that call what nobody answers for.
pub(in crate::integrity) fn look(
    memory: &mut dyn Memory,
    kprobes: &Kprobes,
    owners: &Owners<'_>,
) -> Result<(Vec<KernelHook>, Sight), MemoryError> {
    let layout = &kprobes.layout;
    let mut broken = None;
    let in_table = members(memory, kprobes, &mut broken)?;
    let mut probes = read(memory, kprobes, &in_table, &mut broken)?;
    let mut sharing = BTreeSet::new();
    for probe in &probes {
        let head = probe.record.wrapping_add(layout.list as u64);
        if probe.list == head || probe.list == 0 {
            continue;
        }
        let left = MOST_HOOKS.saturating_sub(sharing.len());
        let chain = memory.chain(head, 0, End::At(head), left)?;
        broken = broken.or(chain.broken);
        sharing.extend(chain.pointers.into_iter().map(|member| member.wrapping_sub(layout.list as u64)));
    }
    let sharing = sharing.difference(&in_table).copied().collect();
    probes.extend(read(memory, kprobes, &sharing, &mut broken)?);
    let count = probes.len();
    let mut found = Vec::new();
    let mut hooks = |kind, probe: &Probe, handlers: &[u64]| {
        let foreign = handlers.iter().filter(|handler| **handler != 0).filter_map(|handler| owners.foreign(*handler));
        let site = Some(Site { address: probe.site, symbol: None });
        found.extend(foreign.map(|target| KernelHook { kind, record: Some(probe.record), site: site.clone(), target }));
    };
    for probe in &probes {
        hooks(HookKind::Kprobe, probe, &probe.handlers);
        if probe.of_kretprobe {
            let addresses = layout.return_handlers.iter().map(|handler| probe.record.wrapping_add(*handler as u64));
            let mut handlers = Vec::new();
            memory.read_each(&addresses.collect::<Vec<_>>(), 8, &mut |_, bytes| {
                handlers.extend(bytes.and_then(|bytes| u64_at(bytes, 0)));
            })?;
            hooks(HookKind::Kretprobe, probe, &handlers);
        }
    }
    let sight = match broken {
        Some(why) => Sight::Incomplete { count, why },
        None => Sight::Whole { count },
    };
    Ok((found, sight))
}

/// The probes that stand in the table itself.
fn members(
    memory: &mut dyn Memory,
    kprobes: &Kprobes,
    broken: &mut Option<String>,
) -> Result<BTreeSet<u64>, MemoryError> {
    let heads: Vec<u64> = (0..kprobes.table.bytes.min(4096) / 8).map(|head| kprobes.table.address + head * 8).collect();
    let mut taken = Vec::new();
    memory.read_each(&heads, 8, &mut |head, bytes| match bytes.and_then(|bytes| u64_at(bytes, 0)) {
        Some(0) => {}
        Some(_) => taken.push(head),
        None => *broken = Some("a part of the table cannot be read".to_owned()),
    })?;
    let mut members = BTreeSet::new();
    for head in taken {
        let left = MOST_HOOKS.saturating_sub(members.len());
        let chain = memory.chain(head, 0, End::Null, left)?;
        if let Some(why) = chain.broken {
            *broken = Some(why);
        }
        members.extend(chain.pointers.into_iter().map(|node| node.wrapping_sub(kprobes.layout.table as u64)));
    }
    Ok(members)
}

fn read(
    memory: &mut dyn Memory,
    kprobes: &Kprobes,
    records: &BTreeSet<u64>,
    broken: &mut Option<String>,
) -> Result<Vec<Probe>, MemoryError> {
    let layout = &kprobes.layout;
    let records: Vec<u64> = records.iter().copied().collect();
    let mut probes = Vec::with_capacity(records.len());
    memory.read_each(&records, layout.bytes, &mut |record, bytes| {
        let number = |offset| bytes.and_then(|bytes| u64_at(bytes, offset));
        let (Some(site), Some(list)) = (number(layout.address), number(layout.list)) else {
            *broken = Some(format!("the probe at {record:#x} cannot be read"));
            return;
        };
        let handlers = layout.handlers.iter().filter_map(|handler| number(*handler)).collect();
        let of_kretprobe = kprobes.of_kretprobe.is_some() && number(layout.before) == kprobes.of_kretprobe;
        probes.push(Probe { record, site, list, handlers, of_kretprobe });
    })?;
    Ok(probes)
}
