//! Looks at changed files: opens them, hashes them, and compares them with what they were.
//!
//! Threads of their own do it, because a file system can make its readers wait, and the reader of the rings must not. Between
//! them are bounded queues. One thread is at work; if it is stuck in a file, another one takes its place, a few times.

mod compare;
mod follow;
mod host_files;
mod kept;
mod known;
mod look;
mod modules;
mod mount_table;
mod place;
mod read;
mod survey;
#[cfg(test)]
mod tests;
mod tree;
mod worker;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::Notify;

pub use self::{
    host_files::{HostFiles, Keep, NotThere, Seen},
    known::Known,
    modules::module_of,
    survey::{Places, Survey, survey},
};
use self::{
    look::Memory,
    modules::Modules,
    worker::{Asked, Duty, Looker, MakeLooker, Worker},
};
use crate::model::{Content, Look, Process, ProcessTree, Subject};

/// Looks that may wait: those that processes of root caused, and all others. A flood of the latter delays none of the former.
const URGENT: usize = 6144;
const ORDINARY: usize = 2048;
/// Answers that may wait. Who looks waits for room, which is made as soon as the rings are read.
const ANSWERS: usize = 64;
/// A thread that has been at one file for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Threads that take the place of a stuck one, as long as the daemon runs.
const REPLACEMENTS: u32 = 4;

/// What the file with this absolute path of the host is, if it is watched.
pub type SubjectOf = Box<dyn Fn(&[u8]) -> Option<Subject> + Send + Sync>;

/// What is looked at before anything changes.
pub struct Baseline {
    /// All files in them.
    pub folders: Vec<PathBuf>,
    pub files: Vec<PathBuf>,
    pub subject: SubjectOf,
}

/// Those who look.
#[derive(Debug)]
pub struct Contents {
    urgent: Sender<Asked>,
    ordinary: Sender<Asked>,
    answers: Receiver<(u64, Content)>,
    answered: Arc<Notify>,
    crew: Mutex<Crew>,
}

/// Who is at work, and what the next one needs.
struct Crew {
    worker: Worker,
    duty: Arc<Duty>,
    thread: JoinHandle<()>,
    replaced: u32,
    patience: Duration,
}

impl Contents {
    /// Starts. The first work is to read what the baseline names. Also gives what those who look know.
    pub fn start(baseline: Baseline) -> std::io::Result<(Self, Known)> {
        let Baseline { folders, files, subject } = baseline;
        let memory = Arc::new(Memory::new(subject));
        let known = Known(Arc::clone(&memory));
        let places = Mutex::new(Some((folders, files)));
        let make = move || -> Looker {
            let places = places.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some((folders, files)) = places {
                memory.remember(&folders, &files, |path| memory.subject_of(path));
            }
            let memory = Arc::clone(&memory);
            let mut modules = Modules::of_running_kernel();
            Box::new(move |wanted| look::look(&memory, &mut modules, wanted))
        };
        Ok((Self::start_with(Arc::new(make), STUCK)?, known))
    }

    fn start_with(make: MakeLooker, patience: Duration) -> std::io::Result<Self> {
        let (urgent, urgent_asked) = bounded(URGENT);
        let (ordinary, ordinary_asked) = bounded(ORDINARY);
        let (answer, answers) = bounded(ANSWERS);
        let answered = Arc::new(Notify::new());
        let worker = Worker {
            urgent: urgent_asked,
            ordinary: ordinary_asked,
            answers: answer,
            answered: Arc::clone(&answered),
            make,
        };
        let (duty, thread) = worker.clone().start()?;
        let crew = Mutex::new(Crew { worker, duty, thread, replaced: 0, patience });
        Ok(Self { urgent, ordinary, answers, answered, crew })
    }

    /// Asks for a look, and says whether there will be one. Never waits.
    pub fn request(&self, id: u64, mut look: Look) -> bool {
        if !self.is_manned() {
            return false;
        }
        let by_root = look.change.process.caller.ids.is_none_or(|ids| ids.euid == 0);
        let queue = if by_root { &self.urgent } else { &self.ordinary };
        shed(&mut look.change.process);
        queue.try_send(Asked { id, look, at: Instant::now() }).is_ok()
    }

    /// The next answer. It is always `Some`; when nobody is left to look, it never comes. Cancel-safe. Whether somebody is stuck
    /// is looked at when a look is asked for and when this is called, of which one happens often enough.
    pub async fn answer(&mut self) -> Option<(u64, Content)> {
        loop {
            if let Ok(answer) = self.answers.try_recv() {
                return Some(answer);
            }
            self.is_manned();
            self.answered.notified().await;
        }
    }

    /// The next answer before `deadline`, for which this waits.
    pub fn answer_before(&mut self, deadline: Instant) -> Option<(u64, Content)> {
        self.answers.recv_deadline(deadline).ok()
    }

    /// Whether somebody looks. Replaces who is stuck or has died.
    fn is_manned(&self) -> bool {
        let mut crew = self.crew.lock().unwrap_or_else(PoisonError::into_inner);
        if !crew.thread.is_finished() && !crew.duty.is_stuck(crew.patience) {
            return true;
        }
        crew.replace()
    }
}

impl Crew {
    fn replace(&mut self) -> bool {
        if self.replaced >= REPLACEMENTS {
            return false;
        }
        match self.worker.clone().start() {
            Ok((duty, thread)) => {
                self.replaced += 1;
                std::mem::replace(&mut self.duty, duty).dismiss();
                self.thread = thread;
                let left = REPLACEMENTS - self.replaced;
                tracing::warn!(left, "who looks at changed files is stuck in one: another thread goes on");
                true
            }
            Err(error) => {
                tracing::error!(%error, "who looks at changed files is stuck in one, and no other thread can be started");
                false
            }
        }
    }
}

/// Leaves of the processes what finding a file needs. Many looks may wait.
fn shed(tree: &mut ProcessTree) {
    let shed = |process: &mut Process| {
        *process = Process {
            pid: process.pid,
            root_directory: process.root_directory.take(),
            namespaces: process.namespaces,
            kernel_thread: process.kernel_thread,
            ..Process::default()
        };
    };
    shed(&mut tree.caller);
    tree.ancestors.iter_mut().for_each(shed);
}

impl fmt::Debug for Baseline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folders, files, subject: _ } = self;
        formatter.debug_struct("Baseline").field("folders", folders).field("files", files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Crew").field("replaced", &self.replaced).finish_non_exhaustive()
    }
}
