//! What was found in the kernel: modules that hide, and what leads out of the kernel's own code.
//!
//! A view that could not be looked at whole is no evidence: who looks has seen to that. Each finding is of two looks.

use super::attack;
use crate::model::{
    Finding, HiddenModule, HookKind, KernelAlert, KernelFacts, KernelHook, ModuleState, ReadingsDiffer, Rule, Severity,
    SystemCallEntry, TaintCleared, Verdict, View, taint,
};

pub(super) static HIDDEN: Rule = Rule {
    code: 160,
    id: "module-hidden",
    name: "Kernel module hidden",
    description: "A module is in the kernel by one way to see it, and missing from another that was looked at whole: somebody has taken it \
                  out of there, or lets the kernel give false answers. Rootkits do that.",
    version: 1,
    severity: Severity::Critical,
    techniques: attack::HIDING,
};

pub(super) static SYSTEM_CALL: Rule = Rule {
    code: 161,
    id: "syscall-table-changed",
    name: "System call leads out of the kernel",
    description: "An entry of a table of system calls points outside the kernel's own code: who makes the call is answered by somebody else.",
    version: 1,
    severity: Severity::Critical,
    techniques: attack::HIDING,
};

pub(super) static HOOK: Rule = Rule {
    code: 162,
    id: "kernel-hook-foreign",
    name: "Kernel function hooked by code that nobody owns",
    description: "An ftrace or kprobe hook calls what is neither the kernel's code nor that of a module that all views show. Rootkits that \
                  hide hook functions in this way.",
    version: 1,
    severity: Severity::High,
    techniques: attack::HIDING,
};

pub(super) static TAINT: Rule = Rule {
    code: 163,
    id: "taint-cleared",
    name: "Kernel taint cleared",
    description: "The kernel's taint mask lacks what a module that is loaded carries, or what the mask had before. The kernel takes no taint \
                  back until it is booted again: something has written there, to look like an untouched kernel.",
    version: 1,
    severity: Severity::High,
    techniques: attack::TRACES_REMOVED,
};

pub(super) static READINGS: Rule = Rule {
    code: 164,
    id: "module-list-filtered",
    name: "List of kernel modules filtered",
    description: "/proc/modules has other modules when it is read whole than when it is read in small pieces: something sits between the \
                  kernel's answer and who reads it, and cuts lines out.",
    version: 1,
    severity: Severity::High,
    techniques: attack::HIDING,
};

/// Names in a sentence; there are more in the document.
const NAMED: usize = 4;

/// The alert of what was found. There is always one finding.
pub fn assess_kernel(alert: &KernelAlert) -> Verdict {
    let (rule, severity, reason) = match &alert.facts {
        KernelFacts::Hidden(module) => (&HIDDEN, certainty(module), hidden(module)),
        KernelFacts::SystemCalls(entries, more) => (&SYSTEM_CALL, SYSTEM_CALL.severity, system_calls(entries, *more)),
        KernelFacts::Hooks(hooks, more) => (&HOOK, owner(hooks), self::hooks(hooks, *more)),
        KernelFacts::TaintCleared(cleared) => (&TAINT, TAINT.severity, taint_cleared(cleared)),
        KernelFacts::ReadingsDiffer(differ) => (&READINGS, READINGS.severity, readings(differ)),
    };
    Verdict { findings: vec![Finding { rule, severity, reason }], ..Verdict::default() }
}

/// Bytes that look like a module, wherever they lie, and the daemon's own memory of one, could be remains. So could one that is neither set up nor gone.
fn certainty(module: &HiddenModule) -> Severity {
    let is_structure = |view: &View| !matches!(view, View::Memory | View::Vmallocinfo | View::History);
    let is_sure = module.seen_in.iter().any(is_structure) && module.state != Some(ModuleState::Unformed);
    if is_sure { Severity::Critical } else { Severity::High }
}

