use std::fs;

use proptest::prelude::*;

use super::*;
use crate::integrity::{pass::MOST_FINDINGS, walk::MOST_MODULES};
use crate::{
    integrity::fake::{
        self, FTRACE_END, FTRACE_FIRST, FakeKernel, FakeMemory, FakeModule, HEAP, KPROBES, OF_KRETPROBE, SYSTEM_CALLS,
        TAINTED, TEXT, address_of, ground, text_of,
    },
    model::{HiddenModule, HookKind, Place, Site, SystemCallTable},
};

fn look(kernel: &FakeKernel) -> KernelLook {
    look_with(kernel, &ModuleHistory { unavailable: Some("nobody keeps one".to_owned()), ..ModuleHistory::default() })
}

fn look_with(kernel: &FakeKernel, history: &ModuleHistory) -> KernelLook {
    Scanner::with(kernel.path(), kernel.memory.clone(), ground()).look(history)
}

fn hidden(look: &KernelLook) -> Vec<&HiddenModule> {
    let hidden = look.findings.iter().filter_map(|finding| match finding {
        KernelFinding::Hidden(module) => Some(module),
        _ => None,
    });
    hidden.collect()
}

fn views_but(missing: &[View]) -> Vec<View> {
    let views = View::ALL.into_iter().filter(|view| *view != View::History);
    views.filter(|view| !missing.contains(view)).collect()
}

const FILES: [View; 4] = [View::ProcModules, View::ProcModulesInPieces, View::SysModule, View::Kallsyms];

#[test]
fn a_kernel_that_hides_nothing_is_seen_whole() {
    let look = look(&FakeKernel::with(&["loop", "ext4", "snd"].map(FakeModule::new)));
    assert_eq!(look.findings, []);
    for (view, sight) in &look.views {
        match view {
            View::History => assert_eq!(sight.why(), Some("nobody keeps one")),
            _ => assert_eq!(sight, &Sight::Whole { count: 3 }, "{}", view.name()),
        }
    }
    let counts: Vec<_> = look.checks.iter().map(|(check, sight)| (*check, sight.clone())).collect();
    let whole = |count| Sight::Whole { count };
    assert_eq!(
        counts,
        [
            (Check::SystemCalls, whole(8)),
            (Check::Ftrace, whole(0)),
            (Check::Tracefs, whole(2)),
            (Check::Kprobes, whole(0)),
            (Check::Taint, whole(3))
        ]
    );
}

#[test]
fn a_module_is_told_with_the_views_that_have_it_and_those_that_have_not() {
    let plain = FakeModule::new("rootkit");
    let list = FakeModule { in_list: false, in_proc: false, ..plain.clone() };
    let set = FakeModule { in_kset: false, in_sys: false, ..plain.clone() };
    let listing = [View::ProcModules, View::ProcModulesInPieces];
    for (module, missing) in [
        (list, &[View::ProcModules, View::ProcModulesInPieces, View::List][..]),
        (set, &[View::SysModule, View::Kset]),
        (FakeModule { in_proc: false, ..plain.clone() }, &listing),
        (FakeModule { in_tree: false, ..plain.clone() }, &[View::AddressTree]),
        (FakeModule::hidden("rootkit"), &views_but(&[View::Vmallocinfo, View::Kallsyms, View::Memory])),
    ] {
        // That it is not there is no evidence.
        let not_seen = if module.in_proc { missing.to_vec() } else { [missing, &[View::Kallsyms]].concat() };
        let kernel = FakeKernel::with(&[FakeModule::new("loop"), module, FakeModule::new("ext4")]);
        let look = look(&kernel);
        let [found] = hidden(&look)[..] else { panic!("{:?}", look.findings) };
        assert_eq!((found.name.as_str(), found.address), ("rootkit", Some(address_of(1))));
        assert_eq!(found.missing_from, missing);
        assert_eq!(found.seen_in, views_but(&not_seen));
    }
}

