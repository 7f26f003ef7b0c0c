//! The daemon under test: started, listened to, stopped.

use std::{
    ffi::CString,
    fs,
    io::{BufRead as _, BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
    thread::{CpuSet, sched_setaffinity},
};
use serde_json::{Value, json};

use crate::{document::Document, mirror};

pub(crate) const PROGRAM: &str = "/usr/bin/lkm-monitor";
const READY: &str = "sensor ready";
const STOPPING: &str = "stopping: what was seen is passed on";
/// The kernel verifies the probes on an emulated processor.
const START_DEADLINE: Duration = Duration::from_secs(120);
const STOP_DEADLINE: Duration = Duration::from_secs(60);
const DOCUMENT_DEADLINE: Duration = Duration::from_secs(30);
/// A marker may be lost when rings are full; then another one is set.
const MARKERS: usize = 10;
const MARKER: &str = "lkm_marker_";
/// Documents of one scenario that go to the mirror: the serial line is slow, and those of a flood are alike.
const MIRRORED: usize = 500;
/// What a failed expectation shows of the documents that did come.
const SHOWN: usize = 12;

/// How the daemon is to see system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hooks {
    Fentry,
    Tracepoint,
}

impl Hooks {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
        }
    }
}

#[derive(Default)]
struct State {
    documents: Vec<Document>,
    /// Lines on standard output that are no documents.
    violations: Vec<String>,
    log: Vec<String>,
    output_ended: bool,
    /// Nobody takes what the daemon writes.
    held: bool,
    /// Documents behind this one are not mirrored.
    mirrored_to: usize,
}

impl State {
    fn is_worth_mirroring(&self) -> bool {
        self.documents.len() < self.mirrored_to
    }
}

#[derive(Default)]
struct Stream {
    state: Mutex<State>,
    changed: Condvar,
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_while_held(&self) {
        drop(self.changed.wait_while(self.lock(), |state| state.held));
    }

