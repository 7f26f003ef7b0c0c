//! The module that hides itself in the ways that it is told to: `tests/fixtures/hiding`.

use std::{ffi::CString, fs, fs::File};

use rustix::system::{delete_module, finit_module};

use crate::{module_file::fixture, process::forked};

pub(crate) const NAME: &str = "lkm_fixture";
const CONTROL: &str = "/proc/lkm_fixture";
/// What the kernel does not export, and the module has to know the place of.
const SYMBOLS: [&str; 6] = ["modules", "module_mutex", "mod_tree", "modules_op", "tainted_mask", "sys_call_table"];

/// The module is loaded. It undoes everything and is unloaded when this goes.
pub(crate) struct Hiding(());

impl Hiding {
    /// Loads it, for everybody to see.
    pub(crate) fn load() -> Self {
        let symbols = fs::read_to_string("/proc/kallsyms").expect("read the kernel's symbols");
        let parameters = CString::new(parameters(&symbols)).expect("no NUL");
        let file = File::open(fixture(NAME)).expect("open the module that hides");
        let _ = forked(|| finit_module(&file, &parameters, 0)).succeeded();
        Self(())
    }

    /// Tells it to do these, one after the other.
    pub(crate) fn does(&self, deeds: &[&str]) -> &Self {
        for deed in deeds {
            fs::write(CONTROL, deed).unwrap_or_else(|error| panic!("the module does not do {deed}: {error}"));
        }
        self
    }

    pub(crate) fn undoes_everything(&self) {
        self.does(&["undo"]);
    }
}

impl Drop for Hiding {
    fn drop(&mut self) {
        // Whatever went wrong before is the scenario's failure; a module that stays is found by who looks after the scenario.
        let _ = fs::write(CONTROL, "undo");
        let _ = delete_module(c"lkm_fixture", libc::O_NONBLOCK);
    }
}

/// `modules=0xffffffff... ...`; the first of each name counts, which is the kernel's own.
fn parameters(symbols: &str) -> String {
    let address = |wanted: &str| {
        let mut fields = symbols.lines().map(|line| line.split_whitespace());
        let found = fields.find_map(|mut fields| {
            let (address, _, name) = (fields.next()?, fields.next()?, fields.next()?);
            (name == wanted).then_some(address)
        });
        found.unwrap_or_else(|| panic!("the kernel has no {wanted}"))
    };
    SYMBOLS.map(|symbol| format!("{symbol}=0x{}", address(symbol))).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_kernel() {
        let own: Vec<_> =
            SYMBOLS.iter().enumerate().map(|(at, name)| format!("ffffffff8000000{at} d {name}")).collect();
        let symbols = format!("{}\nffffffffc0000000 d modules\t[other]\n", own.join("\n"));
        assert!(parameters(&symbols).starts_with("modules=0xffffffff80000000 module_mutex=0xffffffff80000001 "));
    }
}
