//! Images that are kept, because alerts are about them. Each scenario has a daemon of its own, which keeps them where no other does.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    system::{delete_module, finit_module, init_module},
};
use serde_json::{Value, json};

use super::{LOW, finding, package::Package, whole};
use crate::{
    document::Document,
    expected::sha256,
    module_file::{Image, fixture, installed},
    process::{Ended, forked, program},
    sensor::{PROGRAM, Sensor},
    stage::Stage,
};

/// How long what was handed over may take to be on the disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// The evidence of one daemon, and who looks at it.
struct Kept(PathBuf);

impl Kept {
    /// Below a folder that is there.
    fn below(folder: &str) -> Self {
        fs::create_dir_all(folder).expect("make a folder");
        Self(Path::new(folder).join("evidence"))
    }

    /// A daemon that keeps its evidence there. Of its settings what is about the sensor, and about rarity.
    fn by_daemon(&self, stage: &Stage, name: &str, sensor: &str, rarity: &str) -> Sensor {
        // What is about the sensor comes first: its table is begun already.
        let settings = format!(
            "{sensor}\n[heartbeat]\nrun_record = \"/run/{name}.json\"\n[rarity]\n{rarity}\n[evidence]\npath = \"{}\"\n\
             min_free_bytes = 0\n",
            self.0.display()
        );
        Sensor::start_set(stage.hooks, &["--events"], name, &settings, &[])
    }

    fn asked(&self, words: &[&str]) -> Ended {
        let folder = self.0.to_str().expect("plain path");
        program(PROGRAM, [&["evidence"], words, &["--folder", folder]].concat())
    }

    /// What `evidence list --json` says of each image.
    fn listed(&self) -> Vec<Value> {
        let list = self.asked(&["list", "--json"]).succeeded().output;
        let objects = list.lines().filter(|line| line.starts_with('{'));
        objects.map(|line| serde_json::from_str(line).expect("an object in each line")).collect()
    }

    /// What it says of this image when that is on record with so many loads, and in its file.
    fn with_loads(&self, image: &[u8], loads: u64) -> Value {
        let (hash, end) = (sha256(image), Instant::now() + PATIENCE);
        loop {
            let listed = self.listed();
            let is_wanted = |object: &&Value| object["sha256"] == hash && object["loads"] == loads;
            if let Some(object) = listed.iter().find(is_wanted).filter(|object| object["image_error"].is_null()) {
                return object.clone();
            }
            assert!(Instant::now() < end, "{hash} is not there with {loads} loads: {listed:?}");
            rustix::thread::sched_yield();
        }
    }

    fn file(&self, image: &[u8]) -> PathBuf {
        self.0.join(sha256(image) + ".evidence")
    }

    /// Hashes of the images that have files.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("list the evidence");
        let names = entries.map(|entry| entry.expect("list the evidence").file_name().to_string_lossy().into_owned());
        names.filter_map(|name| Some(name.strip_suffix(".evidence")?.to_owned())).collect()
    }
}

fn is_kept(kept: bool) -> Value {
    json!({ "lkm_monitor": { "image": { "kept": if kept { json!(true) } else { Value::Null } } } })
}

/// A process loads this from its memory, and it is unloaded again.
fn load_from_memory(sensor: &Sensor, image: &[u8]) -> Document {
    let loader = forked(|| init_module(image, c"")).succeeded();
    delete_module(c"dummy", 0).expect("unload it");
    let document = sensor.expect("the load", |document| document.is_load() && document.is_by(loader.pid));
    document.contains(whole(image)).has_findings(&["load-from-memory", "unusual-loader"]);
    document
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("look at the evidence").permissions().mode() & 0o7777
}

