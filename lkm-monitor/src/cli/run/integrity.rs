//! The daemon's looks at the kernel, in a thread of their own that gives way to all others. The main loop waits for none of them.

mod schedule;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use lkm_monitor_common::event::EventKind;

use self::schedule::{Pace, Schedule};
use crate::{
    config::IntegrityConfig,
    integrity::{Confirm, Scanner},
    lifecycle::background,
    model::{Check, KernelLook, KernelReport, ModuleHistory, Sight, View},
    pipeline::{Heard, Pipeline, boot_ns},
    sensor::{attach::Programs, btf::Types},
};

/// A look that takes longer does not end: some take half a second.
const LONGEST: Duration = Duration::from_mins(5);

/// How long the end of a look is waited for at the daemon's end.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// Reports that wait for the main loop, which takes them twice a second.
const REPORTS: usize = 4;

/// What looks, made ready while the daemon may still do that. `None` where nobody is to look, or there is nothing to look at.
pub(super) fn scanner(config: &IntegrityConfig, types: &Types) -> Option<Scanner> {
    let root = Path::new("/");
    if !config.enabled {
        return None;
    }
    if !Scanner::has_modules(root) {
        tracing::info!("this kernel loads no modules: there is none that could hide");
        return None;
    }
    let scanner = Scanner::start(root, Ok(types));
    if let Some(why) = scanner.blind() {
        tracing::warn!(why, "kernel memory cannot be looked at: who hides a module well is not found");
    }
    Some(scanner)
}

/// What a look has come to.
#[derive(Debug)]
struct Looked {
    report: KernelReport,
    /// How much later another one may make something certain that this one found.
    again: Option<Duration>,
}

/// The thread that looks.
#[derive(Debug)]
pub(super) struct IntegrityWatch {
    /// Which modules are loaded by the kernel's word, whenever that changes. Closed to end the thread.
    histories: Option<Sender<ModuleHistory>>,
    reports: Receiver<KernelReport>,
    /// The last history, as long as the thread has no time for it.
    waiting: Option<ModuleHistory>,
    /// That the thread ended by itself is told once.
    mourned: bool,
    /// When the look began that is under way.
    began: Arc<Began>,
    /// That it does not end is told once for each.
    missed: Option<Instant>,
}

/// When the look began that is under way, if one is.
type Began = Mutex<Option<Instant>>;

impl IntegrityWatch {
    /// Looks at once, then about so often, and soon after each change.
    pub(super) fn start(interval: Duration, mut scanner: Scanner) -> io::Result<Self> {
        let mut confirm = Confirm::default();
        Self::start_with(Pace::every(interval), move |history| {
            let look = scanner.look(history);
            let confirmed = confirm.settle(&look);
            let again = confirm.next_look(look.boot_ns);
            Looked { report: KernelReport { look, confirmed }, again }
        })
    }

    /// `look` is given the last history.
    fn start_with(pace: Pace, look: impl FnMut(&ModuleHistory) -> Looked + Send + 'static) -> io::Result<Self> {
        // One that waits is enough: a later one takes its place.
        let (histories, newer) = bounded(1);
        let (found, reports) = bounded(REPORTS);
        let began = Arc::new(Began::default());
        let mut look = look;
        let of_look = Arc::clone(&began);
        let timed = move |history: &ModuleHistory| {
            set(&of_look, Some(Instant::now()));
            let looked = look(history);
            set(&of_look, None);
            looked
        };
        std::thread::Builder::new().name("integrity".to_owned()).spawn(move || {
            background::lower_this_thread();
            watch(timed, Schedule::new(pace, Instant::now()), &newer, &found);
        })?;
        Ok(Self { histories: Some(histories), reports, waiting: None, mourned: false, began, missed: None })
    }

    /// Hands on what the kernel said of loads and unloads, and tells what was found. Never waits.
    pub(super) fn follow(&mut self, programs: &Programs, pipeline: &mut Pipeline) {
        let heard = Heard {
            loads: programs.reports(EventKind::ModuleLoaded),
            unloads: programs.reports(EventKind::ModuleFreed),
        };
        self.hand_on(pipeline.module_history(heard));
        for report in self.take_reports().into_iter().chain(self.miss(LONGEST)) {
            pipeline.tell_kernel(&report);
        }
    }

