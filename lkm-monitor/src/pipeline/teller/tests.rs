use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::{
    inspect,
    model::{Class, Finding, HiddenModule, Ids, KernelFinding, KernelReport, ReloadOutcome, Severity, samples},
    output::Target,
    pipeline::kernel::Kernel,
};

#[test]
fn what_only_root_can_do_has_room() {
    let rule = assess::rules().next().unwrap();
    let finding = Finding { rule, severity: Severity::Low, reason: String::new() };
    let alert = Verdict { findings: vec![finding], ..Verdict::default() };
    let run = |euid: u32| {
        let mut run = samples::tool_run();
        run.process.caller.ids = Some(Ids { euid, ..Ids::default() });
        Observation::Tool(Box::new(run))
    };
    assert_eq!(priority(&run(0), &alert), Priority::Reserved);
    assert_eq!(priority(&run(0), &Verdict::default()), Priority::Ordinary);
    assert_eq!(priority(&run(1000), &alert), Priority::Ordinary);
    let load = Observation::Call(Box::new(samples::load()));
    assert_eq!(priority(&load, &Verdict::default()), Priority::Reserved);
}

/// Takes nothing before the gate is open.
struct Gated {
    waits: Sender<()>,
    gate: Receiver<()>,
    taken: Arc<Mutex<Vec<Document>>>,
}

impl Target for Gated {
    fn take(&mut self, documents: &mut Vec<Document>) -> std::io::Result<()> {
        // Nobody listens after the first time.
        let _ = self.waits.try_send(());
        // Nothing comes out of it: it is open when its other end is gone.
        let _ = self.gate.recv();
        self.taken.lock().unwrap().append(documents);
        Ok(())
    }
}

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Its output has no room for anything until the gate is dropped.
fn crowded() -> (Teller, Sender<()>, Arc<Mutex<Vec<Document>>>) {
    let ((waits, waiting), (gate, opened), taken) = (bounded(1), bounded(0), Arc::default());
    let output = Output::start(Gated { waits, gate: opened, taken: Arc::clone(&taken) }).unwrap();
    let other = || Document { id: String::new(), class: Class::Low, happened_ms: 0, line: b"{}".to_vec() };
    output.send(other(), Priority::Reserved);
    waiting.recv_deadline(in_time()).unwrap();
    while output.send(other(), Priority::Reserved) == Sent::Queued {}
    let delivery = Delivery { output, with_events: false };
    (Teller::new(delivery, samples::host(), Agent::default(), inspect::read_clock()), gate, taken)
}

fn reload() -> Reload {
    let outcome = ReloadOutcome::Rejected { problems: Vec::new() };
    Reload { boot_ns: 1, sha256_before: "a".to_owned(), outcome }
}

fn lost_in_the_output(teller: &Teller) -> u64 {
    teller.ledger.totals().find(|(reason, _)| *reason == LossReason::OutputFull).unwrap().1
}

#[test]
fn what_the_daemon_says_of_itself_waits_for_room_and_is_no_loss() {
    let (mut teller, gate, taken) = crowded();
    teller.tell_reload(&reload());
    teller.tell_spool(&SpoolChange { boot_ns: 1, reason: None });
    teller.ledger.add(LossReason::DecodeError, 1, None);
    (0..3).for_each(|_| teller.tell_losses());
    assert!(teller.owes());
    assert_eq!((lost_in_the_output(&teller), teller.documents()), (0, 0));

    drop(gate);
    let deadline = in_time();
    while teller.owes() {
        assert!(Instant::now() < deadline, "there is room, and nothing is told");
        teller.tell_losses();
        std::thread::yield_now();
    }
    assert_eq!((lost_in_the_output(&teller), teller.documents()), (0, 3));
    teller.into_output().finish(deadline).unwrap();
    let own: Vec<_> = taken
        .lock()
        .unwrap()
        .iter()
        .map(|document| serde_json::from_slice::<serde_json::Value>(&document.line).unwrap())
        .filter(|document| document["event"].is_object())
        .map(|document| (document["event"]["sequence"].as_u64(), document["event"]["action"].clone()))
        .collect();
    let actions = ["configuration-rejected", "spool-restored", "lost-events"];
    let expected: Vec<_> = (1..).map(Some).zip(actions.map(serde_json::Value::from)).collect();
    assert_eq!(own, expected, "in order, and without a gap");
}

/// A look can find more than may be owed.
#[test]
fn what_was_found_in_the_kernel_waits_for_room_and_leaves_some_to_others() {
    const FOUND: u64 = 3 * MAX_OWED as u64;
    let (mut teller, gate, _) = crowded();
    let mut kernel = Kernel::default();
    let confirmed = (0..FOUND)
        .map(|address| KernelFinding::Hidden(HiddenModule { address: Some(address), ..samples::hidden_module() }));
    let report = KernelReport { look: samples::kernel_look(), confirmed: confirmed.collect() };
    report.alerts().into_iter().for_each(|alert| kernel.await_room(alert, &mut teller));
    kernel.tell_waiting(&mut teller);
    teller.tell_reload(&reload());
    assert!(kernel.has_waiting());
    assert_eq!((teller.owed.len(), lost_in_the_output(&teller)), (MAX_OWED / 2 + 1, 0));

    drop(gate);
    let deadline = in_time();
    while kernel.has_waiting() || teller.owes() {
        assert!(Instant::now() < deadline, "there is room, and nothing is told");
        teller.tell_losses();
        kernel.tell_waiting(&mut teller);
        std::thread::yield_now();
    }
    assert_eq!((lost_in_the_output(&teller), teller.documents()), (0, FOUND + 1));
    teller.into_output().finish(deadline).unwrap();
}

#[test]
fn what_waits_for_room_has_a_bound_and_what_is_beyond_it_is_counted() {
    let (mut teller, _gate, _) = crowded();
    (0..=MAX_OWED).for_each(|_| teller.tell_reload(&reload()));
    assert_eq!((teller.owed.len(), lost_in_the_output(&teller)), (MAX_OWED, 1));
}
