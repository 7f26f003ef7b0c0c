//! The switches by which root turns attached hooks off for the whole kernel, without a word to those who attached them.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
};

use super::probes::Hook;

/// Kernels with live patches or permanent hooks refuse to turn this one off; many others do not.
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";

/// The switch of this host. Once found, it is kept open: nothing that is mounted over it later stands for it.
#[derive(Debug, Default)]
pub struct Switches {
    ftrace: Option<File>,
}

/// What is switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchedOff {
    pub ftrace: bool,
}

impl Switches {
    /// How it stands now: a short read.
    pub fn read(&mut self) -> SwitchedOff {
        if self.ftrace.is_none() {
            self.ftrace = File::open(FTRACE).ok();
        }
        SwitchedOff { ftrace: is_off(self.ftrace.as_ref()) }
    }
}

fn is_off(switch: Option<&File>) -> bool {
    let Some(mut file) = switch else {
        return false;
    };
    let mut first = [0];
    file.rewind().is_ok() && file.read(&mut first).is_ok_and(|read| read == 1) && first == *b"0"
}

impl SwitchedOff {
    /// Why a hook is silent although it is attached.
    pub const fn silences(self, hook: Hook) -> Option<&'static str> {
        match hook {
            Hook::Fentry(_) | Hook::FentryEither(..) | Hook::Fexit(_) if self.ftrace => {
                Some("kernel.ftrace_enabled is 0")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_read_again_each_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut switches = Switches { ftrace: File::open(file.path()).ok() };
        for (content, off) in [("1\n", false), ("0\n", true), ("", false)] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(switches.read(), SwitchedOff { ftrace: off }, "{content:?}");
        }
    }

    #[test]
    fn tracepoints_have_no_switch() {
        let off = SwitchedOff { ftrace: true };
        assert!(off.silences(Hook::Fentry("x")).is_some() && off.silences(Hook::Fexit("x")).is_some());
        assert_eq!(off.silences(Hook::BtfTracepoint("module_load")), None);
        assert_eq!(SwitchedOff::default().silences(Hook::Fentry("x")), None);
    }
}
