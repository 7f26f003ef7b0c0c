//! A kernel made of a few pages, for tests: what it holds is said by module and written out, forged where a test wants it.

use std::{collections::BTreeMap, fs, path::Path};

use lkm_monitor_common::peek::SLOTS;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    ground::{Ftrace, Ground, Kprobes},
    layout::{FtraceLayout, KprobeLayout, KsetLayout, ModuleLayout, TreeLayout},
    memory::{Bytes, Memory, MemoryError, u64_at},
    walk::pages::Tables,
};
use crate::model::{Extent, SystemCallTable};

pub(super) const TEXT: Extent = Extent { address: 0xffff_ffff_8100_0000, bytes: 16 << 20 };
pub(super) const AREA: Extent = Extent { address: 0xffff_ffff_8300_0000, bytes: 0x7c00_0000 };
/// Where the fake has its variables.
pub(super) const LIST: u64 = 0xffff_ffff_8200_0000;
pub(super) const TREE: u64 = 0xffff_ffff_8200_1000;
pub(super) const KSET_POINTER: u64 = 0xffff_ffff_8200_2000;
const KSET: u64 = 0xffff_ffff_8200_2100;
const LEVEL3: u64 = 0xffff_ffff_8200_3000;
pub(super) const SYSTEM_CALLS: u64 = 0xffff_ffff_8200_4000;
pub(super) const FTRACE_FIRST: u64 = 0xffff_ffff_8200_5000;
pub(super) const FTRACE_END: u64 = 0xffff_ffff_8200_5100;
pub(super) const KPROBES: u64 = 0xffff_ffff_8200_6000;
pub(super) const TAINTED: u64 = 0xffff_ffff_8200_7000;
pub(super) const OF_KRETPROBE: u64 = TEXT.address + 0x500;
/// Where records of hooks lie.
pub(super) const HEAP: u64 = 0xffff_8880_1000_0000;
/// Where the fake begins to map all memory: the default, as it has no variable for it.
const DIRECT: u64 = 0xffff_8880_0000_0000;
/// Page tables, by their physical addresses.
const LEVEL2: u64 = 0x10_0000;
const LEVEL1: u64 = 0x10_1000;
const MODULES: u64 = 0xffff_ffff_c000_0000;

/// A function that BPF hooks, and another one.
pub(super) const ENABLED: &str = "\
do_init_module (1) R   D   \ttramp: ftrace_regs_caller+0x0/0x65 (call_direct_funcs+0x0/0x20)
\tdirect-->bpf_trampoline_6442491219+0x0/0x1000 [bpf]
schedule (1)            \ttramp: 0xffffffffc0201000 (ftrace_ops_assist_func+0x0/0x10) ->ftrace_ops_assist_func+0x0/0x10
";

/// Offsets in the structures of the fake.
const STATE: usize = 0;
const MODULE_LIST: usize = 8;
const NAME: usize = 24;
const TAINTS: usize = 80;
const KOBJECT: usize = 96;
const KOBJECT_ENTRY: usize = 8;
const KOBJECT_MODULE: usize = 32;
const MEMORY: usize = 160;
const PIECE_BYTES: usize = 80;
const NODE: usize = 16;
const MODULE_BYTES: usize = MEMORY + 2 * PIECE_BYTES;

/// Kernel memory, page by page.
#[derive(Clone, Debug, Default)]
pub(super) struct FakeMemory {
    pages: BTreeMap<u64, Vec<u8>>,
    /// Reads so far.
    pub(super) reads: usize,
}

impl FakeMemory {
    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) {
        for (at, byte) in (address..).zip(bytes) {
            let page = self.pages.entry(at / 4096).or_insert_with(|| vec![0; 4096]);
            page[(at % 4096) as usize] = *byte;
        }
    }

    pub(super) fn write_u64(&mut self, address: u64, value: u64) {
        self.write(address, &value.to_le_bytes());
    }

    /// Writes these values to these places, as far as there is memory.
    pub(super) fn forge(&mut self, forgeries: &[(u64, u64)]) {
        for (place, value) in forgeries {
            let last = place.checked_add(7);
            if [Some(*place), last].iter().all(|at| at.is_some_and(|at| self.pages.contains_key(&(at / 4096)))) {
                self.write_u64(*place, *value);
            }
        }
    }

    fn get(&mut self, address: u64, bytes: usize) -> Option<Vec<u8>> {
        self.reads += 1;
        let byte = |at: u64| self.pages.get(&(at / 4096)).map(|page| page[(at % 4096) as usize]);
        (0..bytes as u64).map(|offset| byte(address.checked_add(offset)?)).collect()
    }
}

