//! What hides in the kernel, as it is told.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{any_text, parse, pretty, renderer};
use crate::{
    assess::assess_kernel,
    model::{
        HiddenModule, KernelAlert, KernelFacts, KernelHook, Place, ReadingsDiffer, SystemCallEntry, TaintCleared, View,
        samples, taint,
    },
};

/// One of each kind.
pub(super) fn facts() -> [KernelFacts; 5] {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let nobody = Place { address: 0xffff_ffff_c0b0_0000, module: None, hidden: false };
    [
        KernelFacts::Hidden(samples::hidden_module()),
        KernelFacts::SystemCalls(vec![samples::changed_entry()], 3),
        KernelFacts::Hooks(vec![samples::foreign_hook(), KernelHook { target: nobody, ..samples::foreign_hook() }], 0),
        KernelFacts::TaintCleared(TaintCleared {
            bits: taint::OUT_OF_TREE | taint::UNSIGNED,
            mask: taint::PROPRIETARY,
            modules: owned(&["rootkit"]),
            had: taint::UNSIGNED,
        }),
        KernelFacts::ReadingsDiffer(ReadingsDiffer { only_whole: owned(&["loop"]), only_pieces: owned(&["rootkit"]) }),
    ]
}

pub(super) fn alert(facts: KernelFacts) -> KernelAlert {
    let look = samples::kernel_look();
    KernelAlert { boot_ns: look.boot_ns, number: 0, facts, views: look.views }
}

fn render(facts: KernelFacts) -> Value {
    let alert = alert(facts);
    parse(&renderer().render_kernel(&alert, &assess_kernel(&alert)))
}

#[test]
fn each_finding_is_an_alert_with_its_evidence() {
    for (facts, name) in facts().into_iter().zip([
        "module_hidden",
        "syscall_table_changed",
        "kernel_hook_foreign",
        "taint_cleared",
        "module_list_filtered",
    ]) {
        insta::assert_snapshot!(name, pretty(&render(facts)));
    }
}

#[test]
fn a_look_says_what_could_not_be_looked_at_and_why() {
    let document = parse(&renderer().render_look(&samples::kernel_look()));
    insta::assert_snapshot!(pretty(&document));
    let row = |name: &str| {
        let views = document["lkm_monitor"]["kernel"]["views"].as_array().unwrap();
        views.iter().find(|view| view["name"] == name).unwrap()
    };
    assert_eq!(row("history"), &json!({ "name": "history", "status": "unavailable", "reason": "loads are not seen" }));
    assert_eq!(row("proc-modules"), &json!({ "name": "proc-modules", "status": "whole", "count": 2 }));
}

/// Two modules that one look finds are two events, and a finding that is sent twice is one.
#[test]
fn an_alert_is_named_by_its_look_and_its_place_in_it() {
    let id = |boot_ns, number| {
        let alert = KernelAlert { boot_ns, number, ..alert(KernelFacts::Hidden(samples::hidden_module())) };
        renderer().render_kernel(&alert, &assess_kernel(&alert)).id
    };
    assert_eq!(id(1, 0), id(1, 0));
    assert_ne!(id(1, 0), id(1, 1));
    assert_ne!(id(1, 0), id(2, 0));
}

proptest! {
    /// Names come from the memory of a kernel in which somebody has written: they break no document, and none is too long.
    #[test]
    fn whatever_a_module_calls_itself_is_a_document(
        name in any_text(),
        address: u64,
        taints: u64,
        seen_in in prop::sample::subsequence(View::ALL.to_vec(), 1..View::ALL.len()),
        names in prop::collection::vec("\\PC{0,60}", 0..400),
    ) {
        let name = crate::model::text::text(name.as_bytes());
        let target = Place { address, module: Some(name.clone()), hidden: true };
        let entry = SystemCallEntry { target: target.clone(), ..samples::changed_entry() };
        let hook = KernelHook { target, record: Some(address), ..samples::foreign_hook() };
        let bits = taints | 1;
        for facts in [
            KernelFacts::Hidden(HiddenModule {
                name,
                address: Some(address),
                taints: Some(taints),
                seen_in,
                ..samples::hidden_module()
            }),
            KernelFacts::SystemCalls(vec![entry; 32], 1000),
            KernelFacts::Hooks(vec![hook; 32], 0),
            KernelFacts::TaintCleared(TaintCleared { bits, mask: !bits, modules: names.clone(), had: 0 }),
            KernelFacts::ReadingsDiffer(ReadingsDiffer { only_whole: names.clone(), only_pieces: vec!["a".to_owned()] }),
        ] {
            let document = render(facts);
            prop_assert_eq!(&document["event"]["kind"], "alert");
        }
    }
}