/// A name that is also an honest module's does not stand for it.
#[test]
fn a_borrowed_name_hides_nothing() {
    let look = look(&FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("loop")]));
    let [found] = hidden(&look)[..] else { panic!("{:?}", look.findings) };
    assert_eq!(found.address, Some(address_of(1)));
    // /sys/module tells no addresses, and symbols do not count: there a name is all that it has.
    assert_eq!(found.seen_in, [View::SysModule, View::Vmallocinfo, View::Kallsyms, View::Memory]);
}

#[test]
fn files_can_show_what_is_not_there() {
    let modules = [FakeModule::new("loop"), FakeModule::new("ghost")];
    let kernel = FakeKernel::with(&modules[..1]);
    kernel.write_files(&modules);
    let look = look(&kernel);
    let [found] = hidden(&look)[..] else { panic!("{:?}", look.findings) };
    assert_eq!((found.name.as_str(), found.address), ("ghost", None));
    assert_eq!(found.seen_in, FILES);
    assert_eq!(found.missing_from, views_but(&[&FILES[..], &[View::Vmallocinfo]].concat()));
}

#[test]
fn an_area_of_memory_that_is_cut_out_of_the_file_is_missed() {
    let kernel = FakeKernel::with(&["loop", "odd"].map(FakeModule::new));
    let file = kernel.path().join("proc/vmallocinfo");
    let areas = fs::read_to_string(&file).unwrap();
    fs::write(&file, areas.lines().next().unwrap().to_owned() + "\n").unwrap();
    let cut = look(&kernel);
    let [found] = hidden(&cut)[..] else { panic!("{:?}", cut.findings) };
    assert_eq!((found.name.as_str(), &found.missing_from[..]), ("odd", &[View::Vmallocinfo][..]));
    assert_eq!(found.seen_in, views_but(&[View::Vmallocinfo]));
    fs::write(&file, "0x0000000000000000-0x0000000000000000   12288 load_module+0x7a0/0x2300\n").unwrap();
    let withheld = look(&kernel);
    assert_eq!(withheld.findings, []);
    let sight = &withheld.views.iter().find(|(view, _)| *view == View::Vmallocinfo).unwrap().1;
    assert!(sight.why().is_some_and(|why| why.contains("CAP_SYSLOG")), "{sight:?}");
}

/// As it is with a real one, the file stays open.
#[test]
fn symbols_and_tracefs_are_read_once_an_hour_and_as_long_as_something_is_found() {
    let kernel = FakeKernel::with(&["loop"].map(FakeModule::new));
    let mut scanner = Scanner::with(kernel.path(), kernel.memory.clone(), ground());
    let mut look = |is_later: bool| {
        if let Some(deep) = scanner.deep.as_mut().filter(|_| is_later) {
            deep.boot_ns = deep.boot_ns.saturating_sub(BETWEEN_DEEP.as_nanos() as u64);
        }
        let look = scanner.look(&ModuleHistory::default());
        let count = look.views.iter().find(|(view, _)| *view == View::Kallsyms).unwrap().1.count();
        let names =
            hidden(&look).iter().map(|module| (module.name.clone(), module.seen_in.clone())).collect::<Vec<_>>();
        (count, names)
    };
    let symbols = |names: &[&str]| {
        let line = |name: &&str| format!("{:016x} t do_one\t[{name}]\n", text_of(0));
        fs::write(kernel.path().join("proc/kallsyms"), names.iter().map(line).collect::<String>()).unwrap();
    };
    let ghost = vec![("ghost".to_owned(), vec![View::Kallsyms])];
    assert_eq!(look(false), (1, vec![]));
    symbols(&["loop", "ghost"]);
    assert_eq!(look(false), (1, vec![]), "it is told as it was");
    assert_eq!(look(true), (2, ghost.clone()));
    assert_eq!(look(false), (2, ghost), "it must not seem gone");
    symbols(&["loop"]);
    assert_eq!(look(false), (1, vec![]));
    symbols(&["loop", "ghost"]);
    assert_eq!(look(false), (1, vec![]));
}