impl Memory for FakeMemory {
    fn read_each(
        &mut self,
        addresses: &[u64],
        bytes: usize,
        take: &mut dyn FnMut(u64, Bytes<'_>),
    ) -> Result<(), MemoryError> {
        assert!(bytes <= 4096, "more than a slot has");
        for address in addresses {
            let found = self.get(*address, bytes);
            take(*address, found.as_deref());
        }
        Ok(())
    }

    fn follow(&mut self, address: u64, offset: u64) -> Result<Vec<u64>, MemoryError> {
        let mut next = address;
        let mut found = Vec::new();
        while found.len() < SLOTS as usize {
            let Some(bytes) = self.get(next, 8) else { break };
            let pointer = u64_at(&bytes, 0).unwrap();
            found.push(pointer);
            next = pointer.wrapping_add(offset);
        }
        Ok(found)
    }
}

/// Places and what to write there: pointers that lead to what is there, beside it, or nowhere.
pub(super) fn forgeries() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((pointer(), pointer()), 0..40)
}

fn pointer() -> impl Strategy<Value = u64> {
    let places = vec![
        LIST,
        TREE,
        KSET_POINTER,
        KSET,
        LEVEL3 + 510 * 8,
        FTRACE_FIRST,
        KPROBES,
        HEAP,
        DIRECT + LEVEL2,
        DIRECT + LEVEL1,
    ];
    let module = (0..3_u64, 0..0x1000_u64).prop_map(|(number, offset)| text_of(number) + 0x4000 + offset);
    let variable = (proptest::sample::select(places), 0..64_u64).prop_map(|(place, word)| place + word * 8);
    prop_oneof![module, variable, any::<u64>(), Just(0), Just(u64::MAX)]
}

/// A module, and where it can be seen.
#[derive(Clone, Debug)]
pub(super) struct FakeModule {
    pub(super) name: &'static str,
    pub(super) state: u32,
    pub(super) taints: u64,
    pub(super) in_list: bool,
    pub(super) in_tree: bool,
    pub(super) in_kset: bool,
    pub(super) in_proc: bool,
    pub(super) in_sys: bool,
}

impl FakeModule {
    pub(super) const fn new(name: &'static str) -> Self {
        let (state, taints) = (0, 0);
        Self { name, state, taints, in_list: true, in_tree: true, in_kset: true, in_proc: true, in_sys: true }
    }

    /// In no book.
    pub(super) const fn hidden(name: &'static str) -> Self {
        Self { in_list: false, in_tree: false, in_kset: false, in_proc: false, in_sys: false, ..Self::new(name) }
    }
}

/// Where the text of module `number` begins, and its `struct module`, which is in a piece of its own.
pub(super) const fn text_of(number: u64) -> u64 {
    MODULES + number * 0x1_0000
}

/// Where the entry of a page's table is that maps this.
pub(super) const fn page_entry(address: u64) -> u64 {
    DIRECT + LEVEL1 + (address - MODULES) / 4096 * 8
}

pub(super) const fn address_of(number: u64) -> u64 {
    text_of(number) + 0x4080
}

/// What files and memory say.
pub(super) struct FakeKernel {
    pub(super) root: TempDir,
    pub(super) memory: FakeMemory,
}

impl FakeKernel {
    pub(super) fn with(modules: &[FakeModule]) -> Self {
        let mut kernel = Self { root: tempfile::tempdir().unwrap(), memory: FakeMemory::default() };
        kernel.write_memory(modules);
        kernel.write_files(modules);
        kernel
    }

