//! A thread that looks.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, select_biased};
use tokio::sync::Notify;

use crate::model::{Content, ContentStatus, Look, Subject};

/// Who asked waits no longer than that for a look.
const PATIENCE: Duration = Duration::from_secs(30);

/// A look that was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) look: Look,
    pub(super) at: Instant,
}

/// Looks at a file. Each thread has its own.
pub(super) type Looker = Box<dyn FnMut(&Look) -> Content>;
/// Makes one, in the thread that will use it.
pub(super) type MakeLooker = Arc<dyn Fn() -> Looker + Send + Sync>;

/// What a thread that looks needs.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) urgent: Receiver<Asked>,
    pub(super) ordinary: Receiver<Asked>,
    pub(super) answers: Sender<(u64, Content)>,
    pub(super) answered: Arc<Notify>,
    pub(super) make: MakeLooker,
}

/// What others see of a thread that looks.
#[derive(Debug, Default)]
pub(super) struct Duty {
    /// When it began with what it does now.
    since: Mutex<Option<Instant>>,
    dismissed: AtomicBool,
}

impl Worker {
    pub(super) fn start(self) -> std::io::Result<(Arc<Duty>, JoinHandle<()>)> {
        let duty = Arc::new(Duty::default());
        let own_duty = Arc::clone(&duty);
        let thread = std::thread::Builder::new().name("contents".to_owned()).spawn(move || self.work(&own_duty))?;
        Ok((duty, thread))
    }

    fn work(self, duty: &Duty) {
        let mut looker = duty.during(|| (self.make)());
        while !duty.dismissed.load(Ordering::Relaxed)
            && let Some(asked) = self.next()
        {
            // Nobody waits for it any more. Only of modules is no version kept that the next change is compared with.
            let content = if asked.look.subject == Subject::Module && asked.at.elapsed() >= PATIENCE {
                Content { status: ContentStatus::TimedOut, ..Content::default() }
            } else {
                duty.during(|| looker(&asked.look))
            };
            if self.answers.send((asked.id, content)).is_err() {
                return;
            }
            self.answered.notify_one();
        }
    }

    /// The next look; `None` when nobody can ask for one any more.
    fn next(&self) -> Option<Asked> {
        select_biased! {
            recv(self.urgent) -> asked => asked.ok(),
            recv(self.ordinary) -> asked => asked.ok(),
        }
    }
}

impl Duty {
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        *self.since() = Some(Instant::now());
        let done = work();
        *self.since() = None;
        done
    }

    /// Whether it has been at one thing for longer than `patience`.
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        self.since().is_some_and(|since| since.elapsed() > patience)
    }

    /// Lets it end after what it does now.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
