//! One pass over everything that is looked at.

use std::{collections::BTreeMap, path::Path};

use super::{
    census::Census,
    checks::{self, Owners, system_calls::Lengths},
    ground::{Ground, Known},
    memory::{Memory, MemoryError},
    scanner::Depth,
    walk::tree,
};
use crate::model::{Check, HookKind, KernelFinding, KernelHook, ModuleHistory, Place, Sight, View};

/// Findings of one kind that are kept; the others are counted.
pub(super) const MOST_FINDINGS: usize = 256;

/// What it came to.
pub(super) struct Pass {
    pub(super) views: BTreeMap<View, Sight>,
    pub(super) checks: BTreeMap<Check, Sight>,
    pub(super) others_code: Option<usize>,
    pub(super) findings: Vec<KernelFinding>,
    /// Findings beyond those that are kept.
    pub(super) more_findings: usize,
    /// No module came or went meanwhile, as far as that can be known.
    pub(super) quiet: bool,
    /// Modules came or went meanwhile.
    pub(super) moved: bool,
}

impl Pass {
    /// Nothing was looked at.
    pub(super) const fn empty() -> Self {
        Self {
            views: BTreeMap::new(),
            checks: BTreeMap::new(),
            others_code: None,
            findings: Vec::new(),
            more_findings: 0,
            quiet: false,
            moved: false,
        }
    }
}

/// What the kernel had in this boot and must still have.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Taints.
    pub(super) taints: u64,
    pub(super) system_calls: Lengths,
}

/// Goes over everything. An error is that memory cannot be read at all, which is not so where there is none.
pub(super) fn pass(
    root: &Path,
    mut kernel: Known<(&mut dyn Memory, &Ground)>,
    history: &ModuleHistory,
    past: &mut Past,
    mut depth: Depth<'_>,
) -> Result<Pass, MemoryError> {
    let before = sequence(&mut kernel)?;
    let census = Census::take(root, &mut kernel, &mut depth)?;
    let hidden = census.hidden(history);
    let mut checks = BTreeMap::new();
    let mut findings = Vec::new();
    let mut mask = None;
    // Without the kernel's own text nothing leads out of it.
    let code = match &mut kernel {
        Ok((memory, ground)) => ground.text.as_ref().map(|text| (memory, ground, *text)),
        Err(why) => Err(&*why),
    };
    match code {
        Ok((memory, ground, text)) => {
            let owners = Owners::new(text, &census, &hidden);
            let (entries, sight) =
                checks::system_calls::look(*memory, &ground.system_calls, &mut past.system_calls, &owners)?;
            findings.extend(entries.into_iter().map(KernelFinding::SystemCall));
            checks.insert(Check::SystemCalls, sight);
            let look = |ftrace| checks::ftrace::look(*memory, ftrace, &owners);
            let (hooks, sight) = ground.ftrace.as_ref().map_or_else(|why| unknown(why), look)?;
            checks.insert(Check::Ftrace, sight);
            if let Depth::Deep(_) = depth {
                let (places, sight) = checks::tracefs::look(root, &owners);
                checks.insert(Check::Tracefs, sight);
                let hooks = beyond(&hooks, places).into_iter().map(KernelFinding::Hook);
                findings.extend(hooks);
            }
            findings.extend(hooks.into_iter().map(KernelFinding::Hook));
            let look = |kprobes| checks::kprobes::look(*memory, kprobes, &owners);
            let (hooks, sight) = ground.kprobes.as_ref().map_or_else(|why| unknown(why), look)?;
            findings.extend(hooks.into_iter().map(KernelFinding::Hook));
            checks.insert(Check::Kprobes, sight);
        }
        Err(why) => {
            for check in [Check::SystemCalls, Check::Ftrace, Check::Tracefs, Check::Kprobes] {
                checks.insert(check, Sight::Unavailable { why: why.clone() });
            }
        }
    }
    if let Ok((memory, Ground { tainted_mask: Ok(address), .. })) = &mut kernel {
        mask = memory.read_u64(*address)?;
    }
    let (cleared, sight) = checks::taint::look(root, mask, &census, history.taints, &mut past.taints);
    checks.insert(Check::Taint, sight);
    findings.extend(cleared.map(KernelFinding::TaintCleared));
    findings.extend(census.readings().map(KernelFinding::ReadingsDiffer));
    // What else is found is about these.
    findings.splice(0..0, hidden.into_iter().map(KernelFinding::Hidden));
    let after = sequence(&mut kernel)?;
    // An odd number is a change under way.
    let quiet = before.is_some_and(|before| before % 2 == 0 && after == Some(before));
    let moved = before.is_some() && !quiet;
    let more_findings = limit(&mut findings);
    Ok(Pass { views: census.sights, checks, others_code: census.others_code, findings, more_findings, quiet, moved })
}

/// Leaves so many findings of each kind: many of one must not take the room of another. How many there are beyond.
fn limit(findings: &mut Vec<KernelFinding>) -> usize {
    let all = findings.len();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    findings.retain(|finding| {
        let count = counts.entry(finding.kind()).or_default();
        *count += 1;
        *count <= MOST_FINDINGS
    });
    all - findings.len()
}

/// What files show ftrace to call beyond what is `known` of it. They have symbols where memory has addresses, so that any place in the same
/// module is the same.
fn beyond(known: &[KernelHook], places: impl IntoIterator<Item = Place>) -> Vec<KernelHook> {
    let is_known = |place: &Place| {
        let same =
            |known: &Place| known.address == place.address || place.module.is_some() && known.module == place.module;
        known.iter().any(|hook| same(&hook.target))
    };
    let new = places.into_iter().filter(|place| !is_known(place));
    new.map(|target| KernelHook { kind: HookKind::Ftrace, record: None, site: None, target }).collect()
}

fn unknown<T>(why: &str) -> Result<(Vec<T>, Sight), MemoryError> {
    Ok((Vec::new(), Sight::Unavailable { why: why.to_owned() }))
}

/// The number that changes whenever a module comes or goes, where it can be read.
fn sequence(kernel: &mut Known<(&mut dyn Memory, &Ground)>) -> Result<Option<u32>, MemoryError> {
    match kernel {
        Ok((memory, Ground { tree: Ok((root, layout)), .. })) => tree::sequence(*memory, *root, layout),
        _ => Ok(None),
    }
}
