use std::{collections::VecDeque, path::Path};

use super::*;
use crate::{
    model::Class,
    spool::{Counts, Incoming, Limits, RETRY, Settings, total},
};

const IN_TIME: Duration = Duration::from_secs(30);

/// What a receiver has to say to one batch; all is taken when nothing is scripted.
type Reply = Box<dyn FnOnce(&[Entry]) -> Delivered + Send>;

#[derive(Clone, Default)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// The numbers of each batch.
    batches: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl Sink for Script {
    fn deliver(&mut self, batch: &[Entry]) -> Delivered {
        self.batches.lock().unwrap().push(batch.iter().map(|entry| entry.number).collect());
        let reply = self.replies.lock().unwrap().pop_front();
        reply.map_or_else(|| all(batch, Fate::Taken), |reply| reply(batch))
    }
}

fn all(batch: &[Entry], fate: Fate) -> Delivered {
    Delivered::Each(vec![fate; batch.len()])
}

fn failure(reason: &str) -> Delivered {
    Delivered::Failed(Failure { reason: reason.to_owned(), maybe_taken: false, retry_after: None })
}

fn courier(spool: &Arc<Spool>, script: &Script) -> Courier {
    let pauses = (Duration::from_millis(1), Duration::from_millis(4));
    let route = Route { pauses, letters_every: Duration::from_millis(10), ..Route::new("siem", 8, 1 << 20) };
    Courier::start(Arc::clone(spool), Box::new(script.clone()), route).unwrap()
}

struct Bench {
    _folder: tempfile::TempDir,
    spool: Arc<Spool>,
    script: Script,
    courier: Courier,
}

impl Bench {
    /// A courier for documents that are there when it starts.
    fn new(documents: usize, replies: Vec<Reply>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(settings(&folder.path().join("spool.redb"))).unwrap());
        spool.set_sinks([("siem".to_owned(), false)].into()).unwrap();
        let incoming = |number| Incoming { class: Class::High, happened_ms: 0, json: format!("{number}").into_bytes() };
        spool.append(&(0..documents).map(incoming).collect::<Vec<_>>());
        let script = Script { replies: Arc::new(Mutex::new(replies.into())), ..Script::default() };
        let courier = courier(&spool, &script);
        Self { _folder: folder, spool, script, courier }
    }

    /// Another courier in its place, for a receiver that takes everything.
    fn relieve(&mut self) {
        self.courier.dismiss();
        self.wait("it has left", |bench| bench.courier.has_ended());
        self.script.replies.lock().unwrap().clear();
        self.courier = courier(&self.spool, &self.script);
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = std::time::Instant::now() + IN_TIME;
        while !is_so(self) {
            assert!(std::time::Instant::now() < deadline, "{what}: {:?}", self.batches());
            std::thread::yield_now();
        }
    }

    fn delivered(&self) -> (Counts, Vec<Vec<u64>>) {
        self.wait("all is accounted for", |bench| bench.spool.bytes() == 0);
        (self.spool.counts(), self.batches())
    }

    fn batches(&self) -> Vec<Vec<u64>> {
        self.script.batches.lock().unwrap().clone()
    }
}

fn settings(path: &Path) -> Settings {
    let limits = Limits { max_bytes: 1 << 20, max_age_s: 60, max_dead_letter_bytes: 1 << 20 };
    Settings { path: path.to_owned(), limits, min_free_bytes: 0, retry: RETRY }
}

#[test]
fn batches_are_bounded_and_in_order() {
    let (counts, batches) = Bench::new(10, Vec::new()).delivered();
    assert_eq!(batches, [(1..=8).collect::<Vec<u64>>(), vec![9, 10]]);
    assert_eq!((total(&counts, Count::Acked), total(&counts, Count::Retried)), (10, 0));
}

#[test]
fn what_was_not_taken_is_tried_again_and_nothing_else() {
    let mixed = |_: &[Entry]| {
        Delivered::Each(vec![Fate::Taken, Fate::TryAgain("busy".to_owned()), Fate::Duplicate, Fate::Misfiled])
    };
    let (counts, batches) = Bench::new(4, vec![Box::new(mixed)]).delivered();
    assert_eq!(batches, [vec![1, 2, 3, 4], vec![2]]);
    let count = |count| total(&counts, count);
    assert_eq!((count(Count::Acked), count(Count::Retried)), (4, 1));
    assert_eq!((count(Count::Duplicate), count(Count::Misfiled)), (1, 1));
}