#[test]
fn history_is_evidence_where_it_has_no_gap() {
    let kernel = FakeKernel::with(&[FakeModule::new("loop")]);
    let loaded = vec![("loop".to_owned(), 5), ("gone".to_owned(), 7)];
    let history = ModuleHistory { loaded, ..ModuleHistory::default() };
    let look = look_with(&kernel, &history);
    let [found] = hidden(&look)[..] else { panic!("{:?}", look.findings) };
    assert_eq!(
        (found.name.as_str(), found.loaded_boot_ns, &found.seen_in[..]),
        ("gone", Some(7), &[View::History][..])
    );
    let history = ModuleHistory { gap: Some("events were lost".to_owned()), ..history };
    assert_eq!(look_with(&kernel, &history).findings, []);
}

/// A forged list is no word that the modules behind it are hidden.
#[test]
fn what_is_not_seen_whole_misses_nothing() {
    let mut kernel = FakeKernel::with(&["loop", "ext4"].map(FakeModule::new));
    kernel.memory.write_u64(fake::LIST, 0x1000);
    let look = look(&kernel);
    assert_eq!(look.findings, []);
    let (_, sight) = look.views.iter().find(|(view, _)| *view == View::List).unwrap();
    assert!(matches!(sight, Sight::Incomplete { count: 0, .. }), "{sight:?}");
}

/// Who cannot be read as a module is one all the same, as long as a list leads there.
#[test]
fn what_makes_itself_unreadable_is_found_by_its_place() {
    let mut kernel = FakeKernel::with(&["loop", "odd"].map(FakeModule::new));
    kernel.memory.write(address_of(1), &9_u32.to_le_bytes());
    let look = look(&kernel);
    let strange = hidden(&look).into_iter().find(|module| module.name.is_empty()).unwrap();
    assert_eq!((strange.address, &strange.missing_from[..]), (Some(address_of(1)), &[View::Memory][..]));
    assert_eq!(strange.seen_in, [View::List, View::AddressTree, View::Kset]);
    let named = hidden(&look).into_iter().find(|module| module.name == "odd").unwrap();
    assert_eq!(named.missing_from, [View::List, View::AddressTree, View::Kset, View::Memory]);
}

/// Or else a member too many would take the list away as evidence.
#[test]
fn a_strange_member_takes_no_evidence_away() {
    let hider = FakeModule { in_list: false, in_proc: false, ..FakeModule::new("rootkit") };
    let mut kernel = FakeKernel::with(&[FakeModule::new("loop"), hider]);
    kernel.memory.write_u64(HEAP + 0x9000, fake::LIST);
    kernel.memory.write_u64(address_of(0) + 8, HEAP + 0x9000);
    let look = look(&kernel);
    let (_, sight) = look.views.iter().find(|(view, _)| *view == View::List).unwrap();
    assert_eq!((sight.name(), sight.count()), ("whole", 1));
    assert!(sight.why().is_some_and(|why| why.contains("1 more of its members")), "{sight:?}");
    let rootkit = hidden(&look).into_iter().find(|module| module.name == "rootkit").unwrap();
    assert!(rootkit.missing_from.contains(&View::List));
}

/// The memory of who hides is not somebody else's because he says so.
#[test]
fn a_module_that_claims_the_memory_of_another_is_not_believed() {
    for claim in [0x8000_u32, 0x1_5000] {
        let mut kernel = FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("rootkit")]);
        kernel.memory.write(address_of(0) + 160 + 8, &claim.to_le_bytes());
        let look = look(&kernel);
        assert!(hidden(&look).iter().any(|module| module.name == "rootkit"), "{:?}", look.findings);
        let (_, sight) = look.views.iter().find(|(view, _)| *view == View::Memory).unwrap();
        assert_eq!(sight.name(), "whole");
        assert!(sight.why().is_some_and(|why| why.contains("`loop`")), "{sight:?}");
    }
}

