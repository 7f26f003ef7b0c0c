//! What a machine's console says about its run. The guest's contract: one verdict line, then power off.

/// Starts the line in which the guest counts its scenarios: `lkm-monitor-tests: 31 passed, 0 failed`.
const VERDICT: &str = "lkm-monitor-tests: ";
/// The guest's first line: the kernel has booted.
const BEGIN: &str = "lkm-monitor-tests: begin";
/// Why a run does not count that never got as far as that.
pub(crate) const NOT_BOOTED: &str = "the kernel did not boot in time";

/// A console line that holds every word of one of these is a fault of the kernel, which no scenario may provoke.
const KERNEL_FAULTS: [&[&str]; 7] = [
    &["Kernel panic"],
    &["BUG:"], // null pointer, page fault, lockup, sleeping while atomic
    &["Oops"],
    &["general protection fault"],
    &["WARNING: ", "CPU"],      // WARN_ON; since 6.18 the processor stands at the line's end
    &["INFO: task", "blocked"], // hung task
    &["UBSAN:"],
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

/// Reads a console, line by line.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    verdicts: Vec<Verdict>,
    fault: Option<String>,
    begun: bool,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        self.verdicts.extend(verdict(line));
        self.begun |= line.contains(BEGIN);
        if self.fault.is_none() && is_kernel_fault(line) {
            self.fault = Some(line.to_owned());
        }
    }

    /// Whether the guest has begun to test.
    pub(crate) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// The verdict, or why there is none that counts.
    pub(crate) fn finish(self) -> Result<Verdict, String> {
        if let Some(fault) = self.fault {
            return Err(format!("kernel fault: {fault}"));
        }
        match self.verdicts.as_slice() {
            [] => Err("the guest gave no verdict".to_owned()),
            [Verdict { passed: 0, failed: 0 }] => Err("no scenario ran".to_owned()),
            [verdict] => Ok(*verdict),
            several => Err(format!("the guest gave {} verdicts", several.len())),
        }
    }
}

fn verdict(line: &str) -> Option<Verdict> {
    let (_, counts) = line.split_once(VERDICT)?;
    let (passed, failed) = counts.trim_end().split_once(" passed, ")?;
    Some(Verdict { passed: passed.parse().ok()?, failed: failed.strip_suffix(" failed")?.parse().ok()? })
}

fn is_kernel_fault(line: &str) -> bool {
    KERNEL_FAULTS.iter().any(|words| words.iter().all(|word| line.contains(word)))
}

/// Whether a fault is QEMU's. Now and then a machine with two processors never boots. And when the kernel patches its own
/// code (static keys, ftrace) while another processor runs through it, the emulated processor can still stumble over the
/// breakpoint that stood there in between. Real ones are synchronised before it goes.
pub(crate) fn is_emulators_fault(reason: &str) -> bool {
    reason == NOT_BOOTED || reason.contains("Oops: int3")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Verdict, String> {
        let mut reader = Reader::default();
        lines.iter().for_each(|line| reader.line(line));
        reader.finish()
    }

    #[test]
    fn one_verdict_counts() {
        assert_eq!(read(&["x", "lkm-monitor-tests: 31 passed, 2 failed"]), Ok(Verdict { passed: 31, failed: 2 }));
    }

    #[test]
    fn a_breakpoint_that_is_gone_is_the_emulators_fault() {
        let fault = |line| read(&[line]).unwrap_err();
        assert!(is_emulators_fault(&fault("[  157.4] Oops: int3: 0000 [#1] SMP PTI")));
        assert!(!is_emulators_fault(&fault("[  157.4] Oops: 0000 [#1] SMP PTI")));
    }

    #[test]
    fn the_guest_says_when_it_begins() {
        let mut reader = Reader::default();
        reader.line("[    1.2] acpi: x");
        assert!(!reader.has_begun());
        reader.line("lkm-monitor-tests: begin");
        assert!(reader.has_begun() && reader.finish().is_err());
    }

    #[test]
    fn no_verdict_and_two_verdicts_do_not() {
        assert!(read(&["lkm-monitor-tests: many passed, 0 failed"]).is_err());
        assert!(read(&["lkm-monitor-tests: 0 passed, 0 failed"]).is_err());
        assert!(read(&["lkm-monitor-tests: 1 passed, 0 failed", "lkm-monitor-tests: 1 passed, 0 failed"]).is_err());
    }

    #[test]
    fn a_kernel_fault_outweighs_a_good_verdict() {
        let good = "lkm-monitor-tests: 1 passed, 0 failed";
        for fault in [
            "[    3.1] Kernel panic - not syncing: Attempted to kill init!",
            "[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "[    3.1] WARNING: CPU: 1 PID: 7 at kernel/module.c:12 f+0x1/0x2",
            "[    3.1] WARNING: kernel/module/main.c:12 at f+0x1/0x2, CPU#1: init/1",
            "[    3.1] INFO: task kworker/0:1:7 blocked for more than 120 seconds.",
        ] {
            assert!(read(&[fault, good]).is_err(), "{fault}");
        }
        assert!(read(&["[    3.1] loading out-of-tree module taints kernel.", good]).is_ok());
    }
}
