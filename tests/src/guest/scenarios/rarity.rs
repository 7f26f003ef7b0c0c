//! What is rare, on one host and in a fleet. Each scenario has daemons of its own, which count.

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    mount::{MountFlags, UnmountFlags, mount, unmount},
};
use serde_json::json;

use crate::{
    document::Document,
    module_file::{Image, fixture},
    process::{become_analyst, forked, program},
    sensor::{PROGRAM, Sensor},
    stage::Stage,
};

const BUSYBOX: &str = "/usr/bin/busybox";
/// Events of a moment ago are on disk by then: the interval, and room for an emulated machine.
const SYNCED: Duration = Duration::from_secs(20);

fn counting(stage: &Stage, name: &str, settings: &str) -> Sensor {
    let settings = format!("[rarity]\npath = \"/tmp/{name}/prevalence.redb\"\n{settings}");
    Sensor::start_set(stage.hooks, &["--events"], name, &settings, &[])
}

/// A program puts a file there, which is closed.
fn put(content: &[u8], path: &str) -> u32 {
    forked(|| {
        fs::write(path, content).expect("write a module");
        Ok(())
    })
    .succeeded()
    .pid
}

fn created(sensor: &Sensor, pid: u32, path: &str) -> Document {
    sensor.expect(&format!("{path} made by process {pid}"), |document| {
        document.text("event.action") == "created-kernel-module-file"
            && document.text("file.path") == path
            && document.is_by(pid)
    })
}

/// The figures of a host that counts alone.
fn on_this_host(rare: bool, count: u64) -> serde_json::Value {
    json!({ "lkm_monitor": { "rarity": {
        "rare": rare, "count": count, "agents": 1, "window_days": 30, "scope": "host", "seen_before": count > 1,
        "fleet_unreachable": null, "unknown": null,
    } } })
}

pub(super) fn files(stage: &mut Stage) {
    let mut sensor = counting(stage, "files", "");
    let image = Image::of("dummy").0;
    let again = |content: &[u8]| {
        let pid = put(content, "/tmp/x.ko");
        let document = created(&sensor, pid, "/tmp/x.ko");
        fs::remove_file("/tmp/x.ko").expect("remove the module");
        document
    };
    let first = again(&image);
    first.contains(on_this_host(true, 1)).has_findings(&["module-file-created"]);
    let reason = first.text("event.reason");
    assert!(reason.ends_with("; the first such event on this host in 30 days"), "{reason}");
    again(&image).contains(on_this_host(false, 2)).has_findings(&[]);
    let other = [image.as_slice(), b"x"].concat();
    again(&other).contains(on_this_host(true, 1)).has_findings(&["module-file-created"]);
    again(&other).contains(on_this_host(false, 2)).has_findings(&[]);
    again(&image).contains(on_this_host(false, 3)).has_findings(&[]);

    // What cannot be read may be anything, each time.
    for _ in 0..2 {
        let pid = forked(|| {
            fs::write("/tmp/gone.ko", &image).expect("write a module");
            fs::remove_file("/tmp/gone.ko").expect("remove the module");
            Ok(())
        })
        .succeeded()
        .pid;
        let document = created(&sensor, pid, "/tmp/gone.ko");
        document.contains(json!({ "lkm_monitor": { "rarity": { "rare": true, "not_all_known": true } } }));
        assert!(document.text("event.reason").ends_with(", and not all of it could be read"), "{}", document.value());
    }

    // A kernel that is upgraded has the same files in another place.
    let module = "kernel/drivers/net/lkm_rare.ko";
    let installed = |release: &str| {
        let path = format!("/usr/lib/modules/{release}/{module}");
        fs::create_dir_all(path.rsplit_once('/').expect("a folder").0).expect("make a folder");
        let document = created(&sensor, put(&image, &path), &path);
        fs::remove_dir_all(format!("/usr/lib/modules/{release}")).expect("remove the tree");
        document
    };
    installed("9.1.0-test").contains(on_this_host(true, 1));
    installed("9.2.0-test").contains(on_this_host(false, 2)).has_findings(&[]);
    assert_eq!(fs::metadata("/tmp/files/prevalence.redb").expect("the store is there").mode() & 0o777, 0o600);
    sensor.stop();
}