/// One byte takes it out of all views; its code stays.
#[test]
fn code_of_who_cannot_be_read_is_counted() {
    let mut kernel = FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("rootkit")]);
    // A large page of somebody else's is there, too.
    assert_eq!(look(&kernel).others_code, Some(512));
    kernel.memory.write(address_of(1), &9_u32.to_le_bytes());
    let unreadable = look(&kernel);
    assert_eq!((unreadable.findings, unreadable.others_code), (vec![], Some(512 + 3)));
}

/// Whose structure can be read is in memory.
#[test]
fn page_tables_that_lack_what_can_be_read_are_no_evidence() {
    let mut kernel = FakeKernel::with(&["loop", "ext4"].map(FakeModule::new));
    kernel.memory.write_u64(fake::page_entry(text_of(1) + 0x4000), 0);
    let look = look(&kernel);
    assert_eq!(look.findings, []);
    let (_, sight) = look.views.iter().find(|(view, _)| *view == View::Memory).unwrap();
    assert!(matches!(sight, Sight::Unavailable { why } if why.contains("do not agree")), "{sight:?}");
}

/// Whatever kernel memory holds, what is kept of it is little.
#[test]
fn memory_full_of_modules_and_lists_without_end_are_cut() {
    let mut kernel = FakeKernel::with(&["loop"].map(FakeModule::new));
    kernel.fill(MOST_MODULES as u64 + 100);
    let cut = |kernel: &FakeKernel, view| {
        let look = look(kernel);
        assert!(look.more_findings > 0 && look.findings.len() <= MOST_FINDINGS);
        assert!(look.more_findings <= 2 * MOST_MODULES, "{}", look.more_findings);
        let of_memory = [View::List, View::AddressTree, View::Kset, View::Memory];
        let counts = look.views.iter().filter(|(view, _)| of_memory.contains(view));
        assert!(counts.clone().all(|(_, sight)| sight.count() <= 2 * MOST_MODULES), "{:?}", look.views);
        let (_, sight) = look.views.iter().find(|(seen, _)| *seen == view).unwrap();
        sight.clone()
    };
    let sight = cut(&kernel, View::List);
    assert!(matches!(&sight, Sight::Incomplete { count, .. } if *count <= MOST_MODULES), "{sight:?}");
    kernel.memory.write_u64(fake::LIST, fake::LIST);
    let sight = cut(&kernel, View::Memory);
    assert!(matches!(&sight, Sight::Incomplete { why, .. } if why.contains("more than")), "{sight:?}");
}

#[test]
fn a_load_too_many_is_missed_where_its_name_is_there() {
    let kernel = FakeKernel::with(&[FakeModule::new("loop")]);
    let loaded = vec![("loop".to_owned(), 5), ("loop".to_owned(), 7)];
    let look = look_with(&kernel, &ModuleHistory { loaded, ..ModuleHistory::default() });
    let [found] = hidden(&look)[..] else { panic!("{:?}", look.findings) };
    assert_eq!((found.name.as_str(), found.loaded_boot_ns, found.address), ("loop", Some(5), None));
}

#[test]
fn a_taint_that_a_load_brought_is_missed_though_no_look_saw_it() {
    let kernel = FakeKernel::with(&[FakeModule::new("loop")]);
    let history = ModuleHistory { taints: 1 << 12, ..ModuleHistory::default() };
    let look = look_with(&kernel, &history);
    let cleared = crate::model::TaintCleared { bits: 1 << 12, mask: 0, modules: Vec::new(), had: 1 << 12 };
    assert_eq!(look.findings, [KernelFinding::TaintCleared(cleared)]);
}

#[test]
fn without_the_kernels_text_modules_are_looked_at_all_the_same() {
    let kernel = FakeKernel::with(&[FakeModule::hidden("rootkit")]);
    let ground = Ground { text: Err("there is no `_stext`".to_owned()), ..ground() };
    let look = Scanner::with(kernel.path(), kernel.memory.clone(), ground).look(&ModuleHistory::default());
    assert_eq!(hidden(&look).len(), 1);
    for (check, sight) in look.checks {
        assert_eq!(sight.why().is_some_and(|why| why.contains("_stext")), check != Check::Taint, "{}", check.name());
    }
}

