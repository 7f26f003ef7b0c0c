//! Where the kernel keeps what is looked at, by /proc/kallsyms.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _},
    path::Path,
};

use crate::{inspect::regular, model::text};

/// The file, and the same one where a service manager has laid an empty one over it (`ProtectKernelTunables=`).
const FILES: [&str; 2] = ["proc/kallsyms", "proc/1/root/proc/kallsyms"];
/// A kernel with all its symbols and hundreds of modules takes a third of it.
const MAX_BYTES: u64 = 64 << 20;

/// What is looked up. A kernel has some of them under certain settings or versions only.
const WANTED: [&str; 18] = [
    "_stext",
    "_etext",
    "_end",
    "modules",
    "mod_tree",
    "module_kset",
    "level3_kernel_pgt",
    "page_offset_base",
    "physical_mask",
    "sys_call_table",
    "ia32_sys_call_table",
    "x32_sys_call_table",
    "ftrace_ops_list",
    "ftrace_list_end",
    "kprobe_table",
    "pre_handler_kretprobe",
    "tainted_mask",
    "ptr_key",
];

/// Why no addresses are known.
#[derive(Debug, thiserror::Error)]
pub(super) enum SymbolsError {
    #[error("/proc/kallsyms cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("the kernel tells no addresses: that takes CAP_SYSLOG, and kernel.kptr_restrict below 2")]
    Withheld,
}

/// One symbol of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) address: u64,
    /// Where the next symbol begins; its own address where there is none.
    pub(super) end: u64,
}

/// Addresses in the running kernel.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    known: BTreeMap<&'static str, Symbol>,
    /// Stays open: who opened it may see addresses, whatever rights are given up later (`kallsyms_open`).
    file: Option<File>,
}

impl Symbols {
    /// Reads the symbols below the folder `root`. Takes some ten milliseconds: the file is made while it is read.
    pub(super) fn read(root: &Path) -> Result<Self, SymbolsError> {
        let mut error = None;
        let mut withheld = false;
        for path in FILES {
            match regular::open(&root.join(path)) {
                Ok((file, _)) => {
                    let mut symbols = Self { known: BTreeMap::new(), file: Some(file) };
                    if symbols.look_up()? {
                        return Ok(symbols);
                    }
                    withheld = true;
                }
                Err(cause) => error = error.or(Some(cause)),
            }
        }
        Err(error.filter(|_| !withheld).map_or(SymbolsError::Withheld, SymbolsError::Read))
    }

    pub(super) fn get(&self, name: &'static str) -> Option<Symbol> {
        self.known.get(name).copied()
    }

    /// Names each address by the symbol that it is in or behind, as `function+0x1f`; `None` where there is none before it.
    pub(super) fn describe(&mut self, addresses: &[u64]) -> io::Result<BTreeMap<u64, String>> {
        let mut nearest: BTreeMap<u64, (u64, Vec<u8>)> = addresses.iter().map(|at| (*at, (0, Vec::new()))).collect();
        self.each(|address, line| {
            for (_, best) in nearest.range_mut(address..).filter(|(_, best)| best.0 < address) {
                *best = (address, line.name.to_vec());
            }
        })?;
        let named = nearest.into_iter().filter(|(_, (start, _))| *start != 0);
        Ok(named
            .map(|(address, (start, name))| match address - start {
                0 => (address, text::text(&name)),
                offset => (address, format!("{}+{offset:#x}", text::text(&name))),
            })
            .collect())
    }

    /// Whether addresses are told.
    fn look_up(&mut self) -> io::Result<bool> {
        let mut found: BTreeMap<&'static str, Vec<Symbol>> = BTreeMap::new();
        let mut open: Option<(&'static str, u64)> = None;
        let mut told = false;
        self.each(|address, line| {
            told |= address != 0;
            if let Some((name, start)) = open
                && address > start
            {
                found.entry(name).or_default().push(Symbol { address: start, end: address });
                open = None;
            }
            let wanted =
                if line.module.is_some() { None } else { WANTED.iter().find(|name| name.as_bytes() == line.name) };
            if let Some(name) = wanted {
                open = Some((name, address));
            }
        })?;
        if let Some((name, start)) = open {
            found.entry(name).or_default().push(Symbol { address: start, end: start });
        }
        // Of two with one name it is not known which is meant.
        let single = found.into_iter().filter_map(|(name, symbols)| match symbols.as_slice() {
            [symbol] => Some((name, *symbol)),
            _ => None,
        });
        self.known = single.collect();
        Ok(told)
    }

    /// Names of the modules that have symbols, and whether these are all. What the kernel makes up modules for is left out: BPF programs,
    /// pages of kprobes, and trampolines of ftrace (`get_ksymbol_*` in kernel/kallsyms.c). The list of modules is not the only source:
    /// ftrace keeps symbols of init functions until their module goes (`ftrace_mod_get_kallsym`).
    pub(super) fn modules(&mut self) -> io::Result<(BTreeSet<Vec<u8>>, bool)> {
        let mut names = BTreeSet::new();
        let whole = self.each(|_, line| {
            let made_up = |name: &[u8]| name == b"bpf" || name.starts_with(b"__builtin__");
            if let Some(name) = line.module.filter(|name| !made_up(name) && !names.contains(*name)) {
                names.insert(name.to_vec());
            }
        })?;
        Ok((names, whole))
    }

    /// Whether that was all of the file.
    fn each(&mut self, mut take: impl FnMut(u64, Line<'_>)) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.rewind()?;
        let mut reader = BufReader::with_capacity(64 << 10, file.take(MAX_BYTES));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if let Some((address, symbol)) = parse(&line) {
                take(address, symbol);
            }
            line.clear();
        }
        Ok(reader.get_ref().limit() > 0)
    }
}

/// What is known of a symbol beside its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line<'a> {
    name: &'a [u8],
    /// Whose it is, if not the kernel's own.
    module: Option<&'a [u8]>,
}

