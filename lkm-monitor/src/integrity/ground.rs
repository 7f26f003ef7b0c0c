//! What is known of the running kernel: where things are and how they are laid out. Each part may be unknown, for a reason of its own.

use super::{
    layout::{FtraceLayout, KprobeLayout, KsetLayout, Missing, ModuleLayout, TreeLayout},
    symbols::Symbols,
    walk::pages::{self, Tables},
};
use crate::{model::Extent, model::SystemCallTable, sensor::btf::Types};

/// A part, or why it is not known, as a clause.
pub(super) type Known<T> = Result<T, String>;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) module: ModuleLayout,
    /// The room for modules.
    pub(super) area: Extent,
    /// The kernel's own text.
    pub(super) text: Known<Extent>,
    /// Heads and roots, with the layout of what hangs there.
    pub(super) list: Known<u64>,
    pub(super) tree: Known<(u64, TreeLayout)>,
    pub(super) kset: Known<(u64, KsetLayout)>,
    pub(super) pages: Known<Tables>,
    /// The tables that this kernel has, with their bytes and what may be behind them.
    pub(super) system_calls: Vec<(SystemCallTable, Extent)>,
    pub(super) ftrace: Known<Ftrace>,
    pub(super) kprobes: Known<Kprobes>,
    pub(super) tainted_mask: Known<u64>,
    /// The key with which the kernel hashes addresses that it prints (`ptr_key` in lib/vsprintf.c).
    pub(super) pointer_key: Known<u64>,
}

/// The list of what ftrace calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ftrace {
    /// The pointer to the first, and what stands at the end.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) layout: FtraceLayout,
}

/// The table of kprobes.
#[derive(Clone, Debug)]
pub(super) struct Kprobes {
    pub(super) table: Extent,
    /// The handler that every kretprobe's kprobe has, if this kernel has it.
    pub(super) of_kretprobe: Option<u64>,
    pub(super) layout: KprobeLayout,
}

impl Ground {
    /// An error is a clause: nothing in kernel memory can be looked at.
    pub(super) fn of(symbols: &Symbols, types: &Types) -> Known<Self> {
        let address = |name| match symbols.get(name) {
            Some(symbol) => Ok(symbol.address),
            None => Err(format!("the kernel's symbols have no single `{name}`")),
        };
        let extent = |name| match symbols.get(name) {
            Some(symbol) => Ok(Extent { address: symbol.address, bytes: symbol.end - symbol.address }),
            None => Err(format!("the kernel's symbols have no single `{name}`")),
        };
        let text = address("_stext")
            .and_then(|start| Ok(Extent { address: start, bytes: address("_etext")?.saturating_sub(start) }));
        let end = address("_end").or_else(|_| address("_etext"))?;
        let area = pages::area(end).ok_or("the kernel is not where it is on other machines of this kind")?;
        let tables = [SystemCallTable::X64, SystemCallTable::Ia32, SystemCallTable::X32];
        let system_calls = tables.into_iter().filter_map(|table| Some((table, extent(table.symbol()).ok()?)));
        let with = |name, layout: Result<_, Missing>| Ok((address(name)?, layout.map_err(|error| error.to_string())?));
        Ok(Self {
            module: ModuleLayout::of(types).map_err(|error| error.to_string())?,
            area,
            text,
            list: address("modules"),
            tree: with("mod_tree", TreeLayout::of(types)),
            kset: KsetLayout::of(types)
                .map_err(|error| error.to_string())
                .and_then(|layout| Ok((address("module_kset")?, layout))),
            pages: address("level3_kernel_pgt").map(|top| Tables {
                top,
                page_offset_base: address("page_offset_base").ok(),
                physical_mask: address("physical_mask").ok(),
            }),
            system_calls: system_calls.collect(),
            ftrace: FtraceLayout::of(types).map_err(|error| error.to_string()).and_then(|layout| {
                Ok(Ftrace { first: address("ftrace_ops_list")?, end: address("ftrace_list_end")?, layout })
            }),
            kprobes: KprobeLayout::of(types).map_err(|error| error.to_string()).and_then(|layout| {
                Ok(Kprobes {
                    table: extent("kprobe_table")?,
                    of_kretprobe: address("pre_handler_kretprobe").ok(),
                    layout,
                })
            }),
            tainted_mask: address("tainted_mask"),
            pointer_key: address("ptr_key"),
        })
    }
}
