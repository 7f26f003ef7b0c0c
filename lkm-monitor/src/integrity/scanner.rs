//! One look at the kernel after the other.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use super::{
    ground::{Ground, Known},
    memory::{Memory, MemoryError},
    pass::{Pass, Past, pass},
    peek::Peek,
    symbols::Symbols,
};
use crate::{
    model::{Check, KernelFinding, KernelLook, ModuleHistory, Sight, View},
    sensor::btf::{BtfError, Types},
};

/// How often a look begins anew while modules come and go under it and it has found something.
const PASSES: u32 = 6;
/// Before the second pass, and twice as long before each that follows: what comes and goes in a rhythm is not met in it.
const PAUSE: Duration = Duration::from_millis(3);
/// Between looks that read what takes too long for each of them: about as long again as all the rest.
const BETWEEN_DEEP: Duration = Duration::from_hours(1);

/// Looks at the running kernel. Whatever it cannot look at it names in each look.
pub struct Scanner {
    root: PathBuf,
    kernel: Known<Kernel>,
    symbols: Symbols,
    past: Past,
    deep: Option<LastDeep>,
    /// The last look found something.
    found: bool,
}

/// How much a look reads.
pub(super) enum Depth<'a> {
    /// What is read each time.
    Usual,
    /// /proc/kallsyms and tracefs as well.
    Deep(&'a mut Symbols),
}

impl<'a> Depth<'a> {
    const fn of(is_deep: bool, symbols: &'a mut Symbols) -> Self {
        if is_deep { Self::Deep(symbols) } else { Self::Usual }
    }
}

/// The last look that read everything, and what the looks behind it tell again.
struct LastDeep {
    boot_ns: u64,
    kallsyms: Option<Sight>,
    tracefs: Option<Sight>,
}