#[test]
fn a_failed_batch_is_sent_again_as_a_whole() {
    let short = |batch: &[Entry]| all(&batch[1..], Fate::Taken);
    let replies: Vec<Reply> = vec![Box::new(|_| failure("refused")), Box::new(short)];
    let bench = Bench::new(3, replies);
    let (counts, batches) = bench.delivered();
    assert_eq!(batches, [[1, 2, 3], [1, 2, 3], [1, 2, 3]]);
    assert_eq!(total(&counts, Count::Acked), 3);
    // Of the first attempt it is known that nothing arrived.
    assert_eq!((total(&counts, Count::Retried), total(&counts, Count::MaybeDuplicate)), (6, 3));
    bench.wait("it is well again", |bench| bench.courier.health().failure.is_none());
}

#[test]
fn a_batch_that_is_too_large_is_halved_and_one_document_is_a_dead_letter() {
    let too_large = |limit: usize| -> Reply {
        Box::new(move |batch| if batch.len() > limit { Delivered::TooLarge } else { all(batch, Fate::Taken) })
    };
    let replies = vec![too_large(2), too_large(2), too_large(2), too_large(0), too_large(0), too_large(0)];
    let (counts, batches) = Bench::new(4, replies).delivered();
    assert_eq!(batches[..3], [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4]]);
    assert_eq!(total(&counts, Count::Acked) + total(&counts, Count::DeadLettered), 4);

    let replies = (0..3).map(|_| too_large(0)).collect();
    let bench = Bench::new(2, replies);
    let (counts, batches) = bench.delivered();
    assert_eq!(batches[..3], [vec![1, 2], vec![1], vec![2]]);
    assert_eq!((total(&counts, Count::DeadLettered), total(&counts, Count::Acked)), (2, 0));
    assert_eq!(bench.spool.dead_letter_count(), 2);
}

#[test]
fn a_refused_document_of_a_loss_is_counted_apart() {
    let bench = Bench::new(1, Vec::new());
    bench.delivered();
    let refuse: Reply = Box::new(|batch| all(batch, Fate::Refused("no".to_owned())));
    bench.script.replies.lock().unwrap().push_back(refuse);
    let incoming = |class| Incoming { class, happened_ms: 0, json: b"{}".to_vec() };
    bench.spool.append(&[Class::High, Class::Loss].map(incoming));
    let (counts, _) = bench.delivered();
    assert_eq!((total(&counts, Count::DeadLettered), total(&counts, Count::LossRefused)), (2, 1));
}

#[test]
fn a_receiver_is_seldom_asked_for_more_than_it_took() {
    let four_at_most = |batch: &[Entry]| match batch.len() {
        0..=4 => all(batch, Fate::Taken),
        _ => Delivered::TooLarge,
    };
    let replies = (0..1000).map(|_| Box::new(four_at_most) as Reply).collect();
    let (counts, batches) = Bench::new(80, replies).delivered();
    let in_vain = batches.iter().filter(|batch| batch.len() > 4).count();
    assert!(in_vain <= 6 && total(&counts, Count::Acked) == 80, "{batches:?}");
}

#[test]
fn dead_letters_are_sent_again_when_somebody_wants_that() {
    let refused = |batch: &[Entry]| all(batch, Fate::Refused("no such field".to_owned()));
    let bench = Bench::new(1, vec![Box::new(refused)]);
    bench.delivered();
    let letters = bench.spool.dead_letters().unwrap();
    assert_eq!((letters.len(), letters[0].1.reason.as_str()), (1, "no such field"));
    bench.spool.retry_dead_letters(&[letters[0].0]).unwrap();
    bench.wait("it is sent again", |bench| bench.spool.dead_letter_count() == 0);
    assert_eq!(total(&bench.spool.counts(), Count::Acked), 1);
}

#[test]
fn dead_letters_have_their_turn_while_documents_come() {
    let refused = |batch: &[Entry]| all(batch, Fate::Refused("no such field".to_owned()));
    let bench = Bench::new(1, vec![Box::new(refused)]);
    bench.delivered();
    let letter = bench.spool.dead_letters().unwrap()[0].0;
    let more = || -> Reply {
        let spool = Arc::downgrade(&bench.spool);
        Box::new(move |batch| {
            if let Some(spool) = spool.upgrade() {
                spool.append(&[Incoming { class: Class::High, happened_ms: 0, json: b"{}".to_vec() }]);
            }
            all(batch, Fate::Taken)
        })
    };
    bench.script.replies.lock().unwrap().extend((0..100_000).map(|_| more()));
    bench.spool.append(&[Incoming { class: Class::High, happened_ms: 0, json: b"{}".to_vec() }]);
    bench.wait("documents come", |bench| bench.batches().len() > 3);
    bench.spool.retry_dead_letters(&[letter]).unwrap();
    bench.wait("it is sent again", |bench| bench.spool.dead_letter_count() == 0);
    assert!(!bench.script.replies.lock().unwrap().is_empty(), "there was always something else to do");
    bench.courier.dismiss();
}

