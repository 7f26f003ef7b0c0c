use super::*;
use crate::model::{Extent, Place, Site, samples};

fn found(facts: KernelFacts) -> (u16, Severity, String) {
    let alert = KernelAlert { boot_ns: 1, number: 0, facts, views: Vec::new() };
    let verdict = assess_kernel(&alert);
    assert_eq!(verdict.findings.len(), 1);
    let Finding { rule, severity, reason } = &verdict.findings[0];
    (rule.code, *severity, reason.clone())
}

#[test]
fn a_hidden_module_is_told_with_each_view_that_has_it_and_each_that_has_not() {
    let (code, severity, reason) = found(KernelFacts::Hidden(samples::hidden_module()));
    assert_eq!((code, severity), (160, Severity::Critical));
    assert_eq!(
        reason,
        "module `rootkit` is in /sys/module and in the kernel's tree of module addresses and in the history of loads and unloads, but \
         not in /proc/modules nor in /proc/modules read in pieces nor in the kernel's list of modules; it is live, at 0xffffffffc0a3c000"
    );
}

#[test]
fn what_may_be_remains_is_not_critical() {
    let module = |seen_in: &[View], state| HiddenModule {
        name: String::new(),
        seen_in: seen_in.to_vec(),
        missing_from: vec![View::List],
        memory: vec![Extent { address: 0x10, bytes: 1 }],
        address: None,
        state,
        ..samples::hidden_module()
    };
    let severity = |module| found(KernelFacts::Hidden(module)).1;
    assert_eq!(severity(module(&[View::Memory, View::History], Some(ModuleState::Live))), Severity::High);
    assert_eq!(severity(module(&[View::AddressTree], Some(ModuleState::Unformed))), Severity::High);
    assert_eq!(severity(module(&[View::AddressTree], Some(ModuleState::Live))), Severity::Critical);
    let (_, _, reason) =
        found(KernelFacts::Hidden(HiddenModule { memory: Vec::new(), ..module(&[View::History], None) }));
    assert_eq!(
        reason,
        "a module without a name is in the history of loads and unloads, but not in the kernel's list of modules"
    );
}

#[test]
fn changed_system_calls_are_named_up_to_four() {
    let entries: Vec<_> = (60..66).map(|number| SystemCallEntry { number, ..samples::changed_entry() }).collect();
    let (code, severity, reason) = found(KernelFacts::SystemCalls(entries[..1].to_vec(), 0));
    assert_eq!((code, severity), (161, Severity::Critical));
    assert_eq!(reason, "system call 60 of sys_call_table goes to 0xffffffffc0a3c040 in the hidden module `rootkit`");
    let (_, _, reason) = found(KernelFacts::SystemCalls(entries, 10));
    assert!(reason.contains("system call 63 of ") && !reason.contains("system call 64 of "), "{reason}");
    assert!(reason.ends_with("; and 12 more"), "{reason}");
}

#[test]
fn a_hook_of_a_hidden_module_is_critical_and_one_of_nobody_high() {
    let (code, severity, reason) = found(KernelFacts::Hooks(vec![samples::foreign_hook()], 0));
    assert_eq!((code, severity), (162, Severity::Critical));
    assert_eq!(reason, "a kprobe at kallsyms_lookup_name+0x0 calls 0xffffffffc0a3c040 in the hidden module `rootkit`");
    let target = Place { address: 0x1000, module: None, hidden: false };
    let ftrace = KernelHook { kind: HookKind::Ftrace, site: None, target: target.clone(), ..samples::foreign_hook() };
    let site = Some(Site { address: 0x20, symbol: None });
    let returns = KernelHook { kind: HookKind::Kretprobe, site, target, ..samples::foreign_hook() };
    let (_, severity, reason) = found(KernelFacts::Hooks(vec![ftrace, returns], 0));
    assert_eq!(severity, Severity::High);
    assert_eq!(
        reason,
        "an ftrace hook calls 0x1000, which is neither the kernel's nor any module's; a kretprobe at 0x20 calls 0x1000, which is \
         neither the kernel's nor any module's"
    );
}

#[test]
fn a_taint_that_is_gone_is_told_with_who_carries_it_and_since_when() {
    let cleared = |modules: &[&str], had| {
        let modules = modules.iter().map(|&name| name.to_owned()).collect();
        let bits = taint::OUT_OF_TREE | taint::UNSIGNED;
        found(KernelFacts::TaintCleared(TaintCleared { bits, mask: 0, modules, had }))
    };
    let (code, severity, reason) = cleared(&["a"], 0);
    assert_eq!((code, severity), (163, Severity::High));
    assert_eq!(reason, "the kernel's taints lack OE, which module `a` carries");
    assert_eq!(
        cleared(&["a", "b"], taint::UNSIGNED).2,
        "the kernel's taints lack OE, which modules `a`, `b` carry and of which E were there at an earlier look"
    );
    assert_eq!(
        cleared(&[], taint::OUT_OF_TREE | taint::UNSIGNED).2,
        "the kernel's taints lack OE, which were there at an earlier look"
    );
    assert_eq!((flags(taint::UNSIGNED), flags(1 << 40).as_str()), ("E".to_owned(), "0x10000000000"));
}

#[test]
fn readings_that_differ_are_told_with_what_each_has() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let differ = ReadingsDiffer { only_whole: Vec::new(), only_pieces: names(&["a", "b", "c", "d", "e"]) };
    let (code, severity, reason) = found(KernelFacts::ReadingsDiffer(differ));
    assert_eq!((code, severity), (164, Severity::High));
    assert_eq!(reason, "/proc/modules has `a`, `b`, `c`, `d` and 1 more only when it is read in small pieces");
    let differ = ReadingsDiffer { only_whole: names(&["a"]), only_pieces: names(&["b"]) };
    assert_eq!(
        found(KernelFacts::ReadingsDiffer(differ)).2,
        "/proc/modules has `a` only when it is read whole, and `b` only when it is read in small pieces"
    );
}