/// What looking at kernel memory takes.
struct Kernel {
    memory: Box<dyn Memory + Send>,
    ground: Ground,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Scanner {
    /// Whether this kernel has modules at all: there is nothing to look at otherwise.
    pub fn has_modules(root: &Path) -> bool {
        root.join("proc/modules").exists()
    }

    /// Gets ready to look at the kernel whose files are below `root`, `/` on a real host. Needs the right to load BPF programs and CAP_SYSLOG;
    /// looking afterwards needs CAP_BPF at the most. The program and its map are the process's from then on, as
    /// [`own objects`](crate::sensor::own_objects) that are to be announced.
    pub fn start(root: &Path, types: Result<&Types, &BtfError>) -> Self {
        let (symbols, unknown) = match Symbols::read(root) {
            Ok(symbols) => (symbols, None),
            Err(error) => (Symbols::default(), Some(error.to_string())),
        };
        let kernel = match (unknown, types) {
            _ if !cfg!(target_arch = "x86_64") => Err("kernel memory is looked at on x86-64 alone".to_owned()),
            (Some(why), _) => Err(why),
            (None, Err(error)) => Err(format!("the kernel's type information cannot be used: {error}")),
            (None, Ok(types)) => Ground::of(&symbols, types).and_then(|ground| {
                let memory = Peek::load().map_err(|error| error.to_string())?;
                Ok(Kernel { memory: Box::new(memory), ground })
            }),
        };
        Self { root: root.to_owned(), kernel, symbols, past: Past::default(), deep: None, found: false }
    }

    /// One that looks at this memory.
    #[cfg(test)]
    pub(super) fn with(root: &Path, memory: impl Memory + Send + 'static, ground: Ground) -> Self {
        let kernel = Ok(Kernel { memory: Box::new(memory), ground });
        let symbols = Symbols::read(root).unwrap_or_default();
        Self { root: root.to_owned(), kernel, symbols, past: Past::default(), deep: None, found: false }
    }

    /// Why kernel memory cannot be looked at, a clause.
    pub fn blind(&self) -> Option<&str> {
        self.kernel.as_ref().err().map(String::as_str)
    }

    /// Looks once. Takes some milliseconds, more only where something was found while modules came and went, and once an hour: then it reads
    /// /proc/kallsyms and tracefs, too. So it does as long as something is found, which must not seem gone when only they show it.
    ///
    /// What differs between two views is a finding if no module came or went while they were taken, or if it differs each of several times.
    pub fn look(&mut self, history: &ModuleHistory) -> KernelLook {
        let (boot_ns, cpu_ns) = (now(ClockId::Boottime), now(ClockId::ThreadCPUTime));
        let hour = |last: &LastDeep| Duration::from_nanos(boot_ns.saturating_sub(last.boot_ns)) >= BETWEEN_DEEP;
        let is_deep = self.found || self.deep.as_ref().is_none_or(hour);
        let mut pass = self.pass(history, is_deep);
        for number in 0..PASSES - 1 {
            if pass.quiet || pass.findings.is_empty() {
                break;
            }
            thread::sleep(PAUSE * (1 << number));
            let mut next = self.pass(history, is_deep);
            if !next.quiet {
                next.findings.retain(|finding| pass.findings.iter().any(|earlier| finding.is_still(earlier)));
            }
            pass = next;
        }
        let Pass { mut views, mut checks, mut findings, more_findings, moved, others_code, .. } = pass;
        self.found = !findings.is_empty();
        self.name_sites(&mut findings);
        views.insert(View::History, of_history(history));
        if is_deep {
            let (kallsyms, tracefs) = (views.get(&View::Kallsyms).cloned(), checks.get(&Check::Tracefs).cloned());
            self.deep = Some(LastDeep { boot_ns, kallsyms, tracefs });
        } else if let Some(LastDeep { kallsyms, tracefs, .. }) = &self.deep {
            views.extend(kallsyms.clone().map(|sight| (View::Kallsyms, sight)));
            checks.extend(tracefs.clone().map(|sight| (Check::Tracefs, sight)));
        }
        let unavailable = || Sight::Unavailable { why: "it was not looked at".to_owned() };
        let all = |view: View| (view, views.remove(&view).unwrap_or_else(unavailable));
        let views = View::ALL.map(all).into();
        let all = |check: Check| (check, checks.remove(&check).unwrap_or_else(unavailable));
        KernelLook {
            boot_ns,
            cpu_ns: now(ClockId::ThreadCPUTime).saturating_sub(cpu_ns),
            elapsed_ns: now(ClockId::Boottime).saturating_sub(boot_ns),
            moved,
            others_code,
            views,
            checks: Check::ALL.map(all).into(),
            findings,
            more_findings,
        }
    }

    /// A kernel that does not let its memory be read any more is looked at without.
    fn pass(&mut self, history: &ModuleHistory, is_deep: bool) -> Pass {
        let kernel = self.kernel.as_mut().map(|kernel| (&mut *kernel.memory as &mut dyn Memory, &kernel.ground));
        let kernel = kernel.map_err(|why| why.clone());
        let mut pass =
            |kernel| pass(&self.root, kernel, history, &mut self.past, Depth::of(is_deep, &mut self.symbols));
        pass(kernel).unwrap_or_else(|MemoryError(why)| {
            // Without memory nothing can fail so.
            pass(Err(why)).unwrap_or_else(|MemoryError(_)| Pass::empty())
        })
    }

    /// Says at which function a hook is. The symbols are read again for that, which only who has found something does.
    fn name_sites(&mut self, findings: &mut [KernelFinding]) {
        let mut sites: Vec<_> = findings
            .iter_mut()
            .filter_map(|finding| match finding {
                KernelFinding::Hook(hook) => hook.site.as_mut(),
                _ => None,
            })
            .collect();
        if sites.is_empty() {
            return;
        }
        let addresses: Vec<u64> = sites.iter().map(|site| site.address).collect();
        // Without a name the address stands for itself.
        let names = self.symbols.describe(&addresses).unwrap_or_default();
        sites.iter_mut().for_each(|site| site.symbol = names.get(&site.address).cloned());
    }
}

fn of_history(history: &ModuleHistory) -> Sight {
    let count = history.loaded.len();
    match (&history.unavailable, &history.gap) {
        (Some(why), _) => Sight::Unavailable { why: why.clone() },
        (None, Some(why)) => Sight::Incomplete { count, why: why.clone() },
        (None, None) => Sight::Whole { count },
    }
}

/// Nanoseconds of a clock.
fn now(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests;
