//! What the fleet has seen, in Redis or Valkey.
//!
//! A group is two hashes, so that one script call counts an event and says how it stands: one round trip, atomic, and on one node
//! of a cluster. Agents are kept up to [`MAX_MEMBERS`]. Keys expire by themselves.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use sha2::{Digest as _, Sha256};

use super::{
    link::{Link, LinkError, LinkSettings},
    name::GroupName,
    service::{Answered, Answers, Message, Settings},
    tally::Bucket,
};
use crate::model::{Answer, Scope, Standing, text::hex};

/// Agents that are kept of a group. One with more is common, wherever the threshold is.
pub const MAX_MEMBERS: u64 = 64;
/// Groups that wait for the server. What finds no room is told later.
const WAITING: usize = 2048;
/// Groups that go to the server together.
const BATCH: usize = 256;
/// So often it is asked whether a quiet server is still there.
const QUIET: Duration = Duration::from_secs(15);
/// Between attempts to reach it: doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

const SCRIPT: &str = include_str!("fleet.lua");

/// Where the store is, and how to use it.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    pub link: LinkSettings,
    /// Keys begin with it.
    pub prefix: String,
}

/// What the fleet is told of a group.
#[derive(Debug)]
pub(super) struct Told {
    /// Who asks, and how the group stands on this host; `None` where it is told late.
    pub(super) question: Option<(u64, Standing)>,
    pub(super) name: GroupName,
    pub(super) days: Vec<Bucket>,
    /// Of the store that has counted them: one that was begun anew counts from the beginning.
    pub(super) epoch: u64,
}

/// The way to the fleet's thread.
#[derive(Debug)]
pub(super) struct Fleet {
    queue: Sender<Told>,
    up: Arc<AtomicBool>,
}

impl Fleet {
    /// Starts a thread that reaches the server, now and whenever it can.
    pub(super) fn start(
        settings: FleetSettings,
        whole: &Settings,
        messages: Sender<Message>,
        answers: Answers,
    ) -> io::Result<Self> {
        let (queue, waiting) = bounded(WAITING);
        let up = Arc::new(AtomicBool::new(false));
        let messenger = Messenger {
            agent: hex(&Sha256::digest(&whole.agent)[..8]),
            window_days: whole.limits.window.days,
            keys: serde_json::to_string(&whole.keys)?,
            settings,
            waiting,
            messages,
            answers,
            up: Arc::clone(&up),
        };
        thread::Builder::new().name("fleet".to_owned()).spawn(move || messenger.work())?;
        Ok(Self { queue, up })
    }

    /// Whether the server could be reached when it was last tried.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Hands over without waiting; whether there may be an answer.
    pub(super) fn tell(&self, told: Told) -> bool {
        self.is_up() && self.queue.try_send(told).is_ok()
    }
}

/// The state of the fleet's thread.
struct Messenger {
    settings: FleetSettings,
    agent: String,
    window_days: u32,
    /// What groups are made of: with other keys a name says something else.
    keys: String,
    waiting: Receiver<Told>,
    messages: Sender<Message>,
    answers: Answers,
    up: Arc<AtomicBool>,
}

/// Nobody will tell anything any more.
struct Ended;

