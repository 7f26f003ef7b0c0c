//! The thread that reads the record of the run before and keeps that of this one. A disk that hangs hangs it alone.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{record, this_run};
use crate::model::{Moment, RunRecord, Succession};

/// A sign of life, with all that can be another than at the last one.
struct Beat {
    at: Moment,
    stopped: bool,
    configuration_sha256: String,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Recorder {
    /// One that waits is enough: a later one would say the same.
    beats: Sender<Beat>,
    succession: Receiver<Succession>,
    /// Nothing ever comes out of it; the thread holds the other end as long as it lives.
    alive: Receiver<()>,
    failed: Arc<AtomicU64>,
    /// Of the settings that hold now.
    configuration_sha256: String,
}

impl Recorder {
    /// Starts to keep the record of a run at `path`. Program and process the thread finds by itself.
    pub fn start(path: PathBuf, run: RunRecord) -> std::io::Result<Self> {
        Self::start_as(Path::new(this_run::PROGRAM), path, run)
    }

    fn start_as(program: &'static Path, path: PathBuf, run: RunRecord) -> std::io::Result<Self> {
        let (beats, due) = bounded(1);
        let (found, succession) = bounded(1);
        let (life, alive) = bounded(0);
        let failed = Arc::new(AtomicU64::new(0));
        let failures = Arc::clone(&failed);
        let configuration_sha256 = run.configuration_sha256.clone();
        std::thread::Builder::new().name("run-record".to_owned()).spawn(move || {
            let _life: Sender<()> = life;
            keep(&path, (run, program), &found, &due, &failures);
        })?;
        Ok(Self { beats, succession, alive, failed, configuration_sha256 })
    }

    /// What was found of the run before, once.
    pub fn succession(&self) -> Option<Succession> {
        self.succession.try_recv().ok()
    }

    /// Puts on record that the run is alive. Never waits: a beat that is still to be written stands for this one.
    pub fn beat(&self, at: Moment) {
        let _ = self.beats.try_send(self.sign(at, false));
    }

    /// Goes on with other settings, of this hash: the record has it from the next beat on.
    pub fn follow(&mut self, configuration_sha256: String) {
        self.configuration_sha256 = configuration_sha256;
    }

    /// Times that the record could not be written.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Puts on record that the run was told to stop; waits for that until `deadline` at the longest. Whether it is on record.
    pub fn stop(self, at: Moment, deadline: Instant) -> bool {
        let before = self.failed();
        if self.beats.send_deadline(self.sign(at, true), deadline).is_err() {
            return false;
        }
        drop(self.beats);
        self.alive.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected)
            && self.failed.load(Ordering::Relaxed) == before
    }

    fn sign(&self, at: Moment, stopped: bool) -> Beat {
        Beat { at, stopped, configuration_sha256: self.configuration_sha256.clone() }
    }
}