pub(in super::super) fn of_memory(stage: &mut Stage) {
    let kept = Kept::below("/tmp/kept");
    let mut sensor = kept.by_daemon(stage, "kept", "", "enabled = false");
    let image = Image::of("dummy").0;
    let hash = sha256(&image);
    let first = load_from_memory(&sensor, &image);
    first.contains(is_kept(true));
    let object = kept.with_loads(&image, 1);
    let load = &object["shown_loads"][0];
    assert_eq!(
        (&object["size"], &object["kept_bytes"], &object["whole"], &object["record_error"]),
        (&json!(image.len()), &json!(image.len()), &json!(true), &Value::Null),
    );
    assert_eq!(
        (&load["event_id"], &load["pid"], &load["module_name"], &load["path"], &load["user"]),
        (first.at("event.id"), first.at("process.pid"), &json!("dummy"), &Value::Null, &json!("root")),
        "{object}"
    );
    assert_eq!(load["rules"].as_array().map(Vec::len), Some(2), "{object}");
    let table = kept.asked(&["list"]).succeeded().output;
    let row = table.lines().find(|line| line.contains(&hash[..16])).unwrap_or_else(|| panic!("{hash}: {table}"));
    assert!(row.contains("whole") && row.contains("dummy"), "{row}");

    // Nobody but root gets at it, and nobody loads it by mistake.
    assert_eq!((mode(&kept.0), mode(&kept.file(&image))), (0o700, 0o600));
    assert_eq!(mode(&kept.0.join(format!("{hash}.json"))), 0o600);
    kept.asked(&["export", &hash[..16], "--to", "/tmp/kept/exported.ko"]).succeeded();
    assert_eq!(fs::read("/tmp/kept/exported.ko").expect("read the image"), image);
    assert_eq!(mode(Path::new("/tmp/kept/exported.ko")), 0o600);
    kept.asked(&["verify"]).succeeded();

    // The same once more is on record, and in the file that is there.
    let inode = |path: &Path| fs::metadata(path).expect("look at the evidence").ino();
    let before = inode(&kept.file(&image));
    load_from_memory(&sensor, &image).contains(is_kept(true));
    let object = kept.with_loads(&image, 2);
    assert_ne!(object["shown_loads"][0]["event_id"], object["shown_loads"][1]["event_id"]);
    assert_eq!((kept.files(), inode(&kept.file(&image))), (vec![hash.clone()], before));

    // Whoever changes it is found out, and the next load brings it back.
    let stored = OpenOptions::new().read(true).write(true).open(kept.file(&image)).expect("open the evidence");
    let middle = stored.metadata().expect("look at the evidence").len() / 2;
    let mut byte = [0];
    stored.read_exact_at(&mut byte, middle).expect("read a byte");
    stored.write_all_at(&[byte[0] ^ 1], middle).expect("flip a bit");
    drop(stored);
    let verified = kept.asked(&["verify"]).failed_with(1).output;
    assert!(verified.contains(&format!("{hash}: the image: ")), "{verified}");
    let refused = kept.asked(&["export", &hash, "--to", "/tmp/kept/changed.ko"]);
    assert!(refused.status != 0 && !Path::new("/tmp/kept/changed.ko").exists(), "{}", refused.output);
    load_from_memory(&sensor, &image);
    sensor.says("evidence was tampered with, and is written anew");
    kept.with_loads(&image, 3);
    kept.asked(&["verify"]).succeeded();
    sensor.stop();
    assert_eq!(kept.files(), std::slice::from_ref(&hash));

    let stored = kept.file(&image);
    program("/sbin/insmod", [&stored]).failed_with(1);
    let file = File::open(&stored).expect("open the evidence");
    forked(|| finit_module(&file, c"", 0)).failed_with(libc::ENOEXEC);
}