    /// Writes what files show, anew.
    pub(super) fn write_files(&self, modules: &[FakeModule]) {
        let root = self.root.path();
        let _ = fs::remove_dir_all(root.join("sys"));
        fs::create_dir_all(root.join("proc/sys/kernel")).unwrap();
        fs::create_dir_all(root.join("sys/module/kernel")).unwrap();
        let shown = (0..).zip(modules).filter(|(_, module)| module.in_proc);
        let lines = shown.map(|(number, module)| format!("{} 12288 0 - Live {:#018x}\n", module.name, text_of(number)));
        fs::write(root.join("proc/modules"), lines.collect::<String>()).unwrap();
        let numbers = || (0..).zip(modules).map(|(number, _)| text_of(number));
        let area =
            |text: u64| format!("{text:#018x}-{:#018x} {:7} load_module+0x7a0/0x2300 vmalloc\n", text + 0x3000, 0x3000);
        fs::write(root.join("proc/vmallocinfo"), numbers().map(area).collect::<String>()).unwrap();
        let symbols = (0..).zip(modules).filter(|(_, module)| module.in_proc);
        let symbols = symbols.map(|(number, module)| format!("{:016x} t do_one\t[{}]\n", text_of(number), module.name));
        fs::write(root.join("proc/kallsyms"), symbols.collect::<String>()).unwrap();
        fs::create_dir_all(root.join("sys/kernel/tracing")).unwrap();
        fs::write(root.join("sys/kernel/tracing/enabled_functions"), ENABLED).unwrap();
        for module in modules.iter().filter(|module| module.in_sys) {
            let folder = root.join("sys/module").join(module.name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("initstate"), "live\n").unwrap();
        }
        let taints = modules.iter().fold(0, |all, module| all | module.taints);
        fs::write(root.join("proc/sys/kernel/tainted"), format!("{taints}\n")).unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }

    /// Fills a part of the memory of modules with so many more, which are in the list.
    pub(super) fn fill(&mut self, modules: u64) {
        const PER_PAGE: u64 = 4096 / 320;
        let memory = &mut self.memory;
        let first = MODULES + (4 << 20);
        let mut last = LIST;
        for number in 0..modules {
            let (table, page) = (number / PER_PAGE / 512, number / PER_PAGE % 512);
            let address = first + (table * 512 + page) * 4096;
            memory.write_u64(DIRECT + LEVEL2 + (2 + table) * 8, (0x10_2000 + table * 4096) | 1);
            memory.write_u64(DIRECT + 0x10_2000 + table * 4096 + page * 8, 0x40_0000 | 1);
            let at = address + number % PER_PAGE * 320;
            memory.write(at + NAME as u64, b"m");
            memory.write_u64(at + MEMORY as u64, address);
            memory.write(at + MEMORY as u64 + 8, &4096_u32.to_le_bytes());
            memory.write_u64(last, at + MODULE_LIST as u64);
            last = at + MODULE_LIST as u64;
        }
        memory.write_u64(last, LIST);
    }