    /// What is to be believed of a look that began longer ago than `longest` and has not ended.
    fn miss(&mut self, longest: Duration) -> Vec<KernelReport> {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = |began: &Instant| began.elapsed() > longest && self.missed != Some(*began);
        let Some(began) = began.filter(is_late) else { return Vec::new() };
        self.missed = Some(began);
        tracing::error!("a look at the kernel does not end: what hides there is not found");
        // Twice, as whatever is to be believed.
        vec![unavailable("the look does not end"); 2]
    }

    fn hand_on(&mut self, newer: Option<ModuleHistory>) {
        // An older one has nothing to say any more.
        let waited = self.waiting.take();
        let Some(history) = newer.or(waited) else { return };
        let sent = self.histories.as_ref().map(|histories| histories.try_send(history));
        if let Some(Err(TrySendError::Full(history))) = sent {
            self.waiting = Some(history);
        }
    }

    /// What there is. If the thread has died, one more says so.
    fn take_reports(&mut self) -> Vec<KernelReport> {
        let mut taken = Vec::new();
        loop {
            match self.reports.try_recv() {
                Ok(report) => taken.push(report),
                Err(TryRecvError::Empty) => return taken,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        if self.histories.is_some() && !std::mem::replace(&mut self.mourned, true) {
            tracing::error!("who looks at the kernel has died: what hides there is not found");
            // Twice, as whatever is to be believed.
            taken.extend(std::iter::repeat_n(unavailable("who looks has died"), 2));
        }
        taken
    }

    /// Ends the looks, and tells what the last one found. Hooks must not be detached beside one.
    pub(super) fn stop(mut self, pipeline: &mut Pipeline) {
        self.end(|report| pipeline.tell_kernel(&report));
    }

    /// Waits for the look that is under way.
    fn end(&mut self, mut tell: impl FnMut(KernelReport)) {
        if self.histories.take().is_none() {
            return;
        }
        let deadline = Instant::now() + LAST_LOOK;
        loop {
            match self.reports.recv_deadline(deadline) {
                Ok(report) => tell(report),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    tracing::warn!("the last look at the kernel does not end: it is left alone");
                    return;
                }
            }
        }
    }
}

/// Whatever ends the main loop: what is attached goes after this.
impl Drop for IntegrityWatch {
    fn drop(&mut self) {
        self.end(drop);
    }
}

/// Looks whenever it is time, one look after the other, until nobody sends histories any more.
fn watch(
    mut look: impl FnMut(&ModuleHistory) -> Looked,
    mut schedule: Schedule,
    histories: &Receiver<ModuleHistory>,
    reports: &Sender<KernelReport>,
) {
    let mut history =
        ModuleHistory { unavailable: Some("nothing was heard yet".to_owned()), ..ModuleHistory::default() };
    loop {
        match histories.recv_deadline(schedule.due()) {
            Ok(newer) => {
                history = newer;
                schedule.changed(Instant::now());
            }
            Err(RecvTimeoutError::Timeout) => {
                let began = Instant::now();
                let Looked { report, again } = look(&history);
                schedule.looked(Instant::now(), began.elapsed(), again);
                if reports.send(report).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn set(began: &Began, to: Option<Instant>) {
    *began.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// A look at which nothing could be looked at.
fn unavailable(why: &str) -> KernelReport {
    let sight = || Sight::Unavailable { why: why.to_owned() };
    let look = KernelLook {
        boot_ns: boot_ns(),
        cpu_ns: 0,
        elapsed_ns: 0,
        moved: false,
        others_code: None,
        views: View::ALL.map(|view| (view, sight())).into(),
        checks: Check::ALL.map(|check| (check, sight())).into(),
        findings: Vec::new(),
        more_findings: 0,
    };
    KernelReport { look, confirmed: Vec::new() }
}