/// ``module `x` is in the kernel's list of modules, but not in /proc/modules nor in /sys/module; it is live, at 0xffffffffc0a3c000``
fn hidden(module: &HiddenModule) -> String {
    let places = |views: &[View]| views.iter().map(|view| view.place()).collect::<Vec<_>>();
    let name = match module.name.as_str() {
        "" => "a module without a name".to_owned(),
        name => format!("module `{name}`"),
    };
    let state = module.state.map(|state| format!("it is {}", state.name()));
    let place = module.memory.first().map(|memory| memory.address).or(module.address);
    let facts: Vec<_> = state.into_iter().chain(place.map(|address| format!("at {address:#x}"))).collect();
    let facts = if facts.is_empty() { String::new() } else { format!("; {}", facts.join(", ")) };
    format!(
        "{name} is in {}, but not in {}{facts}",
        places(&module.seen_in).join(" and in "),
        places(&module.missing_from).join(" nor in ")
    )
}

/// ``system call 62 of sys_call_table goes to 0xffffffffc0a3c040 in the hidden module `x` ``
fn system_calls(entries: &[SystemCallEntry], more: usize) -> String {
    let entry = |entry: &SystemCallEntry| {
        format!("system call {} of {} goes to {}", entry.number, entry.table.symbol(), entry.target)
    };
    some(entries.iter().map(entry), more)
}

fn owner(hooks: &[KernelHook]) -> Severity {
    if hooks.iter().any(|hook| hook.target.hidden) { Severity::Critical } else { HOOK.severity }
}

/// ``a kprobe at kallsyms_lookup_name+0x0 calls 0xffffffffc0a3c040 in the hidden module `x` ``
fn hooks(hooks: &[KernelHook], more: usize) -> String {
    let hook = |hook: &KernelHook| {
        let kind = match hook.kind {
            HookKind::Ftrace => "an ftrace hook",
            HookKind::Kprobe => "a kprobe",
            HookKind::Kretprobe => "a kretprobe",
        };
        let site = hook.site.as_ref().map_or_else(String::new, |site| match &site.symbol {
            Some(symbol) => format!(" at {symbol}"),
            None => format!(" at {:#x}", site.address),
        });
        format!("{kind}{site} calls {}", hook.target)
    };
    some(hooks.iter().map(hook), more)
}

/// ``the kernel's taints lack OE, which module `x` carries and which they had before``
fn taint_cleared(cleared: &TaintCleared) -> String {
    let modules = match cleared.modules.as_slice() {
        [] => None,
        [module] => Some(format!("module `{module}` carries")),
        modules => Some(format!("modules {} carry", names(modules))),
    };
    let before = (cleared.had != 0).then(|| match taint::letters(cleared.had) {
        all if all == taint::letters(cleared.bits) => "were there at an earlier look".to_owned(),
        some => format!("of which {some} were there at an earlier look"),
    });
    let clauses: Vec<_> = modules.into_iter().chain(before).collect();
    format!("the kernel's taints lack {}, which {}", flags(cleared.bits), clauses.join(" and "))
}

/// The letters of taints, or where one has none the mask.
fn flags(bits: u64) -> String {
    let letters = taint::letters(bits);
    if u32::try_from(letters.len()) == Ok(bits.count_ones()) { letters } else { format!("{bits:#x}") }
}

/// `/proc/modules has a only when it is read whole, and b only when it is read in small pieces`
fn readings(differ: &ReadingsDiffer) -> String {
    let ways = [(&differ.only_whole, "read whole"), (&differ.only_pieces, "read in small pieces")];
    let shown = ways.into_iter().filter(|(modules, _)| !modules.is_empty());
    let clauses: Vec<_> = shown.map(|(modules, way)| format!("{} only when it is {way}", names(modules))).collect();
    format!("/proc/modules has {}", clauses.join(", and "))
}

fn names(modules: &[String]) -> String {
    let more = modules.len().saturating_sub(NAMED);
    let named: Vec<_> = modules.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}

/// The first sentences, and how many there are beyond, `more` of which are not among them.
fn some(sentences: impl ExactSizeIterator<Item = String>, more: usize) -> String {
    let more = sentences.len().saturating_sub(NAMED) + more;
    let named: Vec<_> = sentences.take(NAMED).collect();
    if more == 0 { named.join("; ") } else { format!("{}; and {more} more", named.join("; ")) }
}

#[cfg(test)]
mod tests;