/// What was done so that the next one like it is no news.
pub(super) fn groups_that_were_warmed(stage: &mut Stage) {
    let mut sensor = counting(stage, "warmed", "");
    let image = Image::of("dummy").0;
    let analyst = forked(|| {
        become_analyst();
        fs::write("/tmp/w.ko", &image).expect("write a module");
        Ok(())
    })
    .succeeded();
    created(&sensor, analyst.pid, "/tmp/w.ko").contains(on_this_host(true, 1));
    fs::remove_file("/tmp/w.ko").expect("remove the module");
    let by_root = created(&sensor, put(&image, "/tmp/w.ko"), "/tmp/w.ko");
    by_root
        .contains(json!({ "lkm_monitor": { "rarity": { "rare": true, "count": 2, "seen_before": false } } }))
        .has_findings(&["module-file-created"]);

    // The daemon looks at the name when the bytes may be others again.
    fs::write("/tmp/q.bin", Image::of("brd").0).expect("write a file");
    let exchanger = forked(|| {
        for _ in 0..2 {
            renameat_with(CWD, "/tmp/w.ko", CWD, "/tmp/q.bin", RenameFlags::EXCHANGE)?;
        }
        Ok(())
    })
    .succeeded();
    let exchanged = |document: &Document| {
        document.text("event.action") == "exchanged-kernel-module-file"
            && document.text("file.path") == "/tmp/w.ko"
            && document.is_by(exchanger.pid)
    };
    sensor
        .expect("the exchange", exchanged)
        .contains(json!({ "lkm_monitor": { "rarity": { "rare": true, "not_all_known": true } } }))
        .has_findings(&["module-file-created"]);

    // Two command lines that differ behind what is kept of them.
    let long = format!("{}insmod", "/".repeat(5000));
    for (name, count) in [("dummy", 1), ("brd", 2)] {
        let script = format!("exec -a {long} /usr/bin/kmod /fixtures/{name}.ko");
        let insmod = program(BUSYBOX, ["sh", "-c", &script]).succeeded();
        let ran =
            |document: &Document| document.text("event.action") == "ran-module-tool" && document.is_by(insmod.pid);
        sensor
            .expect("the run", ran)
            .contains(json!({ "lkm_monitor": { "rarity": { "rare": true, "count": count, "not_all_known": true } } }));
        program("/sbin/rmmod", [name]).succeeded();
    }
    sensor.stop();
}

pub(super) fn loads_and_runs(stage: &mut Stage) {
    let mut sensor = counting(stage, "loads", "");
    let path = fixture("dummy");
    let path = path.to_str().expect("plain path");
    let round = |rare: bool, count: u64| {
        let insmod = program("/sbin/insmod", [path]).succeeded();
        let load = sensor.expect("the load", |document| document.is_load() && document.is_by(insmod.pid));
        load.contains(on_this_host(rare, count)).contains(json!({
            "file": { "hash": { "sha256": crate::expected::sha256(&Image::of("dummy").0) } },
            "lkm_monitor": { "load": { "content": "read" } },
        }));
        assert_eq!(load.findings().contains(&"rare-module"), rare, "{}", load.value());
        let ran =
            |document: &Document| document.text("event.action") == "ran-module-tool" && document.is_by(insmod.pid);
        let run = sensor.expect("the run", ran);
        run.contains(on_this_host(rare, count)).has_findings(if rare { &["rare-module-tool-run"] } else { &[] });
        program("/sbin/rmmod", ["dummy"]).succeeded();
    };
    round(true, 1);
    round(false, 2);
    // A run that asks nothing of the kernel does not count.
    let listing = program("/sbin/modprobe", ["-n", "dummy"]).succeeded();
    let ran = |document: &Document| document.text("event.action") == "ran-module-tool" && document.is_by(listing.pid);
    sensor.expect("the dry run", ran).contains(json!({ "lkm_monitor": { "rarity": null } })).has_findings(&[]);
    // Nor does what a user may not do.
    let analyst = forked(|| {
        become_analyst();
        let status = std::process::Command::new("/sbin/insmod").arg(path).status().expect("run insmod");
        assert!(!status.success(), "the kernel forbids it");
        Ok(())
    })
    .succeeded();
    let ran = |document: &Document| {
        document.text("event.action") == "ran-module-tool"
            && document.number("process.parent.pid") == Some(u64::from(analyst.pid))
    };
    sensor.expect("the forbidden run", ran).contains(json!({ "lkm_monitor": { "rarity": null } })).has_findings(&[]);
    // The same name, other bytes.
    Image::of("dummy").unsigned().write("/tmp/dummy.ko");
    let insmod = program("/sbin/insmod", ["/tmp/dummy.ko"]).succeeded();
    let load = sensor.expect("the load", |document| document.is_load() && document.is_by(insmod.pid));
    load.contains(on_this_host(true, 1));
    assert!(load.findings().contains(&"rare-module"), "{}", load.value());
    program("/sbin/rmmod", ["dummy"]).succeeded();
    sensor.stop();
}

