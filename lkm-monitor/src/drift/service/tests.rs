use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::model::{RunEnd, RunRecord, Subject};

/// A host of its own: its root, and where the record is.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(host.root().join("proc/sys/kernel")).unwrap();
        fs::create_dir_all(host.conf()).unwrap();
        host.set("proc/modules", "a 10 0 - Live 0x0\n");
        host.set("proc/sys/kernel/tainted", "4097\n");
        host
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("root")
    }

    /// Files are found by their path on this machine.
    fn conf(&self) -> PathBuf {
        self.root().join("modprobe.d")
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    fn set(&self, path: &str, content: &str) {
        fs::write(self.root().join(path), content).unwrap();
    }

    fn start(&self) -> Run {
        self.start_as("agent")
    }

    fn start_as(&self, agent_id: &str) -> Run {
        let settings = Settings {
            path: self.record(),
            root: self.root(),
            agent_id: agent_id.to_owned(),
            boot_id: "b".to_owned(),
            kernel_release: "6.1.0".to_owned(),
        };
        let conf = self.conf().to_str().unwrap().to_owned();
        let subjects = Subjects {
            folders: vec![conf],
            files: Vec::new(),
            subject: Arc::new(|path| {
                (!path.starts_with(b"/lib") && !path.starts_with(b"/usr")).then_some(Subject::Modprobe)
            }),
            selected: crate::model::Selected::default(),
        };
        Run { service: Service::start(settings).unwrap(), subjects, since: crate::inspect::now() }
    }
}

struct Run {
    service: Service,
    subjects: Subjects,
    since: Moment,
}

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

impl Run {
    /// Looks and compares, after a run that ended so.
    fn compare(&self, before: Predecessor) -> StateReport {
        assert!(self.service.look(self.subjects.clone()));
        let Found::Looked { .. } = self.service.found.recv_deadline(in_time()).unwrap() else { panic!("it looked") };
        let succession = Some(Box::new(Succession { this: RunRecord::default(), before }));
        let watch = Watch::of_this_run(self.since, false, false);
        assert!(self.service.compare(Question { seen: Seen::default(), watch, succession }));
        let Found::Compared(report) = self.service.found.recv_deadline(in_time()).unwrap() else {
            panic!("it compared")
        };
        *report
    }

    fn settle(&self) {
        assert!(self.service.settle(Seen::default()));
    }

    fn stop(self) {
        assert!(self.service.stop(Seen::default(), in_time()));
    }
}

/// A run of five minutes.
fn ended() -> Predecessor {
    let at = crate::drift::samples::at;
    Predecessor::OnRecord(Box::new(RunRecord { began: at(0), seen: at(300), ..RunRecord::default() }), RunEnd::Stopped)
}

fn told(report: &StateReport) -> Vec<String> {
    let name = |drift: &Drift| match &drift.what {
        Drifted::ModuleLoaded { name, .. } => format!("loaded {name}"),
        Drifted::File { path, before, now } => {
            let name = Path::new(path).file_name().unwrap().to_str().unwrap();
            format!("{name} {}{}", u8::from(before.is_some()), u8::from(now.is_some()))
        }
        Drifted::Record(loss) => format!("{loss:?}"),
        other => format!("{other:?}"),
    };
    report.drifts.iter().map(name).collect()
}

#[test]
fn the_first_look_ever_tells_nothing_and_is_what_the_next_is_compared_with() {
    let host = Host::new();
    let run = host.start();
    let report = run.compare(Predecessor::NotOnRecord);
    assert!(report.is_first && report.drifts.is_empty(), "{report:?}");
    assert_eq!(report.state.taints, Some(4097));
    run.settle();
    let report = run.compare(Predecessor::NotOnRecord);
    assert!(!report.is_first && report.drifts.is_empty(), "{report:?}");
    run.stop();
    assert!(host.record().exists());
}

#[test]
fn what_changed_while_the_daemon_did_not_run_is_told_once() {
    let host = Host::new();
    for name in ["edited", "removed"] {
        host.set(&format!("modprobe.d/{name}"), "a");
    }
    let run = host.start();
    run.compare(Predecessor::NotOnRecord);
    run.settle();
    run.stop();
    host.set("modprobe.d/edited", "b");
    host.set("modprobe.d/created", "b");
    fs::remove_file(host.conf().join("removed")).unwrap();
    host.set("proc/modules", "a 10 0 - Live 0x0\nnew 20 0 - Live 0x0\n");

    let all = ["loaded new", "created 01", "edited 11", "removed 10"];
    let run = host.start();
    let report = run.compare(ended());
    assert_eq!(told(&report), all);
    let windows: Vec<_> =
        report.drifts.iter().map(|drift| (drift.unseen, drift.window.not_after == run.since)).collect();
    assert_eq!(windows, [(Unseen::NotRunning, true); 4]);
    // It could not be told: the next run finds it again.
    run.stop();
    let run = host.start();
    assert_eq!(told(&run.compare(ended())), all);
    run.settle();
    assert_eq!(told(&run.compare(ended())), Vec::<String>::new());
    run.stop();
    let run = host.start();
    assert_eq!(told(&run.compare(ended())), Vec::<String>::new());
}