#[test]
fn without_kernel_memory_files_are_compared() {
    let kernel = FakeKernel::with(&[FakeModule::new("loop"), FakeModule { in_sys: false, ..FakeModule::new("odd") }]);
    let mut scanner = Scanner {
        kernel: Err("forbidden".to_owned()),
        ..Scanner::with(kernel.path(), FakeMemory::default(), ground())
    };
    let look = scanner.look(&ModuleHistory::default());
    assert!(!look.sees_memory());
    let [found] = hidden(&look)[..] else { panic!("{:?}", look.findings) };
    assert_eq!((found.name.as_str(), &found.missing_from[..]), ("odd", &[View::SysModule][..]));
}

fn target(address: u64, module: Option<&str>, hidden: bool) -> Place {
    Place { address, module: module.map(ToOwned::to_owned), hidden }
}

#[test]
fn nobody_but_the_kernel_has_a_place_among_the_system_calls() {
    let mut kernel = FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("rootkit")]);
    let places = [
        (1, target(text_of(0) + 16, Some("loop"), false)),
        (3, target(text_of(1) + 16, Some("rootkit"), true)),
        (7, target(HEAP, None, false)),
    ];
    for (number, place) in &places {
        kernel.memory.write_u64(SYSTEM_CALLS + number * 8, place.address);
    }
    let look = look(&kernel);
    let entries = look.findings.iter().filter_map(|finding| match finding {
        KernelFinding::SystemCall(entry) => Some((entry.table, u64::from(entry.number), entry.target.clone())),
        _ => None,
    });
    let entries: Vec<_> = entries.collect();
    assert_eq!(entries, places.map(|(number, place)| (SystemCallTable::X64, number, place)));
}

/// Somebody empties an entry that nobody uses, and changes those behind it.
#[test]
fn an_emptied_entry_does_not_end_a_table() {
    let mut kernel = FakeKernel::with(&[FakeModule::new("loop")]);
    let mut scanner = Scanner::with(kernel.path(), kernel.memory.clone(), ground());
    assert_eq!(scanner.look(&ModuleHistory::default()).findings, []);
    let mut found = |changes: &[(u64, u64)]| {
        for (number, address) in changes {
            kernel.memory.write_u64(SYSTEM_CALLS + number * 8, *address);
        }
        scanner.kernel = Ok(Kernel { memory: Box::new(kernel.memory.clone()), ground: ground() });
        let look = scanner.look(&ModuleHistory::default());
        let entries = look.findings.iter().filter_map(|finding| match finding {
            KernelFinding::SystemCall(entry) => Some((entry.number, entry.target.address)),
            _ => None,
        });
        entries.collect::<Vec<_>>()
    };
    assert_eq!(found(&[(2, 0), (3, text_of(0))]), [(2, 0), (3, text_of(0))]);
    // The table had eight entries, and has them still.
    assert_eq!(found(&[(6, 0), (7, 0)]), [(2, 0), (3, text_of(0)), (6, 0), (7, 0)]);
    // Who looks for the first time now does not know of these two.
    scanner.past = Past::default();
    assert_eq!(scanner.look(&ModuleHistory::default()).findings.len(), 2);
}

/// The hooks of `kernel`, which hides `rootkit` and shows `loop`.
fn hooks(forge: impl FnOnce(&mut FakeMemory)) -> Vec<(HookKind, Option<Site>, Place)> {
    let mut kernel = FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("rootkit")]);
    forge(&mut kernel.memory);
    let look = look(&kernel);
    assert!(look.checks.iter().all(|(_, sight)| matches!(sight, Sight::Whole { .. })), "{:?}", look.checks);
    let hooks = look.findings.into_iter().filter_map(|finding| match finding {
        KernelFinding::Hook(hook) => Some((hook.kind, hook.site, hook.target)),
        _ => None,
    });
    hooks.collect()
}