/// What was counted before a kill is known afterwards, but for what was not yet written.
pub(super) fn after_a_kill(stage: &mut Stage) {
    let mut sensor = counting(stage, "killed", "");
    let image = Image::of("dummy").0;
    let once = |sensor: &Sensor, path: &str| {
        let pid = put(&image, path);
        let document = created(sensor, pid, path);
        fs::remove_file(path).expect("remove the module");
        document
    };
    once(&sensor, "/tmp/x.ko").contains(on_this_host(true, 1));
    once(&sensor, "/tmp/x.ko").contains(on_this_host(false, 2));
    let store = "/tmp/killed/prevalence.redb";
    let end = Instant::now() + SYNCED;
    while hunt(store) != ["/tmp/x.ko,/init,2,1"] {
        assert!(Instant::now() < end, "not all was written: {:?}", hunt(store));
        rustix::thread::sched_yield();
    }
    sensor.kill();
    let mut sensor = counting(stage, "killed", "");
    let known = once(&sensor, "/tmp/x.ko");
    known.contains(on_this_host(false, 3)).has_findings(&[]);
    once(&sensor, "/tmp/y.ko").contains(on_this_host(true, 1));
    sensor.stop();
}

/// The rows of the hunt for files in a store, without header and times.
fn hunt(store: &str) -> Vec<String> {
    let rows = program(PROGRAM, ["hunt", "files", "--store", store, "--format", "csv"]).succeeded().output;
    rows.lines().skip(1).map(|row| row.splitn(5, ',').take(4).collect::<Vec<_>>().join(",")).collect()
}

/// A disk that takes no more costs no alert.
pub(super) fn on_a_full_disk(stage: &mut Stage) {
    fs::create_dir("/tmp/full").expect("make a folder");
    mount("tmpfs", "/tmp/full", "tmpfs", MountFlags::empty(), c"size=4m").expect("mount a small disk");
    let mut sensor = counting(stage, "full", "");
    while fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open("/tmp/full/ballast")
        .and_then(|mut file| std::io::Write::write_all(&mut file, &[0; 4096]))
        .is_ok()
    {}
    let image = Image::of("dummy").0;
    let again = || {
        let document = created(&sensor, put(&image, "/tmp/x.ko"), "/tmp/x.ko");
        fs::remove_file("/tmp/x.ko").expect("remove the module");
        document
    };
    again().has_findings(&["module-file-created"]).contains(on_this_host(true, 1));
    sensor.says("the prevalence store cannot be used");
    again().contains(on_this_host(false, 2));
    fs::remove_file("/tmp/full/ballast").expect("make room");
    sensor.says("the prevalence store can be used again");
    again().contains(on_this_host(false, 3));
    sensor.stop();
    assert_eq!(hunt("/tmp/full/prevalence.redb").len(), 1);
    unmount("/tmp/full", UnmountFlags::empty()).expect("unmount the small disk");
}

/// A real server, which has on disk what it has confirmed.
struct Redis(Child);

const PORT: &str = "6379";

impl Redis {
    fn start() -> Self {
        let loopback = program(BUSYBOX, ["ip", "link", "set", "lo", "up"]);
        assert_eq!(loopback.status, 0, "{}", loopback.output);
        fs::create_dir_all("/tmp/redis").expect("make a folder");
        let child = Command::new("/usr/bin/redis-server")
            .args(["--bind", "127.0.0.1", "--port", PORT, "--dir", "/tmp/redis"])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--requirepass", "hush"])
            .stdout(Stdio::null())
            .spawn()
            .expect("start redis-server");
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", 6379)).is_err() {
            assert!(Instant::now() < end, "redis-server does not listen");
            rustix::thread::sched_yield();
        }
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().expect("kill redis-server");
        self.0.wait().expect("wait for redis-server");
    }
}

