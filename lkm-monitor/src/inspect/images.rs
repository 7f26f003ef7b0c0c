//! Finds out what the bytes are that were loaded.
//!
//! A thread of its own does it: an image has megabytes, and may be made to be hard to read. Between it and the reader of the rings are bounded
//! queues. It opens no file: what images are compared with, keys of the host, records of packages and the kernel's settings, others read,
//! each of them in a thread of its own. One of them may hang for ever; what it would have found is missing then, and nothing else.

mod aside;
mod kernel_config;
mod keyring;
mod policy;
mod records;

use std::{
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use self::{keyring::Keyring, policy::Policy, records::Records};
use crate::{
    image,
    model::{Capture, ExaminedImage, ImageExtent, ImageName, SignatureFacts, SignatureVerdict},
    signature::{self, KeySources},
};

/// Images that may wait. Their bytes are bounded where they are.
const QUEUE: usize = 1024;
/// Answers that may wait. Who examines waits for room, which is made as soon as the rings are read.
const ANSWERS: usize = 64;
/// What a module may unpack to, and what the packing may refer back to, in bytes. `xz -9` has 64 MiB of that, distributions 1 or 2.
const MAX_UNPACKED_BYTES: usize = 64 << 20;
const MAX_WINDOW_BYTES: u32 = 64 << 20;
/// So long before the deadline what is known by then is answered.
const RESERVE: Duration = Duration::from_millis(200);

/// Where the bytes are: the first so many of an image, when they are there. Waits for them until a deadline.
pub type Find = Box<dyn Fn(ImageName, u64, Instant) -> Option<Arc<Vec<u8>>> + Send>;

/// What is examined, and with what.
pub struct Means {
    pub find: Find,
    /// What is captured of an image at the most.
    pub limit_bytes: u64,
    /// Where the host's packages are recorded.
    pub root: PathBuf,
    pub keys: KeySources,
}

/// What is to be found out.
#[derive(Clone, Debug)]
pub struct Question {
    pub capture: Capture,
    /// Where the host has the file, if it came from one that has a name there.
    pub path: Option<Vec<u8>>,
    /// Nobody waits for the answer after that.
    pub deadline: Instant,
}

/// Those who ask hold this.
#[derive(Debug)]
pub struct Examiner {
    questions: Sender<(u64, Question)>,
    answers: Receiver<(u64, Box<ExaminedImage>)>,
    answered: Arc<Notify>,
}

/// What the thread works with.
struct Work {
    find: Find,
    limit_bytes: u64,
    keyring: Keyring,
    policy: Policy,
    records: Records,
}

impl Examiner {
    /// Starts.
    pub fn start(means: Means) -> std::io::Result<Self> {
        let Means { find, limit_bytes, root, keys } = means;
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let policy = Policy::start(kernel_config::places(&release).into())?;
        let (keyring, records) = (Keyring::start(keys)?, Records::start(&root)?);
        Self::start_with(Work { find, limit_bytes, keyring, policy, records })
    }

    fn start_with(mut work: Work) -> std::io::Result<Self> {
        let (questions, asked) = bounded::<(u64, Question)>(QUEUE);
        let (answer, answers) = bounded(ANSWERS);
        let answered = Arc::new(Notify::new());
        let own_answered = Arc::clone(&answered);
        thread::Builder::new().name("examiner".to_owned()).spawn(move || {
            for (id, question) in asked {
                // Who asked has told the load by then.
                if Instant::now() >= question.deadline {
                    continue;
                }
                let image = guarded(|| work.examine(&question));
                if answer.send((id, Box::new(image))).is_err() {
                    return;
                }
                own_answered.notify_one();
            }
        })?;
        Ok(Self { questions, answers, answered })
    }

    /// Asks, and says whether there will be an answer. Never waits.
    pub fn ask(&self, id: u64, question: Question) -> bool {
        self.questions.try_send((id, question)).is_ok()
    }

    /// The next answer. Cancel-safe. When the thread has died, it never comes.
    pub async fn answer(&self) -> (u64, Box<ExaminedImage>) {
        loop {
            if let Ok(answer) = self.answers.try_recv() {
                return answer;
            }
            self.answered.notified().await;
        }
    }

    /// The next answer before `deadline`, for which this waits.
    pub fn answer_before(&self, deadline: Instant) -> Option<(u64, Box<ExaminedImage>)> {
        self.answers.recv_deadline(deadline).ok()
    }
}

impl Work {
    fn verify(&mut self, content: &[u8], until: Instant) -> SignatureFacts {
        let facts = signature::examine(content, self.keyring.keys(until));
        match facts.verdict {
            SignatureVerdict::UnknownKey { .. } => signature::examine(content, self.keyring.latest(until)),
            _ => facts,
        }
    }

    fn examine(&mut self, question: &Question) -> ExaminedImage {
        let Question { capture, path, deadline } = question;
        let extent = capture.extent(self.limit_bytes);
        if capture.captured_bytes == 0 {
            return ExaminedImage { extent, ..ExaminedImage::default() };
        }
        let Some(bytes) = (self.find)(capture.name, capture.captured_bytes, *deadline) else {
            return ExaminedImage::default();
        };
        let mut examined = ExaminedImage { extent, ..ExaminedImage::default() };
        let limits = image::Limits { max_unpacked_bytes: MAX_UNPACKED_BYTES, max_window_bytes: MAX_WINDOW_BYTES };
        let image::Examined { facts, unpacked } = image::examine(&bytes, &limits);
        // Nobody knows how a module ends that cannot be unpacked.
        let content = if facts.compression.is_some() { unpacked.as_deref() } else { Some(bytes.as_slice()) };
        examined.module = Some(facts);
        // Of a part neither hash nor signature nor a package's record says anything.
        if extent == ImageExtent::Whole {
            examined.sha256 = Some(Sha256::digest(&*bytes).into());
            examined.unpacked_sha256 = unpacked.as_ref().map(|unpacked| Sha256::digest(unpacked).into());
            // What was found so far is not to be lost with what is still missing.
            let until = deadline.checked_sub(RESERVE).unwrap_or(*deadline);
            examined.signature = content.map(|content| self.verify(content, until));
            examined.host_keys = self.keyring.keys(until).len();
            examined.kernel_policy = self.policy.latest(until);
            examined.provenance = path.as_ref().map(|path| self.records.owner(path, &bytes, until));
            examined.was_hasty = Instant::now() >= until;
        }
        examined
    }
}

/// A panic in a reader of hostile bytes costs what it would have found, and no more.
fn guarded(examine: impl FnOnce() -> ExaminedImage) -> ExaminedImage {
    panic::catch_unwind(AssertUnwindSafe(examine)).unwrap_or_else(|_| {
        tracing::error!("an image could not be examined: its reader failed. Report it, with the image");
        ExaminedImage::default()
    })
}

#[cfg(test)]
mod tests;