#[test]
fn ftrace_may_call_the_kernel_and_modules_that_do_not_hide() {
    let found = hooks(|memory| {
        let functions = [TEXT.address, text_of(0) + 8, text_of(1) + 8, HEAP];
        let mut place = FTRACE_FIRST;
        for (record, function) in (0..).map(|number| HEAP + number * 0x100).zip(functions) {
            memory.write_u64(place, record);
            memory.write_u64(record, function);
            place = record + 8;
        }
        memory.write_u64(place, FTRACE_END);
    });
    let hook = |place| (HookKind::Ftrace, None, place);
    assert_eq!(found, [hook(target(text_of(1) + 8, Some("rootkit"), true)), hook(target(HEAP, None, false))]);
}

#[test]
fn what_tracefs_shows_is_found_without_the_list_and_told_once_with_it() {
    let hidden = target(text_of(1), Some("rootkit"), true);
    let found = |in_list: &[u64]| {
        let mut kernel = FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("rootkit")]);
        let shown = format!(
            "{}kill (2) ->own+0x0/0x9 [loop]\t tramp: 0x1 (get+0x0/0x20 [rootkit]) ->get+0x0/0x20 [rootkit]\n",
            fake::ENABLED
        );
        fs::write(kernel.path().join("sys/kernel/tracing/enabled_functions"), shown).unwrap();
        let touched = format!("read (0)\nopen (1) ->{HEAP:#x}\n");
        fs::write(kernel.path().join("sys/kernel/tracing/touched_functions"), touched).unwrap();
        let mut place = FTRACE_FIRST;
        for (record, function) in (0..).map(|number| HEAP + number * 0x100).zip(in_list) {
            kernel.memory.write_u64(place, record);
            kernel.memory.write_u64(record, *function);
            place = record + 8;
        }
        kernel.memory.write_u64(place, FTRACE_END);
        let look = look(&kernel);
        let sight = look.checks.iter().find(|(check, _)| *check == Check::Tracefs).unwrap().1.clone();
        assert_eq!(sight, Sight::Whole { count: 3 });
        let hooks = look.findings.into_iter().filter_map(|finding| match finding {
            KernelFinding::Hook(hook) => Some((hook.record.is_some(), hook.target)),
            _ => None,
        });
        hooks.collect::<Vec<_>>()
    };
    let nobodys = target(HEAP, None, false);
    assert_eq!(found(&[]), [(false, nobodys.clone()), (false, hidden.clone())]);
    let called = target(text_of(1) + 8, Some("rootkit"), true);
    assert_eq!(found(&[text_of(1) + 8]), [(false, nobodys.clone()), (true, called.clone())]);
    assert_eq!(found(&[HEAP, text_of(1) + 8]), [(true, nobodys), (true, called)]);
}

#[test]
fn without_tracefs_its_check_is_not_there() {
    let kernel = FakeKernel::with(&[FakeModule::new("loop")]);
    fs::remove_dir_all(kernel.path().join("sys/kernel")).unwrap();
    let look = look(&kernel);
    let sight = &look.checks.iter().find(|(check, _)| *check == Check::Tracefs).unwrap().1;
    assert!(sight.why().is_some_and(|why| why.contains("not mounted")), "{sight:?}");
}