fn keep(
    path: &Path,
    (run, program): (RunRecord, &Path),
    found: &Sender<Succession>,
    due: &Receiver<Beat>,
    failed: &AtomicU64,
) {
    let start_ticks = this_run::start_ticks("self").unwrap_or_default();
    let mut run = RunRecord { pid: std::process::id(), start_ticks, ..run };
    let before = this_run::predecessor(record::read(path).map_err(|error| error.to_string()), &run);
    let mut was_written = true;
    let mut write = |run: &RunRecord| match record::write(path, run) {
        Ok(()) => was_written = true,
        Err(error) => {
            failed.fetch_add(1, Ordering::Relaxed);
            // Once for many: it will fail again.
            if std::mem::replace(&mut was_written, false) {
                tracing::warn!(%error, "the run is not on record: the next one will not know how it ended");
            }
        }
    };
    // To read the program takes a while, in which this run may be killed.
    write(&run);
    run.binary_sha256 = this_run::file_sha256(program)
        .inspect_err(|error| tracing::warn!(%error, "the own program cannot be read: a change of it goes unnoticed"))
        .ok();
    // There is room for the one that is ever sent.
    let _ = found.send(Succession { this: run.clone(), before });
    write(&run);
    while let Ok(Beat { at, stopped, configuration_sha256 }) = due.recv() {
        run = RunRecord { seen: at, stopped, configuration_sha256, ..run };
        write(&run);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Predecessor, RunEnd};

    fn run(ephemeral_id: &str) -> RunRecord {
        RunRecord { ephemeral_id: ephemeral_id.to_owned(), boot_id: "b".to_owned(), ..RunRecord::default() }
    }

    /// The tests' own program is too large to be read in each of them.
    fn start(path: PathBuf, run: RunRecord) -> std::io::Result<Recorder> {
        Recorder::start_as(Path::new("/proc/version"), path, run)
    }

    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn found(recorder: &Recorder) -> Succession {
        recorder.succession.recv_deadline(in_time()).unwrap()
    }

    fn at(boot_ns: u64) -> Moment {
        Moment { boot_ns, unix_ms: 1 }
    }

    #[test]
    fn a_run_finds_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let first = start(path.clone(), run("first")).unwrap();
        assert_eq!(found(&first).before, Predecessor::NotOnRecord);
        assert!(first.stop(at(5), in_time()));

        let second = start(path.clone(), RunRecord { began: at(7_000_000), ..run("second") }).unwrap();
        let succession = found(&second);
        let Predecessor::OnRecord(before, RunEnd::Stopped) = &succession.before else { panic!("{succession:?}") };
        assert_eq!((before.ephemeral_id.as_str(), before.seen, before.pid), ("first", at(5), std::process::id()));
        assert_eq!(before.binary_sha256.as_ref().map(String::len), Some(64));
        assert_eq!((succession.unwatched_ms(), succession.other_binary()), (Some(6), None));
        assert_eq!(succession.other_configuration(), None);
        drop(second);
    }

    #[test]
    fn a_run_that_says_nothing_more_did_not_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let first = start(path.clone(), run("first")).unwrap();
        first.beats.send(first.sign(at(9), false)).unwrap();
        let Recorder { beats, alive, .. } = first;
        drop(beats);
        assert_eq!(alive.recv_deadline(in_time()), Err(RecvTimeoutError::Disconnected));
        let before = record::read(&path).unwrap().unwrap();
        assert_eq!((before.seen, before.stopped), (at(9), false));
    }

    #[test]
    fn a_run_is_on_record_before_its_program_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, program) = (folder.path().join("run.json"), folder.path().join("program"));
        rustix::fs::mknodat(rustix::fs::CWD, &program, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let held: &'static Path = Box::leak(program.clone().into_boxed_path());
        let recorder = Recorder::start_as(held, path.clone(), run("first")).unwrap();
        let end = in_time();
        while !record::read(&path).is_ok_and(|record| record.is_some_and(|record| record.ephemeral_id == "first")) {
            assert!(Instant::now() < end, "it waits for the program");
            std::thread::yield_now();
        }
        assert_eq!(recorder.succession(), None);
        // Who reads the program comes to its end.
        drop(std::fs::OpenOptions::new().write(true).open(&program).unwrap());
        assert!(recorder.stop(at(5), in_time()));
    }

    #[test]
    fn settings_that_a_run_went_on_with_are_those_that_its_successor_compares() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let with = |sha256: &str| RunRecord { configuration_sha256: sha256.to_owned(), ..run("a run") };
        let mut first = start(path.clone(), with("old")).unwrap();
        first.follow("new".to_owned());
        assert!(first.stop(at(5), in_time()));

        for (sha256, other) in [("new", None), ("old", Some(("new", "old")))] {
            let next = start(path.clone(), with(sha256)).unwrap();
            assert_eq!(found(&next).other_configuration(), other);
            assert!(next.stop(at(6), in_time()));
        }
    }

    #[test]
    fn a_record_that_cannot_be_written_is_counted_and_hinders_nobody() {
        let recorder = start(PathBuf::from("/proc/nowhere/run.json"), run("first")).unwrap();
        found(&recorder);
        recorder.beat(at(1));
        recorder.beat(at(2));
        assert!(!recorder.stop(at(3), in_time()));
    }
}
