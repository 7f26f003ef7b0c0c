use serde_json::{Value, json};

use super::*;
use crate::model::{Check, KernelFinding, KernelLook, Sight, View, samples};

fn whole(look: KernelLook) -> KernelLook {
    let of_history = || Sight::Unavailable { why: "nobody keeps one".to_owned() };
    let sight = |view| if view == View::History { of_history() } else { Sight::Whole { count: 3 } };
    let views = View::ALL.map(|view| (view, sight(view))).into();
    let checks = Check::ALL.map(|check| (check, Sight::Whole { count: 7 })).into();
    KernelLook { views, checks, ..look }
}

fn blind(look: KernelLook) -> KernelLook {
    let of_files = [View::ProcModules, View::ProcModulesInPieces, View::SysModule];
    let sight = |view| match of_files.contains(&view) {
        true => Sight::Whole { count: 3 },
        false => Sight::Unavailable { why: "/proc/kallsyms shows no addresses".to_owned() },
    };
    KernelLook { views: View::ALL.map(|view| (view, sight(view))).into(), ..look }
}

fn report(look: KernelLook, confirmed: Vec<KernelFinding>) -> Report {
    Report::of(&KernelReport { look, confirmed })
}

fn tampered_with() -> Report {
    let hook = KernelFinding::Hook(samples::foreign_hook());
    let confirmed = vec![KernelFinding::Hidden(samples::hidden_module()), hook];
    report(KernelLook { more_findings: 3, ..samples::kernel_look() }, confirmed)
}

#[test]
fn people_read_what_was_found_and_what_could_not_be_looked_at() {
    insta::assert_snapshot!(tampered_with().to_string());
}

#[test]
fn programs_read_the_same() {
    let value = serde_json::to_value(tampered_with()).unwrap();
    assert_eq!((&value["modules"], &value["unconfirmed"], &value["memory"]), (&true.into(), &1.into(), &true.into()));
    assert_eq!((&value["elapsed_ms"], &value["cpu_ms"]), (&json!(34.0), &json!(21.5)));
    let [hidden, hook] = [&value["findings"][0], &value["findings"][1]];
    assert_eq!((&hidden["code"], &hidden["severity"]), (&160.into(), &"critical".into()));
    let module = json!({
        "name": "rootkit", "address": "0xffffffffc0a3e000", "state": "live", "taint_flags": "OE",
        "memory": [{ "address": "0xffffffffc0a3c000", "bytes": 16384 }],
        "seen_in": ["sys-module", "address-tree", "history"],
        "missing_from": ["proc-modules", "proc-modules-in-pieces", "kernel-list"],
    });
    assert_eq!(hidden["module"], module);
    let target = json!({
        "from": "kprobe kallsyms_lookup_name+0x0", "address": "0xffffffffc0a3c040", "module": "rootkit", "hidden": true,
    });
    assert_eq!((&hook["rule"], &hook["targets"]), (&"kernel-hook-foreign".into(), &json!([target])));
    assert_eq!((&hook["module"], &hook["more"]), (&Value::Null, &Value::Null));
    let views = value["views"].as_array().unwrap();
    assert_eq!(views[0], json!({ "name": "proc-modules", "status": "whole", "count": 2 }));
    assert_eq!(views[9]["why"], "loads are not seen");
}

/// Its end is what is read first.
#[test]
fn the_verdict_says_no_more_than_was_seen() {
    let verdict = |report: Report| report.to_string().lines().rev().nth(1).unwrap().to_owned();
    let look = samples::kernel_look;
    let all = "All views show the same 3 modules, and nothing leads out of the kernel's own code.";
    assert_eq!(verdict(report(whole(look()), Vec::new())), all);
    assert_eq!(verdict(report(look(), Vec::new())), "What could be looked at agrees, with the gaps above.");
    let once = KernelLook { more_findings: 1, ..whole(look()) };
    assert!(verdict(report(once, Vec::new())).ends_with("never the same long enough to be certain."));
    assert!(verdict(report(blind(look()), Vec::new())).starts_with("Kernel memory could not be looked at."));
    assert!(verdict(tampered_with()).starts_with("Take this host for compromised"));
}

#[test]
fn a_kernel_without_modules_is_told_in_a_sentence() {
    assert_eq!(Report::default().to_string(), "This kernel loads no modules: there is none that could hide.\n");
    let value = serde_json::to_value(Report::default()).unwrap();
    assert_eq!((&value["modules"], &value["findings"]), (&false.into(), &json!([])));
}

/// Names of modules are bytes of somebody who hides.
#[test]
fn nothing_of_a_name_gets_to_the_terminal() {
    let mut module = samples::hidden_module();
    module.name = "a\x1b[2J\nb".to_owned();
    let text = report(samples::kernel_look(), vec![KernelFinding::Hidden(module)]).to_string();
    assert!(!text.contains('\x1b') && text.lines().all(|line| !line.starts_with('b')), "{text:?}");
}

/// What may be a race takes half a minute, and what changes all the time has an end.
#[test]
fn it_is_looked_again_until_something_is_certain() {
    use std::cell::Cell;

    let run = |state, address: fn(u64) -> u64| {
        let clock = Cell::new(Duration::from_secs(100));
        let look = || {
            let module = crate::model::HiddenModule {
                state: Some(state),
                address: Some(address(clock.get().as_secs())),
                ..samples::hidden_module()
            };
            let boot_ns = clock.get().as_nanos() as u64;
            KernelLook { boot_ns, findings: vec![KernelFinding::Hidden(module)], ..whole(samples::kernel_look()) }
        };
        let report = settle(PATIENCE, look, |time| clock.set(clock.get() + time));
        (report.confirmed.len(), (clock.get() - Duration::from_secs(100)).as_secs())
    };
    use crate::model::ModuleState::{Coming, Live};
    assert_eq!(run(Live, |_| 64), (1, 2));
    assert_eq!(run(Coming, |_| 64), (1, 30));
    assert_eq!(run(Live, |seconds| seconds * 64), (0, 60));
}
