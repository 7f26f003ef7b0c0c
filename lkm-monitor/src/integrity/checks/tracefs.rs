//! What ftrace calls, as tracefs tells it: `enabled_functions`, and since Linux 6.4 `touched_functions`, which keeps those of this boot
//! (`t_show` in kernel/trace/ftrace.c). The kernel goes through the functions, and tells of each what it calls.
//! A function whose hook has left the list that [`super::ftrace`] walks may be told as an error: then this check is not whole.
//!
//! Only what is called in the end counts. Trampolines on the way there, and those of BPF, are made by the kernel, without a symbol before
//! Linux 5.8.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use super::Owners;
use crate::{
    inspect::regular,
    model::{Place, Sight},
};

/// Where it is mounted, today and by older habit.
const FOLDERS: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];
/// Ten thousand functions. The kernel begins anew for each piece, so that all of its functions would take seconds.
const MAX_BYTES: u64 = 1 << 20;
/// Before each target that is called; a brace stands before a trampoline, too.
const BEFORE: [&[u8]; 5] = [b"(", b" ->", b"{ent:", b" ret:", b"{"];

/// Places that nobody answers for, each once. The count is that of the functions that ftrace calls something for.
pub(in crate::integrity) fn look(root: &Path, owners: &Owners<'_>) -> (BTreeSet<Place>, Sight) {
    let mut told = Told::default();
    let enabled = match told.read_all(root) {
        Ok(Some(enabled)) => enabled,
        Ok(None) => {
            return (
                BTreeSet::new(),
                Sight::Unavailable { why: "tracefs is not mounted, or has no ftrace".to_owned() },
            );
        }
        Err(error) => return (BTreeSet::new(), Sight::Unavailable { why: format!("it cannot be read: {error}") }),
    };
    let places = told.targets.iter().filter_map(|target| match target {
        Target::Address(address) => owners.foreign(*address),
        Target::Module(name) => owners.hidden(name),
    });
    let sight = match told.broken {
        Some(why) => Sight::Incomplete { count: enabled, why },
        None => Sight::Whole { count: enabled },
    };
    (places.collect(), sight)
}

/// What the files tell.
#[derive(Debug, Default)]
struct Told {
    targets: BTreeSet<Target>,
    broken: Option<String>,
}

/// What is called, where that may be nobody's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// There is no symbol for it.
    Address(u64),
    /// A symbol of a module of this name.
    Module(Vec<u8>),
}

impl Told {
    /// How many functions are enabled; `None` where the files are not there.
    fn read_all(&mut self, root: &Path) -> io::Result<Option<usize>> {
        for folder in FOLDERS.map(|folder| root.join(folder)) {
            if let Some(enabled) = there(self.read(&folder.join("enabled_functions")))? {
                there(self.read(&folder.join("touched_functions")))?;
                return Ok(Some(enabled));
            }
        }
        Ok(None)
    }

    /// Gives the number of functions.
    fn read(&mut self, path: &Path) -> io::Result<usize> {
        let (file, _) = regular::open(path)?;
        let mut reader = BufReader::with_capacity(64 << 10, file.take(MAX_BYTES));
        let (mut functions, mut line) = (0, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            // Lines that belong to the function before them begin so.
            functions += usize::from(!line.starts_with(b"\t"));
            if line.windows(7).any(|part| part == b" ERROR!") {
                self.broken = Some("the kernel does not know what one of its functions calls".to_owned());
            }
            self.targets.extend(targets(&line));
            line.clear();
        }
        if reader.get_ref().limit() == 0 {
            self.broken = Some("it is longer than what is read of it".to_owned());
        }
        Ok(functions)
    }
}

fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// What a line says is called: `schedule (1) R I \ttramp: 0xffffffffc0201000 (hook+0x0/0x20 [module]) ->hook+0x0/0x20 [module]`.
fn targets(line: &[u8]) -> BTreeSet<Target> {
    let mut found = BTreeSet::new();
    // A trampoline of BPF's or of somebody else's, which stands beside the callbacks: nothing says whose it is.
    if line.starts_with(b"\tdirect") {
        return found;
    }
    for at in 0..line.len() {
        let rest = line.get(at..).unwrap_or_default();
        let Some((before, rest)) = BEFORE.into_iter().find_map(|before| Some((before, rest.strip_prefix(before)?)))
        else {
            continue;
        };
        let (target, behind) = target(rest);
        // In braces a trampoline is followed by what it calls.
        if before != b"{" || behind.starts_with(b"}") {
            found.extend(target);
        }
    }
    found
}

/// The place that `%pS` has written at the begin (`sprint_symbol` in kernel/kallsyms.c), and what stands behind it.
fn target(text: &[u8]) -> (Option<Target>, &[u8]) {
    let split = |text: &[u8], ends: &[u8]| text.iter().position(|byte| ends.contains(byte)).unwrap_or(text.len());
    let (symbol, rest) = text.split_at(split(text, b" \t\n)}"));
    if let Some(module) = rest.strip_prefix(b" [") {
        let (name, rest) = module.split_at(split(module, b"]\n"));
        return (Some(Target::Module(name.to_vec())), rest.strip_prefix(b"]").unwrap_or(rest));
    }
    let digits = symbol.strip_prefix(b"0x").and_then(|digits| str::from_utf8(digits).ok());
    let address = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    (address.map(Target::Address), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn module(name: &str) -> Target {
        Target::Module(name.as_bytes().to_vec())
    }

    #[test]
    fn only_what_is_called_counts() {
        for (line, expected) in [
            (
                "schedule (1)            \ttramp: 0xffffffffc0201000 (hook+0x0/0x20 [evil]) ->hook+0x0/0x20 [evil]\n",
                vec![module("evil")],
            ),
            (
                "schedule (1) R I        \ttramp: ftrace_regs_caller+0x0/0x65 (0xffffffffc0a3c040) ->0xffffffffc0a3c041\n",
                vec![Target::Address(0xffff_ffff_c0a3_c040), Target::Address(0xffff_ffff_c0a3_c041)],
            ),
            ("do_init_module (1) R   D   \ttramp: ftrace_regs_caller+0x0/0x65 (call_direct_funcs+0x0/0x20)\n", vec![]),
            ("\tdirect-->bpf_trampoline_6442491219+0x0/0x1000 [bpf]\n", vec![]),
            ("\tdirect-->0xffffffffc0201000\n", vec![]),
            (
                "f (2)  \ttramp: 0xffffffffc0201000 (ftrace_ops_assist_func+0x0/0x10) ->ftrace_ops_assist_func+0x0/0x10\n",
                vec![],
            ),
            ("f [loop] (1) ->ftrace_ops_list_func+0x0/0x10\n", vec![]),
            (
                "f (1) \tsubops: {ent:0xffffffffc0a3c040 ret:back+0x0/0x9 [evil]} {own+0x0/0x9 [other]} {0xffffffffc0201000 (last+0x0/0x9 [third])}\n",
                vec![Target::Address(0xffff_ffff_c0a3_c040), module("evil"), module("other"), module("third")],
            ),
            ("f (0)\n", vec![]),
        ] {
            assert_eq!(targets(line.as_bytes()), expected.into_iter().collect(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in any::<Vec<u8>>()) {
            targets(&line);
        }

        #[test]
        fn marks_in_any_order_are_read(parts in prop::collection::vec(prop::sample::select(vec!["(", " ->", "{", "}", ")", " [", "]", "ent:", "0x1", "a"]), 0..20)) {
            let line = parts.concat();
            prop_assert!(targets(line.as_bytes()).len() <= line.len());
        }
    }
}