#[test]
fn kprobes_are_found_alone_and_among_those_that_share_an_address() {
    let site = TEXT.address + 0x100;
    let found = hooks(|memory| {
        let probe = |memory: &mut FakeMemory, record: u64, next: u64, before: u64| {
            memory.write_u64(record, next);
            memory.write_u64(record + 16, record + 16);
            memory.write_u64(record + 40, site);
            memory.write_u64(record + 48, before);
        };
        // An honest one, then one that stands for two more, then one of a function's return.
        memory.write_u64(KPROBES + 24, HEAP);
        probe(memory, HEAP, HEAP + 0x100, text_of(0));
        probe(memory, HEAP + 0x100, HEAP + 0x400, TEXT.address);
        probe(memory, HEAP + 0x200, 0, text_of(0));
        probe(memory, HEAP + 0x300, 0, text_of(1));
        for (from, to) in [(0x100, 0x200), (0x200, 0x300), (0x300, 0x100)] {
            memory.write_u64(HEAP + from + 16, HEAP + to + 16);
        }
        probe(memory, HEAP + 0x400, 0, OF_KRETPROBE);
        memory.write_u64(HEAP + 0x400 + 72, text_of(1) + 8);
    });
    let site = || Some(Site { address: site, symbol: None });
    let rootkit = |address| target(address, Some("rootkit"), true);
    assert_eq!(
        found,
        [(HookKind::Kretprobe, site(), rootkit(text_of(1) + 8)), (HookKind::Kprobe, site(), rootkit(text_of(1)))]
    );
}

#[test]
fn taints_do_not_go() {
    let modules = [FakeModule { taints: 1 << 12, ..FakeModule::new("odd") }, FakeModule::new("loop")];
    let mut kernel = FakeKernel::with(&modules);
    kernel.memory.write_u64(TAINTED, 1 << 12 | 1 << 9);
    std::fs::write(kernel.path().join("proc/sys/kernel/tainted"), "4608\n").unwrap();
    let mut scanner = Scanner::with(kernel.path(), kernel.memory.clone(), ground());
    assert_eq!(scanner.look(&ModuleHistory::default()).findings, []);
    let mut cleared = |mask: u64, shown: u64| {
        let mut memory = kernel.memory.clone();
        memory.write_u64(TAINTED, mask);
        std::fs::write(kernel.path().join("proc/sys/kernel/tainted"), format!("{shown}\n")).unwrap();
        scanner.kernel = Ok(Kernel { memory: Box::new(memory), ground: ground() });
        match &scanner.look(&ModuleHistory::default()).findings[..] {
            [KernelFinding::TaintCleared(cleared)] => cleared.clone(),
            findings => panic!("{findings:?}"),
        }
    };
    let odd = vec!["odd".to_owned()];
    let all =
        crate::model::TaintCleared { bits: 1 << 12 | 1 << 9, mask: 0, modules: odd.clone(), had: 1 << 12 | 1 << 9 };
    assert_eq!(cleared(0, 0), all);
    assert_eq!(cleared(4608, 0), all, "what is shown is filtered");
    assert_eq!(cleared(1 << 12, 1 << 12).modules, Vec::<String>::new());
    assert_eq!(cleared(1 << 9, 1 << 9).modules, odd);
}

#[test]
fn two_readings_that_differ_are_told() {
    let mut whole = crate::integrity::census::Census::default();
    let names = |names: &[&str]| names.iter().map(|name| (name.as_bytes().to_vec(), Default::default())).collect();
    for (view, names) in [(View::ProcModules, names(&["a", "b"])), (View::ProcModulesInPieces, names(&["b", "c\n"]))] {
        whole.named.insert(view, names);
        whole.sights.insert(view, Sight::Whole { count: 2 });
    }
    let differ = whole.readings().unwrap();
    assert_eq!((differ.only_whole, differ.only_pieces), (vec!["a".to_owned()], vec!["c\\x0a".to_owned()]));
    whole.named.insert(View::ProcModules, names(&["b", "c\n"]));
    assert_eq!(whole.readings(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever lies in memory, a look ends and tells of every view.
    #[test]
    fn forged_memory_is_looked_at(forgeries in fake::forgeries()) {
        let mut kernel = FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("rootkit"), FakeModule::new("ext4")]);
        kernel.memory.forge(&forgeries);
        let look = look(&kernel);
        prop_assert_eq!((look.views.len(), look.checks.len()), (View::ALL.len(), Check::ALL.len()));
        prop_assert!(look.findings.len() <= MOST_FINDINGS * KernelFinding::KINDS.len());
    }
}
