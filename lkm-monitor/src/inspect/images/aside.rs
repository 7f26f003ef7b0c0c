//! Work in a thread of its own that may never end: a mount that nobody serves keeps its readers for ever. Who needs what comes of it waits
//! a little, once, and goes on without.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// How long after it was begun work is waited for: to be told in time without what comes of it is better.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// Nothing was begun, or it is not done yet.
    Late,
    /// It failed in a way that was not foreseen.
    Failed,
}

/// One thread, which does one thing at a time.
#[derive(Debug)]
pub(super) struct Aside<Q, A> {
    name: &'static str,
    pub(super) patience: Duration,
    questions: Sender<Q>,
    answers: Receiver<Option<A>>,
    /// When it began with what it is at.
    begun: Option<Instant>,
    /// That this takes long was said.
    told: bool,
}

impl<Q: Send + 'static, A: Send + 'static> Aside<Q, A> {
    /// Starts a thread of that name, which has nothing to do yet.
    pub(super) fn start(name: &'static str, mut work: impl FnMut(Q) -> A + Send + 'static) -> io::Result<Self> {
        // There is never more than one of either.
        let (questions, asked) = bounded(1);
        let (answer, answers) = bounded(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for question in asked {
                let done = panic::catch_unwind(AssertUnwindSafe(|| work(question))).ok();
                if answer.send(done).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { name, patience: PATIENCE, questions, answers, begun: None, told: false })
    }

    /// Lets it begin, and says whether it does: not while it is at something, or that was not finished with.
    pub(super) fn begin(&mut self, question: Q) -> bool {
        let begins = self.begun.is_none() && self.questions.try_send(question).is_ok();
        if begins {
            (self.begun, self.told) = (Some(Instant::now()), false);
        }
        begins
    }

    /// What came of it. Waits until `until`, and no longer than patience lasts from when it began: what hangs is not waited for again.
    pub(super) fn finish(&mut self, until: Instant) -> Result<A, Missed> {
        let impatient = self.begun.ok_or(Missed::Late)? + self.patience;
        match self.answers.recv_deadline(until.min(impatient)) {
            Ok(done) => {
                self.begun = None;
                done.ok_or(Missed::Failed)
            }
            Err(RecvTimeoutError::Timeout) => {
                if !self.told && Instant::now() >= impatient {
                    self.told = true;
                    tracing::warn!(
                        thread = self.name,
                        "reading what images are compared with takes long: loads are told without"
                    );
                }
                Err(Missed::Late)
            }
            Err(RecvTimeoutError::Disconnected) => Err(Missed::Failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn in_time() -> Instant {
        Instant::now() + LONG
    }

    #[test]
    fn what_is_done_in_time_is_there() {
        let mut double = Aside::start("double", |number: u32| number * 2).unwrap();
        assert_eq!(double.finish(in_time()), Err(Missed::Late), "nothing was begun");
        for number in [1, 2] {
            double.patience = LONG;
            assert!(double.begin(number));
            assert!(!double.begin(9), "one thing at a time");
            assert_eq!(double.finish(in_time()), Ok(2 * number));
        }
    }

    #[test]
    fn what_hangs_is_not_waited_for_again_until_it_is_done() {
        let (go, goes) = mpsc::channel();
        let mut slow = Aside::start("slow", move |()| goes.recv().unwrap()).unwrap();
        slow.patience = LONG;
        assert!(slow.begin(()));
        assert_eq!(slow.finish(Instant::now()), Err(Missed::Late), "who has no time does not wait");
        slow.patience = Duration::ZERO;
        let before = Instant::now();
        for _ in 0..3 {
            assert_eq!(slow.finish(in_time()), Err(Missed::Late));
            assert!(!slow.begin(()), "it still is at the first");
        }
        assert!(before.elapsed() < LONG);
        slow.patience = LONG;
        go.send(7).unwrap();
        assert_eq!(slow.finish(in_time()), Ok(7));
        assert!(slow.begin(()));
    }

    #[test]
    fn what_fails_costs_its_own_answer_and_no_other() {
        let mut picky = Aside::start("picky", |number: u32| assert_ne!(number, 1)).unwrap();
        for (number, answer) in [(1, Err(Missed::Failed)), (2, Ok(()))] {
            picky.patience = LONG;
            assert!(picky.begin(number));
            assert_eq!(picky.finish(in_time()), answer);
        }
    }
}