#[test]
fn what_a_run_saw_that_had_no_time_to_look_is_on_record() {
    let host = Host::new();
    let run = host.start();
    run.compare(Predecessor::NotOnRecord);
    run.settle();
    run.stop();
    let first = record::read(&host.record()).unwrap().unwrap();
    let load = |name: &str| {
        let mut call = crate::model::samples::load();
        call.module.name = Some(crate::model::Bytes::whole(name));
        let mut seen = Seen::default();
        assert!(seen.note_call(&call));
        seen
    };
    host.set("proc/modules", "a 10 0 - Live 0x0\nseen 20 0 - Live 0x0\n");
    assert!(host.start().service.stop(load("seen"), in_time()));
    let left = record::read(&host.record()).unwrap().unwrap();
    assert_eq!((left.watched_until, left.later.len()), (first.watched_until, 1), "somebody watched until then");
    let report = host.start().compare(ended());
    assert_eq!((told(&report), report.explained), (vec![], 1));
    for _ in 0..2 * MAX_LATER {
        assert!(host.start().service.stop(load("x"), in_time()));
    }
    assert_eq!(record::read(&host.record()).unwrap().unwrap().later.len(), MAX_LATER);
}

#[test]
fn a_record_that_is_gone_is_told_if_there_was_a_run_that_kept_one() {
    let host = Host::new();
    let loss = |before| told(&host.start().compare(before));
    assert_eq!(loss(ended()), ["Gone { kept_one: true }"]);
    let other = RunRecord { configuration_sha256: "other".to_owned(), ..RunRecord::default() };
    let other = Predecessor::OnRecord(Box::new(other), RunEnd::Killed);
    assert_eq!(loss(other), ["Gone { kept_one: false }"]);
    let short = Predecessor::OnRecord(Box::default(), RunEnd::Killed);
    assert_eq!(loss(short), ["Gone { kept_one: false }"], "it had no time to look");
    assert_eq!(loss(Predecessor::Unreadable("torn".to_owned())), ["Gone { kept_one: false }"]);
    assert_eq!(loss(Predecessor::NotOnRecord), Vec::<String>::new());
}

#[test]
fn a_damaged_record_is_told_and_put_aside() {
    let host = Host::new();
    fs::write(host.record(), "{").unwrap();
    let run = host.start();
    let report = run.compare(ended());
    let [Drifted::Record(RecordLoss::Damaged(reason))] = [&report.drifts[0].what] else { panic!("{report:?}") };
    assert!(reason.contains("no state") && reason.contains("state.json.damaged"), "{reason}");
    assert_eq!(fs::read(host.folder.path().join("state.json.damaged")).unwrap(), b"{");
    run.settle();
    run.stop();
    assert_eq!(told(&host.start().compare(ended())), Vec::<String>::new());
}

#[test]
fn the_record_of_another_host_is_compared_with_nothing() {
    let host = Host::new();
    let run = host.start_as("another");
    run.compare(Predecessor::NotOnRecord);
    run.settle();
    run.stop();
    host.set("modprobe.d/new", "b");
    let report = host.start().compare(ended());
    assert_eq!(told(&report), ["OtherHost(\"another\")"]);
    assert!(report.is_first);
}

#[test]
fn a_record_that_cannot_be_written_is_counted() {
    let host = Host::new();
    fs::create_dir(host.folder.path().join("state.json.new")).unwrap();
    let run = host.start();
    run.compare(Predecessor::NotOnRecord);
    run.settle();
    assert!(!run.service.stop(Seen::default(), in_time()));
}

#[test]
fn what_the_run_before_watched_to_is_the_later_of_two_moments() {
    let at = crate::drift::samples::at;
    let after = |began, seen| {
        let before = RunRecord { began, seen, boot_id: "b".to_owned(), ..RunRecord::default() };
        Succession { this: RunRecord::default(), before: Predecessor::OnRecord(Box::new(before), RunEnd::Killed) }
    };
    let record = crate::drift::samples::record();
    let until = |succession: &Succession| watched_until(&record, Some(succession));
    assert_eq!(until(&after(at(50), at(170))), at(170));
    assert_eq!(until(&after(at(50), at(60))), at(160));
    assert_eq!(until(&after(at(165), at(170))), at(160), "that run had not looked");
    let set_back = Moment { unix_ms: 0, ..at(170) };
    assert_eq!(until(&after(at(50), set_back)), set_back, "the clock since boot counts");
    let mut other_boot = after(at(50), at(170));
    let Predecessor::OnRecord(run, _) = &mut other_boot.before else { unreachable!() };
    run.boot_id = "c".to_owned();
    assert_eq!(until(&other_boot), at(160));
    assert_eq!(watched_until(&record, None), at(160));
}