#[test]
fn a_courier_leaves_while_its_receiver_is_dead() {
    let replies: Vec<Reply> = (0..100_000).map(|_| Box::new(|_: &[Entry]| failure("dead")) as Reply).collect();
    let bench = Bench::new(1, replies);
    bench.wait("it has tried", |bench| bench.courier.health().failures > 3);
    assert_eq!(bench.courier.health().failure.as_deref(), Some("dead"));
    bench.courier.dismiss();
    bench.wait("it has left", |bench| bench.courier.has_ended());
    assert_eq!((bench.spool.bytes() > 0, total(&bench.spool.counts(), Count::Acked)), (true, 0));
}

/// Refuses the second document of those that come first, and takes the others but for these; the rest never.
fn torn(taken_not: &'static [u64]) -> Vec<Reply> {
    let first = |batch: &[Entry]| {
        let fate = |entry: &Entry| match entry.number {
            2 => Fate::Refused("no such field".to_owned()),
            number if taken_not.contains(&number) => Fate::TryAgain("busy".to_owned()),
            _ => Fate::Taken,
        };
        Delivered::Each(batch.iter().map(fate).collect())
    };
    let busy = |batch: &[Entry]| all(batch, Fate::TryAgain("busy".to_owned()));
    std::iter::once(Box::new(first) as Reply).chain((0..100_000).map(|_| Box::new(busy) as Reply)).collect()
}

#[test]
fn a_courier_that_leaves_notes_what_is_settled_before_the_first_that_is_not() {
    let mut bench = Bench::new(6, torn(&[4, 6]));
    bench.wait("it has tried again", |bench| bench.batches().len() > 2);
    bench.relieve();
    let (counts, batches) = bench.delivered();
    // The fifth goes again too: it stood behind one that did not.
    assert_eq!((&batches[1], batches.last().unwrap()), (&vec![4, 6], &vec![4, 5, 6]));
    assert_eq!((total(&counts, Count::Acked), total(&counts, Count::DeadLettered)), (5, 1));
    assert_eq!(bench.spool.dead_letter_count(), 1);
}

#[test]
fn a_courier_that_leaves_removes_the_dead_letters_that_it_sent() {
    let refused = |batch: &[Entry]| all(batch, Fate::Refused("no such field".to_owned()));
    let mixed = |_: &[Entry]| Delivered::Each(vec![Fate::Taken, Fate::TryAgain("busy".to_owned()), Fate::Taken]);
    let busy = (0..100_000).map(|_| Box::new(|batch: &[Entry]| all(batch, Fate::TryAgain("busy".to_owned()))) as Reply);
    let replies = [Box::new(refused) as Reply, Box::new(mixed)].into_iter().chain(busy).collect();
    let mut bench = Bench::new(3, replies);
    bench.delivered();
    let numbers: Vec<u64> = bench.spool.dead_letters().unwrap().into_iter().map(|(number, _)| number).collect();
    bench.spool.retry_dead_letters(&numbers).unwrap();
    bench.wait("one is tried again", |bench| bench.batches().len() > 2);
    bench.relieve();
    assert_eq!(total(&bench.spool.counts(), Count::Acked), 1);
    bench.wait("all are sent", |bench| bench.spool.dead_letter_count() == 0);
    assert_eq!(total(&bench.spool.counts(), Count::Acked), 3);
    assert_eq!(bench.batches().last().unwrap(), &numbers[1..]);
}

#[test]
fn a_receiver_that_asks_for_quiet_has_it() {
    // Many times the longest pause of our own.
    let asked = Duration::from_millis(300);
    let times = Arc::new(Mutex::new(Vec::new()));
    let busy = || -> Reply {
        let times = Arc::clone(&times);
        Box::new(move |batch| {
            times.lock().unwrap().push(std::time::Instant::now());
            match times.lock().unwrap().len() {
                1 => Delivered::Failed(Failure {
                    reason: "busy".to_owned(),
                    maybe_taken: false,
                    retry_after: Some(asked),
                }),
                _ => all(batch, Fate::Taken),
            }
        })
    };
    Bench::new(1, vec![busy(), busy()]).delivered();
    let times = times.lock().unwrap();
    assert!(times[1] - times[0] >= asked, "{:?}", times[1] - times[0]);
}

#[test]
fn pauses_differ_and_are_bounded() {
    let pause = Duration::from_secs(60);
    for _ in 0..1000 {
        let rest = jittered(pause);
        assert!((pause / 2..=pause).contains(&rest), "{rest:?}");
    }
}