    fn write_memory(&mut self, modules: &[FakeModule]) {
        let memory = &mut self.memory;
        memory.write_u64(LEVEL3 + 511 * 8, LEVEL2 | 1);
        memory.write_u64(LEVEL3 + 510 * 8, 0);
        memory.write_u64(DIRECT + LEVEL2, LEVEL1 | 1);
        memory.write(DIRECT + LEVEL1, &[0; 4096]);
        // A large page of somebody else's.
        memory.write_u64(DIRECT + LEVEL2 + 8, 0x20_0000 | 1 << 7 | 1);
        for number in 0..modules.len() as u64 {
            let module = &modules[number as usize];
            let (text, at) = (text_of(number), address_of(number));
            for page in [text, text + 4096, text + 0x4000] {
                memory.write(page, &[0; 4096]);
                let entry = (page - MODULES) / 4096;
                memory.write_u64(DIRECT + LEVEL1 + entry * 8, (0x40_0000 + entry * 4096) | 1);
            }
            memory.write(at + STATE as u64, &module.state.to_le_bytes());
            memory.write(at + NAME as u64, module.name.as_bytes());
            memory.write_u64(at + TAINTS as u64, module.taints);
            memory.write_u64(at + (KOBJECT + KOBJECT_MODULE) as u64, at);
            for (piece, (base, bytes)) in (0..).zip([(text, 0x2000_u32), (text + 0x4000, 0x1000)]) {
                let piece = at + MEMORY as u64 + piece * PIECE_BYTES as u64;
                memory.write_u64(piece, base);
                memory.write(piece + 8, &bytes.to_le_bytes());
                memory.write_u64(piece + NODE as u64, at);
            }
        }
        let members = |is_in: fn(&FakeModule) -> bool, offset: usize| -> Vec<u64> {
            let numbers = (0..).zip(modules).filter(|(_, module)| is_in(module)).map(|(number, _)| number);
            numbers.map(|number| address_of(number) + offset as u64).collect()
        };
        circle(memory, LIST, &members(|module| module.in_list, MODULE_LIST));
        memory.write_u64(KSET_POINTER, KSET);
        let built_in = HEAP + 0x8000;
        memory.write_u64(built_in + KOBJECT_MODULE as u64 - KOBJECT_ENTRY as u64, 0);
        let mut kobjects = members(|module| module.in_kset, KOBJECT + KOBJECT_ENTRY);
        kobjects.push(built_in);
        circle(memory, KSET, &kobjects);
        self.write_tree(&members(|module| module.in_tree, MEMORY + NODE));
        let memory = &mut self.memory;
        for number in 0..8 {
            memory.write_u64(SYSTEM_CALLS + number * 8, TEXT.address + 0x100 * number);
        }
        memory.write_u64(FTRACE_FIRST, FTRACE_END);
        memory.write(KPROBES, &[0; 512]);
        memory.write_u64(TAINTED, modules.iter().fold(0, |all, module| all | module.taints));
    }

    /// Both trees, as one branch to the right.
    fn write_tree(&mut self, nodes: &[u64]) {
        for (root, latch) in [(TREE + 8, 8_u64), (TREE + 16, 32)] {
            let mut place = root;
            for node in nodes {
                self.memory.write_u64(place, node + latch);
                place = node + latch + 8;
            }
            self.memory.write_u64(place, 0);
        }
    }
}

/// A `list_head` and its members.
fn circle(memory: &mut FakeMemory, head: u64, members: &[u64]) {
    let mut place = head;
    for member in members {
        memory.write_u64(place, *member);
        place = *member;
    }
    memory.write_u64(place, head);
}

/// What is known of the fake.
pub(super) fn ground() -> Ground {
    Ground {
        module: ModuleLayout {
            bytes: MODULE_BYTES,
            state: STATE,
            list: MODULE_LIST,
            name: NAME,
            taints: TAINTS,
            memory: vec![(MEMORY, MEMORY + 8), (MEMORY + PIECE_BYTES, MEMORY + PIECE_BYTES + 8)],
        },
        area: AREA,
        text: Ok(TEXT),
        list: Ok(LIST),
        tree: Ok((
            TREE,
            TreeLayout { roots: [8, 16], sequence: 0, node_bytes: 56, module: 0, nodes: [8, 32], left: 16, right: 8 },
        )),
        kset: Ok((KSET_POINTER, KsetLayout { list: 0, entry: KOBJECT_ENTRY, module: KOBJECT_MODULE })),
        pages: Ok(Tables { top: LEVEL3, page_offset_base: None, physical_mask: None }),
        system_calls: vec![(SystemCallTable::X64, Extent { address: SYSTEM_CALLS, bytes: 12 * 8 })],
        ftrace: Ok(Ftrace { first: FTRACE_FIRST, end: FTRACE_END, layout: FtraceLayout { function: 0, next: 8 } }),
        kprobes: Ok(Kprobes {
            table: Extent { address: KPROBES, bytes: 512 },
            of_kretprobe: Some(OF_KRETPROBE),
            layout: KprobeLayout {
                bytes: 72,
                table: 0,
                list: 16,
                address: 40,
                handlers: vec![48, 56],
                before: 48,
                return_handlers: vec![72, 80],
            },
        }),
        tainted_mask: Ok(TAINTED),
        pointer_key: Err("the fake hashes nothing".to_owned()),
    }
}