/// `ffffffff81000000 T _stext`, and of a module's symbols also `\t[module]` (`s_show` in kernel/kallsyms.c).
fn parse(line: &[u8]) -> Option<(u64, Line<'_>)> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (digits, rest) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
    let [b' ', _kind, b' ', rest @ ..] = rest else { return None };
    let (name, module) = match rest.iter().position(|byte| *byte == b'\t') {
        Some(tab) => (rest.get(..tab)?, Some(rest.get(tab + 1..)?.strip_prefix(b"[")?.strip_suffix(b"]")?)),
        None => (rest, None),
    };
    let address = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    Some((address, Line { name, module }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000040 T do_one
ffffffff81000080 t modules_of_others
ffffffff82000000 D sys_call_table
ffffffff82000000 D an_alias
ffffffff82000dc0 D modules
ffffffff82000e00 d kprobe_table
ffffffff82000e40 d kprobe_table
ffffffff82000e80 d last
ffffffffc0000000 t modules\t[hostile]
ffffffffc0000010 d tainted_mask
";

    fn symbols(lines: &str) -> Result<Symbols, SymbolsError> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/kallsyms"), lines).unwrap();
        Symbols::read(root.path())
    }

    #[test]
    fn symbols_end_where_the_next_begins_and_modules_have_none_that_count() {
        let symbols = symbols(LINES).unwrap();
        let symbol = |address, end| Some(Symbol { address, end });
        assert_eq!(symbols.get("_stext"), symbol(0xffff_ffff_8100_0000, 0xffff_ffff_8100_0040));
        assert_eq!(symbols.get("modules"), symbol(0xffff_ffff_8200_0dc0, 0xffff_ffff_8200_0e00));
        assert_eq!(symbols.get("kprobe_table"), None, "there are two");
        assert_eq!(symbols.get("mod_tree"), None);
        assert_eq!(symbols.get("tainted_mask"), symbol(0xffff_ffff_c000_0010, 0xffff_ffff_c000_0010), "the last one");
        assert_eq!(symbols.get("sys_call_table"), symbol(0xffff_ffff_8200_0000, 0xffff_ffff_8200_0dc0));
    }

    #[test]
    fn places_are_named_by_the_symbol_before_them() {
        let mut symbols = symbols(LINES).unwrap();
        let described =
            symbols.describe(&[0xffff_ffff_8100_0040, 0xffff_ffff_8100_004f, 0xffff_ffff_c000_0001, 7]).unwrap();
        let described: Vec<_> = described.into_values().collect();
        assert_eq!(described, ["do_one", "do_one+0xf", "modules+0x1"]);
    }

    #[test]
    fn modules_are_those_that_the_kernel_did_not_make_up() {
        let made_up = "\
ffffffffc0001000 t f\t[loop]
ffffffffc0001010 t g\t[loop]
ffffffffc0002000 t bpf_prog_6deef7357e7b4530\t[bpf]
ffffffffc0003000 t ftrace_trampoline\t[__builtin__ftrace]
ffffffffc0004000 t kprobe_insn_page\t[__builtin__kprobes]
";
        let (names, whole) = symbols(&format!("{LINES}{made_up}")).unwrap().modules().unwrap();
        assert_eq!((names.into_iter().collect::<Vec<_>>(), whole), (vec![b"hostile".to_vec(), b"loop".to_vec()], true));
        assert!(Symbols::default().modules().is_err());
    }

    #[test]
    fn withheld_addresses_are_an_error_and_an_empty_file_is_looked_for_behind() {
        let withheld = symbols("0000000000000000 T _stext\n0000000000000000 D modules\n").unwrap_err();
        assert!(withheld.to_string().contains("CAP_SYSLOG"), "{withheld}");
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Symbols::read(root.path()), Err(SymbolsError::Read(_))));
        fs::create_dir_all(root.path().join("proc/1/root/proc")).unwrap();
        fs::write(root.path().join("proc/kallsyms"), "").unwrap();
        fs::write(root.path().join("proc/1/root/proc/kallsyms"), LINES).unwrap();
        assert!(Symbols::read(root.path()).unwrap().get("modules").is_some());
    }

    proptest! {
        #[test]
        fn a_line_is_a_symbol_or_none(line in any::<Vec<u8>>()) {
            let _ = parse(&line);
        }

        #[test]
        fn names_are_exact(address in any::<u64>(), name in "[^\t\n]{0,40}", module in "(|\t\\[[a-z_]{1,9}\\])") {
            let line = format!("{address:016x} t {name}{module}\n");
            let module = module.strip_prefix("\t[").and_then(|module| module.strip_suffix("]")).map(str::as_bytes);
            prop_assert_eq!(parse(line.as_bytes()), Some((address, Line { name: name.as_bytes(), module })));
        }
    }
}
