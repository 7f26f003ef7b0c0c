use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{kset, list, pages, search, tree};
use crate::{
    integrity::{
        census::Census,
        checks::{Owners, ftrace, kprobes, system_calls},
        fake::{self, AREA, FakeKernel, FakeMemory, FakeModule, address_of, ground, text_of},
        memory::Memory as _,
        module,
    },
    model::{Extent, ModuleState},
};

fn three() -> FakeKernel {
    FakeKernel::with(&[FakeModule::new("loop"), FakeModule::hidden("diamorphine"), FakeModule::new("ext4")])
}

fn addresses(numbers: &[u64]) -> BTreeSet<u64> {
    numbers.iter().map(|number| address_of(*number)).collect()
}

#[test]
fn each_way_leads_to_the_modules_in_it() {
    let (mut kernel, ground) = (three(), ground());
    let memory = &mut kernel.memory;
    let walks = [
        list::walk(memory, fake::LIST, &ground.module).unwrap(),
        tree::walk(memory, fake::TREE, &ground.tree.as_ref().unwrap().1).unwrap(),
        kset::walk(memory, fake::KSET_POINTER, &ground.kset.as_ref().unwrap().1).unwrap(),
    ];
    for walk in walks {
        assert_eq!((walk.modules, walk.broken), (addresses(&[0, 2]), None));
    }
}

#[test]
fn page_tables_lead_to_what_no_book_has() {
    let (mut kernel, ground) = (three(), ground());
    let mapped = pages::mapped(&mut kernel.memory, ground.pages.as_ref().unwrap(), AREA).unwrap().unwrap();
    let piece = |number, offset, bytes| Extent { address: text_of(number) + offset, bytes };
    let pieces = (0..3).flat_map(|number| [piece(number, 0, 0x2000), piece(number, 0x4000, 0x1000)]);
    let large = Extent { address: text_of(32), bytes: 2 << 20 };
    let mapped = {
        assert_eq!(mapped.all, pieces.chain([large]).collect::<Vec<_>>());
        // The fake forbids nothing.
        assert_eq!(mapped.code, mapped.all);
        mapped.all
    };
    let known = module::read_all(&mut kernel.memory, &[address_of(0), address_of(2)], &ground.module, AREA).unwrap();
    let found = search::unknown(&mut kernel.memory, &mapped, &known, &ground.module, AREA).unwrap();
    let found: Vec<_> =
        found.modules.iter().map(|module| (module.address, module.name.as_slice(), module.state)).collect();
    assert_eq!(found, [(address_of(1), &b"diamorphine"[..], ModuleState::Live)]);
}

#[test]
fn what_cannot_be_run_is_no_code() {
    let (mut kernel, ground) = (three(), ground());
    let entry = fake::page_entry(text_of(1) + 0x4000);
    let value = kernel.memory.read_u64(entry).unwrap().unwrap();
    kernel.memory.write_u64(entry, value | 1 << 63);
    let mapped = pages::mapped(&mut kernel.memory, ground.pages.as_ref().unwrap(), AREA).unwrap().unwrap();
    let data = Extent { address: text_of(1) + 0x4000, bytes: 0x1000 };
    let code = mapped.all.iter().filter(|piece| **piece != data).copied().collect::<Vec<_>>();
    assert_eq!(mapped.code, code);
}

/// Memory of trampolines and programs holds its own address, and names may lie anywhere.
#[test]
fn what_only_resembles_a_module_is_none() {
    let ground = ground();
    let layout = &ground.module;
    let changes: [fn(&mut FakeMemory, u64); 6] = [
        |memory, at| memory.write(at, &7_u32.to_le_bytes()),
        |memory, at| memory.write(at + 24, b"\0"),
        |memory, at| memory.write(at + 24, b"a\x01b"),
        |memory, at| memory.write_u64(at + 80, 1 << 40),
        // Memory that is not where modules are, and memory that has not the structure itself.
        |memory, at| memory.write_u64(at + 160, 0xffff_8880_0000_0000),
        |memory, at| memory.write(at + 248, &0_u32.to_le_bytes()),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut kernel = three();
        change(&mut kernel.memory, address_of(1));
        let mapped = [Extent { address: text_of(1) + 0x4000, bytes: 0x1000 }];
        let found = search::unknown(&mut kernel.memory, &mapped, &[], layout, AREA).unwrap();
        assert_eq!(found.modules, [], "change {number}");
    }
}

#[test]
fn a_list_that_is_forged_ends_and_says_so() {
    let ground = ground();
    let member = |number| address_of(number) + 8;
    for (pointer, why) in [
        (member(0), "comes back"),
        (0, "cannot be read"),
        (0x7fff_0000_1000, "cannot be read"),
        (member(1) + 3, "cannot be read"),
        (u64::MAX, "cannot be read"),
    ] {
        let mut kernel = three();
        kernel.memory.write_u64(member(2), pointer);
        let walk = list::walk(&mut kernel.memory, fake::LIST, &ground.module).unwrap();
        assert!(walk.modules.is_superset(&addresses(&[0, 2])), "{walk:?}");
        let broken = walk.broken.unwrap_or_default();
        assert!(broken.contains(why), "{pointer:#x}: {broken}");
    }
}

#[test]
fn a_tree_that_goes_round_ends_and_says_so() {
    let (mut kernel, ground) = (three(), ground());
    let node = address_of(2) + 160 + 16 + 8;
    kernel.memory.write_u64(node + 16, address_of(0) + 160 + 16 + 8);
    let walk = tree::walk(&mut kernel.memory, fake::TREE, &ground.tree.unwrap().1).unwrap();
    assert_eq!(walk.modules, addresses(&[0, 2]));
    assert!(walk.broken.unwrap().contains("more than one place"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever lies in memory, every walk and every check ends, with few reads.
    #[test]
    fn forged_memory_costs_little(forgeries in fake::forgeries()) {
        let (mut kernel, ground) = (three(), ground());
        kernel.memory.forge(&forgeries);
        let memory = &mut kernel.memory;
        let mut ways = BTreeSet::new();
        ways.extend(list::walk(memory, fake::LIST, &ground.module).unwrap().modules);
        ways.extend(tree::walk(memory, fake::TREE, &ground.tree.as_ref().unwrap().1).unwrap().modules);
        ways.extend(kset::walk(memory, fake::KSET_POINTER, &ground.kset.as_ref().unwrap().1).unwrap().modules);
        let ways: Vec<u64> = ways.into_iter().collect();
        let known = module::read_all(memory, &ways, &ground.module, AREA).unwrap();
        if let Ok(mapped) = pages::mapped(memory, ground.pages.as_ref().unwrap(), AREA).unwrap() {
            search::unknown(memory, &mapped.all, &known, &ground.module, AREA).unwrap();
        }
        let census = Census::default();
        let owners = Owners::new(fake::TEXT, &census, &[]);
        system_calls::look(memory, &ground.system_calls, &mut system_calls::Lengths::new(), &owners).unwrap();
        ftrace::look(memory, ground.ftrace.as_ref().unwrap(), &owners).unwrap();
        kprobes::look(memory, ground.kprobes.as_ref().unwrap(), &owners).unwrap();
        prop_assert!(memory.reads < 600_000, "{} reads", memory.reads);
    }
}