/// A daemon that takes itself for one of another host: its machine id is another one.
fn agent(stage: &Stage, number: usize) -> Sensor {
    let name = format!("agent-{number}");
    fs::write(format!("/run/{name}.id"), format!("{number:032x}\n")).expect("write a machine id");
    let settings = format!(
        "[rarity]\nstore = \"redis\"\npath = \"/tmp/{name}/prevalence.redb\"\n[rarity.redis]\naddresses = \
         [\"redis://127.0.0.1:{PORT}\"]\npassword_file = \"/run/redis.password\"\ndeadline_ms = 10000\n"
    );
    let script = format!("mount -o bind /run/{name}.id /etc/machine-id && exec \"$@\"");
    let wrapper = [BUSYBOX, "unshare", "-m", BUSYBOX, "sh", "-c", &script, "sh"];
    let sensor = Sensor::start_set(stage.hooks, &["--events"], &name, &settings, &wrapper);
    sensor.says("the fleet's store is reached");
    sensor
}

/// Four agents see the same new file. The server is killed in between.
pub(super) fn of_a_fleet(stage: &mut Stage) {
    fs::write("/run/redis.password", "hush\n").expect("write the password");
    fs::set_permissions("/run/redis.password", fs::Permissions::from_mode(0o600)).expect("close the password");
    let redis = Redis::start();
    let mut agents: Vec<Sensor> = (1..=4).map(|number| agent(stage, number)).collect();
    let image = Image::of("dummy").0;
    let seen_by_all = |agents: &[Sensor], path: &str| -> Vec<Document> {
        let pid = put(&image, path);
        agents.iter().map(|agent| created(agent, pid, path)).collect()
    };
    let standings = |documents: &[Document]| {
        let mut standings: Vec<_> = documents
            .iter()
            .map(|document| {
                let rarity = document.at("lkm_monitor.rarity");
                let number = |field: &str| rarity[field].as_u64().unwrap_or_default();
                (number("count"), number("agents"), document.is_alert(), rarity["scope"].to_string())
            })
            .collect();
        standings.sort();
        standings
    };
    let fleet = |count: u64, alert: bool| (count, count, alert, "\"fleet\"".to_owned());
    let first = seen_by_all(&agents, "/tmp/x.ko");
    assert_eq!(standings(&first), [fleet(1, true), fleet(2, true), fleet(3, true), fleet(4, false)]);
    let ids: std::collections::BTreeSet<_> =
        first.iter().map(|document| document.text("agent.id").to_owned()).collect();
    assert_eq!(ids.len(), 4, "each is an agent of its own");
    let reasons: Vec<_> = first.iter().map(|document| document.text("event.reason")).collect();
    assert!(reasons.iter().any(|reason| reason.ends_with("; 2 such events on 2 agents of the fleet in 30 days")));

    redis.kill();
    let alone = seen_by_all(&agents, "/tmp/y.ko");
    for document in &alone {
        document.contains(json!({ "event": { "kind": "alert" }, "lkm_monitor": { "rarity": {
            "scope": "host", "count": 1, "fleet_unreachable": true,
        } } }));
        let reason = document.text("event.reason");
        assert!(reason.ends_with("; the fleet's store did not answer"), "{reason}");
    }
    // One of the agents ends before the server is back.
    agents[0].stop();
    let redis = Redis::start();
    agents[0] = agent(stage, 1);
    for agent in &agents[1..] {
        agent.says_times("the fleet's store is reached", 2);
    }
    // What was missed counts: four agents have seen it, and so the file is common now.
    let mut late: Vec<Vec<(u64, u64, bool, String)>> = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while late.last().is_none_or(|last| last.iter().any(|(_, agents, ..)| *agents != 4)) {
        assert!(Instant::now() < end, "{late:?}");
        fs::remove_file("/tmp/y.ko").expect("remove the module");
        late.push(standings(&seen_by_all(&agents, "/tmp/y.ko")));
    }
    let rounds = late.len() as u64;
    let last = late.pop().expect("a round");
    assert_eq!(last.last().expect("four").0, 4 + 4 * rounds, "nothing is missing, nothing counts twice");
    assert!(last.iter().all(|(.., alert, _)| !alert));

    agents.iter_mut().for_each(Sensor::stop);
    redis.kill();
}