impl Messenger {
    fn work(self) {
        let mut pause = PAUSES.0;
        let mut said = String::new();
        loop {
            match self.connect() {
                Ok(link) => {
                    tracing::info!("the fleet's store is reached");
                    said.clear();
                    self.up.store(true, Ordering::Relaxed);
                    // Waits for room: the store's thread never waits for us.
                    if self.messages.send(Message::FleetIsBack).is_err() {
                        return;
                    }
                    let began = Instant::now();
                    let ended = self.serve(link);
                    self.up.store(false, Ordering::Relaxed);
                    match ended {
                        Ok(Ended) => return,
                        Err(error) => {
                            tracing::warn!(%error, "the fleet's store is lost: what is rare is decided by this host alone")
                        }
                    }
                    pause = if began.elapsed() > PAUSES.1 { PAUSES.0 } else { pause };
                }
                // The same reason is said once.
                Err(error) if error.to_string() != said => {
                    said = error.to_string();
                    tracing::warn!(%error, "the fleet's store cannot be reached: what is rare is decided by this host alone");
                }
                Err(_) => {}
            }
            if self.rest(pause) {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Lets time pass. What comes in meanwhile will be told when the server is back. Whether the end has come.
    fn rest(&self, pause: Duration) -> bool {
        // Not all hosts of a fleet at once.
        let jitter = pause.mul_f64(f64::from(self.agent.bytes().map(u32::from).sum::<u32>() % 64) / 128.0);
        let end = Instant::now() + pause + jitter;
        loop {
            match self.waiting.recv_deadline(end) {
                Ok(told) => self.give_up(told),
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// Reaches the server, and sees whether it lets us do what we will do.
    fn connect(&self) -> Result<Link, LinkError> {
        let mut link = Link::open(&self.settings.link, SCRIPT)?;
        link.call(&[self.call(&[], 0, "agents")])?;
        Ok(link)
    }

    fn serve(&self, mut link: Link) -> Result<Ended, LinkError> {
        loop {
            let first = match self.waiting.recv_timeout(QUIET) {
                Ok(told) => told,
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended),
                Err(RecvTimeoutError::Timeout) => {
                    link.call(&[self.call(&[], 0, "agents")])?;
                    continue;
                }
            };
            let batch: Vec<_> = std::iter::once(first).chain(self.waiting.try_iter().take(BATCH - 1)).collect();
            let calls: Vec<_> = batch
                .iter()
                .map(|told| self.call(&told.days, told.epoch, &hex(&told.name.digest(&self.keys))))
                .collect();
            let began = Instant::now();
            let stands = match link.call(&calls) {
                // A server that was started anew has forgotten the connection. Saying it twice changes nothing.
                Err(_) if began.elapsed() < self.settings.link.deadline / 2 => self.connect().and_then(|again| {
                    link = again;
                    link.call(&calls)
                }),
                stands => stands,
            };
            match stands {
                Ok(stands) => batch.into_iter().zip(stands).for_each(|(told, stands)| self.answer(told, stands)),
                Err(error) => {
                    batch.into_iter().for_each(|told| self.give_up(told));
                    return Err(error);
                }
            }
        }
    }

    /// The host's own answer is the last one.
    fn give_up(&self, told: Told) {
        if let Some((id, host)) = told.question {
            self.answers.send(Answered { id, answer: Answer::FleetSilent(host), more: false });
        }
        let _ = self.messages.send(Message::Confirmed { name: told.name, days: told.days, done: false });
    }

    fn answer(&self, told: Told, [count, agents, first_s]: [u64; 3]) {
        // The script counts at least this event, unless the key holds something else.
        if count == 0 {
            return self.give_up(told);
        }
        if let Some((id, host)) = told.question {
            let standing = Standing {
                scope: Scope::Fleet,
                count,
                agents,
                first_s,
                // The host knows what it has seen. The server may have heard of this very event before, if an answer was lost.
                seen_before: host.seen_before,
                in_baseline: host.in_baseline,
            };
            self.answers.send(Answered { id, answer: Answer::Known(standing), more: false });
        }
        // Fails at the end only: then it is told once more, which changes nothing.
        let _ = self.messages.send(Message::Confirmed { name: told.name, days: told.days, done: true });
    }

    /// Keys and arguments of the script.
    fn call(&self, days: &[Bucket], epoch: u64, group: &str) -> Vec<String> {
        let window_days = self.window_days;
        // Hosts with another window have other counts. Both keys are on one node of a cluster.
        let group = format!("{}{window_days}:{{{group}}}", self.settings.prefix);
        let head = [
            format!("{group}:agents"),
            self.agent.clone(),
            format!("{:08x}", epoch as u32),
            window_days.to_string(),
            MAX_MEMBERS.to_string(),
        ];
        let days = days
            .iter()
            .flat_map(|bucket| [bucket.day.into(), bucket.count, bucket.sent].map(|number: u64| number.to_string()));
        std::iter::once(group).chain(head).chain(days).collect()
    }
}

#[cfg(test)]
mod tests;
