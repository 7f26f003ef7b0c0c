//! The switches by which root turns attached hooks off for the whole kernel, without a word to those who attached them.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
};

use super::probes::Hook;

/// Kernels with live patches or permanent hooks refuse to turn this one off; many others do not.
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";

/// The switches of this host. Once found, each is kept open: nothing that is mounted over it later stands for it.
#[derive(Debug, Default)]
pub struct Switches {
    ftrace: Option<File>,
    kprobes: Option<File>,
}

/// What is switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchedOff {
    pub ftrace: bool,
    pub kprobes: bool,
}

impl Switches {
    /// How they stand now: two short reads. A switch that is not there may come: root can mount debugfs at any time.
    pub fn read(&mut self) -> SwitchedOff {
        let find = |switch: &mut Option<File>, path| {
            if switch.is_none() {
                *switch = File::open(path).ok();
            }
            is_off(switch.as_ref())
        };
        SwitchedOff { ftrace: find(&mut self.ftrace, FTRACE), kprobes: find(&mut self.kprobes, KPROBES) }
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
            // A kprobe at the begin of a function is made of ftrace.
            Hook::Fentry(_) | Hook::FentryEither(..) | Hook::Fexit(_) | Hook::Kprobe(_) if self.ftrace => {
                Some("kernel.ftrace_enabled is 0")
            }
            Hook::Kprobe(_) if self.kprobes => Some("kprobes are disabled"),
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
        let other = File::open("/dev/null").ok();
        let mut switches = Switches { ftrace: File::open(file.path()).ok(), kprobes: other };
        for (content, off) in [("1\n", false), ("0\n", true), ("", false)] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(switches.read(), SwitchedOff { ftrace: off, kprobes: false }, "{content:?}");
        }
    }

    #[test]
    fn tracepoints_have_no_switch() {
        let all = SwitchedOff { ftrace: true, kprobes: true };
        assert!(all.silences(Hook::Fentry("x")).is_some() && all.silences(Hook::Kprobe("x")).is_some());
        assert_eq!(all.silences(Hook::BtfTracepoint("module_load")), None);
        let kprobes = SwitchedOff { ftrace: false, kprobes: true };
        assert!(kprobes.silences(Hook::Kprobe("x")).is_some() && kprobes.silences(Hook::Fexit("x")).is_none());
    }
}