    /// Until `found` has an answer, the output ended, or the deadline passed.
    fn wait<T>(&self, deadline: Duration, mut found: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let end = Instant::now() + deadline;
        let mut state = self.lock();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let over = left.is_zero() || state.output_ended;
            if let Some(answer) = found(&state) {
                return Some(answer);
            }
            if over {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

pub(crate) struct Sensor {
    child: Child,
    stream: Arc<Stream>,
    /// Documents before this belong to earlier scenarios.
    from: usize,
    markers: usize,
    stopped: bool,
}

/// Smaller than the default, so that an emulated machine can fill it, and read what was in it, in a short time.
const CALLS_RING_BYTES: u32 = 512 * 1024;

impl Sensor {
    /// Starts the daemon with telemetry and waits until it listens.
    pub(crate) fn start(hooks: Hooks) -> Self {
        Self::start_with(hooks, &["--events"])
    }

    /// Starts the daemon as people do, without telemetry, and waits until it listens.
    pub(crate) fn start_for_alerts(hooks: Hooks) -> Self {
        Self::start_with(hooks, &[])
    }

    /// Starts the daemon with the settings that it has by itself.
    pub(crate) fn start_by_default() -> Self {
        Self::launch(&[], None)
    }

    /// Starts the daemon with the settings in /etc.
    pub(crate) fn start_with_settings_of_the_machine(arguments: &[&str]) -> Self {
        Self::launch(arguments, None)
    }

    fn start_with(hooks: Hooks, arguments: &[&str]) -> Self {
        // What was there before has no part in what most scenarios are about.
        Self::start_set(hooks, arguments, hooks.name(), "[rarity]\nenabled = false\n", &[])
    }

    /// Starts the daemon with the settings that it has by itself; the events that it sees go to this file, too.
    pub(crate) fn start_recording(file: &str) -> Self {
        Self::launch(&["--events", "--record", file], None)
    }

    /// Starts the daemon as a service: documents go through its spool. One of its sinks has to be standard output.
    pub(crate) fn start_service(hooks: Hooks, name: &str, settings: &str) -> Self {
        let config = format!("/run/{name}.toml");
        let own = format!("[sensor]\nsyscall_hooks = \"{}\"\n", hooks.name());
        // What it delivers is no matter of what it finds.
        let state = if settings.contains("[state]") { "" } else { "\n[state]\nenabled = false\n" };
        fs::write(&config, own + settings + state).expect("write a config");
        Self::launch_words(&[PROGRAM, "run", "--config", &config], None)
    }

    /// Starts the daemon with telemetry and with these settings besides; `name` tells it from others. It may be run by another program.
    pub(crate) fn start_set(hooks: Hooks, arguments: &[&str], name: &str, settings: &str, wrapper: &[&str]) -> Self {
        let config = format!("/run/{name}.toml");
        let own = format!("[sensor]\nsyscall_hooks = \"{}\"\ncalls_ring_bytes = {CALLS_RING_BYTES}\n", hooks.name());
        // What differs from another daemon's run is no matter here, unless a scenario is about it.
        let record = format!("[heartbeat]\nrun_record = \"/run/{name}.json\"\n");
        let record = if settings.contains("[heartbeat]") { "" } else { &record };
        // A folder of evidence has one daemon.
        let evidence = format!("\n[evidence]\npath = \"/run/{name}.evidence\"\nmin_free_bytes = 0\n");
        let evidence = if settings.contains("[evidence]") { "" } else { &evidence };
        // Looks at the kernel cost an emulated machine seconds, and find what scenarios leave in their middle.
        let looks = if settings.contains("[integrity]") { "" } else { "\n[integrity]\nenabled = false\n" };
        // So do looks at the host, of which there is one soon after each load.
        let state = if settings.contains("[state]") { "" } else { "\n[state]\nenabled = false\n" };
        if record.contains("[heartbeat]") {
            forget(&[&format!("/run/{name}.json")]);
        }
        fs::write(&config, own + record + settings + evidence + looks + state).expect("write a config");
        Self::launch_by(wrapper, &[arguments, &["--config", &config]].concat(), None)
    }

    /// Starts the daemon as people do, without telemetry; its output also goes to `copy`.
    pub(crate) fn start_for_show(copy: ChildStdin) -> Self {
        Self::launch(&[], Some(copy))
    }

    fn launch(arguments: &[&str], copy: Option<ChildStdin>) -> Self {
        forget(&["/var/lib/lkm-monitor/run.json", "/var/lib/lkm-monitor/state.json"]);
        Self::launch_by(&[], arguments, copy)
    }

    fn launch_by(wrapper: &[&str], arguments: &[&str], copy: Option<ChildStdin>) -> Self {
        Self::launch_words(&[wrapper, &[PROGRAM, "run", "--stdout"], arguments].concat(), copy)
    }

    fn launch_words(words: &[&str], copy: Option<ChildStdin>) -> Self {
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start the daemon");
        let stream = Arc::new(Stream::default());
        let (output, log) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (documents, words) = (Arc::clone(&stream), Arc::clone(&stream));
        thread::spawn(move || read_documents(output, &documents, copy));
        thread::spawn(move || read_log(log, &words));
        let mut sensor = Self { child, stream, from: 0, markers: 0, stopped: false };
        sensor.begin_scenario();
        let ready = |state: &State| state.log.iter().any(|line| line.contains(READY)).then_some(());
        if sensor.stream.wait(START_DEADLINE, ready).is_none() {
            let log = sensor.stream.lock().log.join("\n  ");
            let _ = sensor.child.kill();
            let status = sensor.child.wait();
            panic!("the daemon did not say {READY:?}; it ended with {status:?}, its log:\n  {log}");
        }
        sensor
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without any notice.
    pub(crate) fn kill(&mut self) {
        self.stopped = true;
        self.signal(Signal::KILL);
        self.child.wait().expect("wait for the daemon");
    }

    /// What it has said in its log.
    pub(crate) fn log(&self) -> String {
        self.stream.lock().log.join("\n  ")
    }

    /// Waits until it has said so in its log.
    pub(crate) fn says(&self, words: &str) {
        self.says_times(words, 1);
    }

    /// Waits until it has said so as often.
    pub(crate) fn says_times(&self, words: &str, times: usize) {
        let said =
            |state: &State| (state.log.iter().filter(|line| line.contains(words)).count() >= times).then_some(());
        let log = || self.stream.lock().log.join("\n  ");
        assert!(self.stream.wait(START_DEADLINE, said).is_some(), "it did not say {words:?}:\n  {}", log());
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// From now on only documents that come later count.
    pub(crate) fn begin_scenario(&mut self) {
        let mut state = self.stream.lock();
        self.from = state.documents.len();
        state.mirrored_to = self.from + MIRRORED;
    }

    /// The documents since the scenario began.
    pub(crate) fn documents(&self) -> Vec<Document> {
        self.stream.lock().documents[self.from..].to_vec()
    }

    /// The documents since the daemon started.
    pub(crate) fn all_documents(&self) -> Vec<Document> {
        self.stream.lock().documents.clone()
    }

    /// What the daemon wrote to standard output and is no document.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.stream.lock().violations.clone()
    }

    /// Waits for a document of this scenario.
    pub(crate) fn expect(&self, what: &str, predicate: impl Fn(&Document) -> bool) -> Document {
        let found = |document: &Document| predicate(document).then(|| document.clone());
        self.look(DOCUMENT_DEADLINE, found).unwrap_or_else(|| {
            let documents = self.documents();
            let first = documents.len().saturating_sub(SHOWN);
            let last: Vec<_> = documents[first..].iter().map(Document::summary).collect();
            panic!("{what} did not come; the last of {} documents:\n  {}", documents.len(), last.join("\n  "));
        })
    }

    /// Shows `found` each document of this scenario once, those still to come included, until it has an answer.
    pub(crate) fn look<T>(&self, deadline: Duration, mut found: impl FnMut(&Document) -> Option<T>) -> Option<T> {
        let mut next = self.from;
        self.stream.wait(deadline, |state| {
            let unseen = &state.documents[next..];
            next = state.documents.len();
            unseen.iter().find_map(&mut found)
        })
    }

    /// No document of this scenario matches, and none that could still be under way.
    pub(crate) fn expect_none(&mut self, what: &str, predicate: impl Fn(&Document) -> bool) {
        self.settle();
        if let Some(document) = self.documents().into_iter().find(predicate) {
            panic!("{what} came: {}", document.value());
        }
    }

    /// Returns when everything that happened before is reported, by the report on something harmless that happens now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MARKERS {
            self.markers += 1;
            let name = format!("{MARKER}{}", self.markers);
            let argument = CString::new(name.as_str()).expect("no NUL");
            let answer = rustix::system::delete_module(&argument, libc::O_NONBLOCK);
            assert_eq!(answer, Err(rustix::io::Errno::NOENT), "no module has a marker's name");
            let seen = |document: &Document| (document.module() == name).then_some(());
            if self.look(DOCUMENT_DEADLINE / MARKERS as u32, seen).is_some() {
                return;
            }
        }
        panic!("the daemon reports nothing any more; its log: {:?}", self.stream.lock().log);
    }

    /// Markers set since the daemon started: calls that were made besides those of scenarios.
    pub(crate) fn markers_set(&self) -> usize {
        self.markers
    }

    /// Stops the daemon's process where it is; returns when it stands still.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        waitpid(Some(self.raw_pid()), WaitOptions::UNTRACED).expect("wait for the daemon to stand still");
    }

    /// From now on nobody reads the daemon's output, or somebody does again.
    pub(crate) fn hold_output(&self, held: bool) {
        self.stream.change(|state| state.held = held);
    }

    /// Lets it read its settings anew.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Runs the daemon's main thread, which attaches and detaches, on this processor only.
    pub(crate) fn pin_to(&self, processor: usize) {
        let mut processors = CpuSet::new();
        processors.set(processor);
        sched_setaffinity(Some(self.raw_pid()), &processors).expect("pin the daemon");
    }

    /// Tells the daemon to end, as a service manager does, and returns when it begins to.
    pub(crate) fn ask_to_stop(&mut self) {
        self.signal(Signal::TERM);
        let begun = |state: &State| state.log.iter().any(|line| line.contains(STOPPING)).then_some(());
        assert!(self.stream.wait(STOP_DEADLINE, begun).is_some(), "the daemon does not hear SIGTERM");
    }

    /// Ends the daemon and looks at its last words.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        self.ask_to_stop();
        // The output ends with the process: until then there is time to report.
        let ended = self.stream.wait(STOP_DEADLINE, |state| state.output_ended.then_some(()));
        if ended.is_none() {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("wait for the daemon");
        let log = self.stream.lock().log.join("\n  ");
        assert!(ended.is_some(), "the daemon did not stop on SIGTERM; its log:\n  {log}");
        assert_eq!(status.code(), Some(0), "the daemon ended with {status}; its log:\n  {log}");
        let documents = self.all_documents();
        let last = documents.last().expect("the daemon wrote documents");
        last.contains(json!({ "event": { "kind": "state", "action": "sensor-stopped" } }));
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.raw_pid(), signal).expect("signal the daemon");
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        if !self.stopped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Lets the next daemon with these records be the first.
fn forget(records: &[&str]) {
    for record in records {
        let _ = fs::remove_file(record);
    }
}

/// Whether this is the report on a marker.
pub(crate) fn is_marker(document: &Document) -> bool {
    document.module().starts_with(MARKER)
}

fn read_documents(output: impl Read, stream: &Stream, mut copy: Option<ChildStdin>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).expect("read the daemon's output") > 0 {
        stream.wait_while_held();
        if stream.lock().is_worth_mirroring() {
            mirror::write(&line);
        }
        if let Some(copy) = &mut copy {
            // The reader of the copy may have ended; that shows in its own exit status.
            let _ = std::io::Write::write_all(copy, &line);
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(value) if value.is_object() => stream.change(|state| state.documents.push(Document::new(value))),
            _ => stream.change(|state| state.violations.push(line.escape_ascii().to_string())),
        }
        line.clear();
    }
    stream.change(|state| state.output_ended = true);
}

fn read_log(log: impl Read, stream: &Stream) {
    for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        stream.change(|state| state.log.push(line));
    }
}