/// Of an image that is longer than is wanted, the first part is captured and kept.
pub(in super::super) fn of_a_first_part(stage: &mut Stage) {
    const WANTED_BYTES: usize = 40_000;
    let kept = Kept::below("/tmp/part");
    let mut sensor = kept.by_daemon(stage, "part", &format!("image_bytes = {WANTED_BYTES}"), "enabled = false");
    let path = fixture("overlay");
    let image = Image::of("overlay").0;
    let part = &image[..WANTED_BYTES];
    let insmod = program("/sbin/insmod", [&path]).succeeded();
    delete_module(c"overlay", 0).expect("unload it");
    let document = sensor.expect("the load", |document| document.is_load() && document.is_by(insmod.pid));
    document
        .contains(json!({ "lkm_monitor": {
            "image": { "extent": "first-part", "captured_bytes": WANTED_BYTES, "sha256": null, "kept": true },
            "load": { "image_bytes": image.len() },
        } }))
        .has_findings(&["incomplete-load", "load-from-nonstandard-path"]);
    let (severity, reason) = finding(&document, "incomplete-load");
    assert_eq!(severity, LOW, "{reason}");
    assert!(reason.ends_with("; of this load the sensor lacks the rest of a long image"), "{reason}");

    let object = kept.with_loads(part, 1);
    assert_eq!(
        (&object["size"], &object["kept_bytes"], &object["whole"], &object["shown_loads"][0]["event_id"]),
        (&json!(image.len()), &json!(WANTED_BYTES), &json!(false), document.at("event.id")),
        "{object}"
    );
    let exported = kept.asked(&["export", &sha256(part), "--to", "/tmp/part/exported"]).succeeded().output;
    assert!(exported.contains("only the first part of the image was kept"), "{exported}");
    assert_eq!(fs::read("/tmp/part/exported").expect("read the image"), part);
    kept.asked(&["verify"]).succeeded();
    sensor.stop();
}

/// What a package brought and a key signed is known from there: an alert on it, here that it is rare, keeps nothing.
pub(in super::super) fn of_what_nobody_vouches_for(stage: &mut Stage) {
    let kept = Kept::below("/tmp/vouched");
    let mut sensor = kept.by_daemon(stage, "vouched", "", "path = \"/tmp/vouched/prevalence.redb\"");
    let (vouched, other) = (Image::of("nls_ascii").0, Image::of("nls_cp437").0);
    let package = Package::of(&installed("nls_ascii"), &vouched);
    let load = |module: &str| {
        let insmod = program("/sbin/insmod", [installed(module)]).succeeded();
        let document = sensor.expect("the load", |document| document.is_load() && document.is_by(insmod.pid));
        program("/sbin/rmmod", [module]).succeeded();
        document
    };
    load("nls_ascii").contains(whole(&vouched)).contains(is_kept(false)).has_findings(&["rare-module"]);
    load("nls_cp437").contains(whole(&other)).contains(is_kept(true)).has_findings(&["rare-module"]);
    kept.with_loads(&other, 1);
    // No alert, no evidence.
    load("nls_cp437").contains(is_kept(false)).has_findings(&[]);
    sensor.stop();
    drop(package);
    assert_eq!(kept.files(), [sha256(&other)]);
    kept.with_loads(&other, 1);
}

/// Where there is no room, a load is told all the same, and that its image is lost.
pub(in super::super) fn on_a_full_disk(stage: &mut Stage) {
    const DISK: &str = "/tmp/disk";
    fs::create_dir(DISK).expect("make a folder");
    mount("tmpfs", DISK, "tmpfs", MountFlags::empty(), c"size=1m,mode=755").expect("mount a small disk");
    let kept = Kept::below(DISK);
    let mut sensor = kept.by_daemon(stage, "disk", "", "enabled = false");
    let image = Image::of("dummy").0;
    fs::write("/tmp/disk/ballast", vec![0; 2 << 20]).expect_err("the disk is full");
    load_from_memory(&sensor, &image);
    let lost = |document: &Document| document.text("lkm_monitor.loss.reason") == "evidence_lost";
    sensor.expect("the loss", lost).contains(json!({ "lkm_monitor": { "loss": { "total": 1 } } }));
    assert_eq!(kept.files(), [""; 0]);

    fs::remove_file("/tmp/disk/ballast").expect("make room");
    load_from_memory(&sensor, &image).contains(is_kept(true));
    kept.with_loads(&image, 1);
    kept.asked(&["verify"]).succeeded();
    sensor.stop();
    assert_eq!(sensor.all_documents().iter().filter(|document| lost(document)).count(), 1);
    unmount(DISK, UnmountFlags::empty()).expect("unmount the small disk");
}
