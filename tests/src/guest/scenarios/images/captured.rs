//! The bytes that the kernel loaded, whatever files and memory hold by then.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    thread,
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    system::{delete_module, finit_module, init_module},
};
use serde_json::json;

use super::{MEDIUM, finding, packed, whole};
use crate::{
    document::Document,
    expected, machine,
    module_file::{Image, fixture, installed, installed_packed},
    process::{fork, forked, program},
    sensor::Sensor,
    stage::Stage,
};

/// Debian's kernels unpack modules from here on.
const UNPACKING: (u32, u32) = (6, 12);
/// Those from here on can be preempted in a probe, and skip it for who comes then.
const PREEMPTIBLE: (u32, u32) = (7, 0);

pub(in super::super) fn of_files(stage: &mut Stage) {
    for module in ["dummy", "overlay"] {
        let path = installed(module);
        let insmod = program("/sbin/insmod", [&path]).succeeded();
        stage.live_load(&insmod, module, &path).contains(whole(&fs::read(&path).expect("read the module")));
    }
}

pub(in super::super) fn unpacked_by_the_tool(stage: &mut Stage) {
    let path = Path::new("/fixtures/dummy.ko.xz");
    let insmod = program("/sbin/insmod", [path]).succeeded();
    is_of_packed(&stage.load_by(insmod.pid), path, "dummy");
}

pub(in super::super) fn found_packed_by_modprobe(stage: &mut Stage) {
    let path = installed_packed("nls_cp850");
    let modprobe = program("/sbin/modprobe", ["nls_cp850"]).succeeded();
    is_of_packed(&stage.load_by(modprobe.pid), &path, "nls_cp850");
}

/// Some versions of kmod unpack a module into memory, others let the kernel do it where it can.
fn is_of_packed(document: &Document, path: &Path, module: &str) {
    let image = Image::of(module);
    document.contains(json!({ "lkm_monitor": { "module": { "name": module } } }));
    if document.text("lkm_monitor.syscall.name") == "finit_module" {
        assert!(machine::kernel_version() >= UNPACKING, "no kernel before can: {}", document.value());
        document
            .contains(expected::live("finit_module"))
            .contains(packed(&fs::read(path).expect("read the packed module"), &image))
            .contains(json!({
                "file": { "path": path },
                "lkm_monitor": { "syscall": { "flag_names": ["MODULE_INIT_COMPRESSED_FILE"] } },
            }));
    } else {
        document.contains(expected::live("init_module")).contains(whole(&image.0)).contains(json!({
            "lkm_monitor": { "image": { "name": module, "compression": null, "unpacked_sha256": null } },
        }));
    }
}

pub(in super::super) fn of_memory(stage: &mut Stage) {
    let image = Image::of("dummy").0;
    let loader = forked(|| init_module(&image, c"")).succeeded();
    stage.load_by(loader.pid).contains(expected::live("init_module")).contains(whole(&image));
    delete_module(c"dummy", 0).expect("unload it");

    let mut file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).expect("make a memfd"));
    file.write_all(&image).expect("fill it");
    let loader = stage.load_in_fork(&file).succeeded();
    stage.load_by(loader.pid).contains(expected::live("finit_module")).contains(whole(&image));
}

/// Whoever opened the file loads what was in it, whatever has its name by then, or is in it a moment later.
pub(in super::super) fn replaced_before_the_load(stage: &mut Stage) {
    let path = Path::new("/tmp/replaced.ko");
    let loaded = Image::of("dummy").unsigned();
    let file = loaded.write(path);
    fs::remove_file(path).expect("remove it");
    Image::of("nls_utf8").write(path);
    let loader = stage.load_in_fork(&file).succeeded();
    stage
        .load_by(loader.pid)
        .contains(json!({ "lkm_monitor": { "module": { "name": "dummy" } } }))
        .contains(whole(&loaded.0));
    delete_module(c"dummy", 0).expect("unload it");

    let file = loaded.write(path);
    stage.sensor.pause();
    let loader = forked(|| {
        finit_module(&file, c"", 0)?;
        fs::write(path, Image::of("nls_utf8").0).expect("write over it");
        Ok(())
    });
    stage.sensor.resume();
    let document = stage.load_by(loader.succeeded().pid);
    document.contains(json!({ "lkm_monitor": { "module": { "name": "dummy" } } })).contains(whole(&loaded.0));
    assert!(document.findings().contains(&"module-file-swapped"), "{}", document.value());
}

/// Ends what another thread does, also when what is done meanwhile fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A thread changes what the module will do while another one has the kernel read it: the hash is that of the bytes that act.
pub(in super::super) fn rewritten_during_the_load(stage: &mut Stage) {
    const FEWEST_LOADS: usize = 20;
    const MOST_LOADS: usize = 400;
    /// Which interface the module makes shows which of the images runs.
    const INTERFACES: [&str; 2] = ["/sys/class/net/dummy0", "/sys/class/net/dumby0"];
    let one = Image::of("dummy").unsigned();
    let other = one.clone().patched_anywhere(b"dummy%d\0", b"dumby%d\0");
    let images = [one.0, other.0];
    let [one, other] = &images;
    let at = one.iter().zip(other).position(|(left, right)| left != right).expect("they differ");
    assert_eq!(one[at + 1..], other[at + 1..], "in one byte");
    let mut buffer = one.clone();
    // SAFETY: a byte of a buffer that lives longer than both threads, which touch it so only.
    let byte = unsafe { AtomicU8::from_ptr(&raw mut buffer[at]) };
    let image: &[u8] = &buffer;
    let load = || {
        init_module(image, c"").expect("load what is in the buffer");
        let shown = INTERFACES.map(|interface| Path::new(interface).exists());
        delete_module(c"dummy", 0).expect("unload it");
        assert_ne!(shown[0], shown[1], "the module makes one interface");
        usize::from(shown[1])
    };
    let is_over = AtomicBool::new(false);
    let acted = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                byte.store(if byte.load(Relaxed) == one[at] { other[at] } else { one[at] }, Relaxed);
            }
        });
        let _end = End(&is_over);
        let mut acted = Vec::new();
        let have_both = |acted: &[usize]| acted.contains(&0) && acted.contains(&1);
        while acted.len() < FEWEST_LOADS || !have_both(&acted) && acted.len() < MOST_LOADS {
            acted.push(load());
        }
        acted
    });
    for (number, interface) in INTERFACES.iter().enumerate() {
        assert!(acted.contains(&number), "{interface} never came of {} loads", acted.len());
    }
    stage.sensor.settle();
    let loads =
        stage.sensor.documents().into_iter().filter(|document| document.is_load() && document.module() == "dummy");
    // By the time of the call. Of two documents on one the second has all.
    let told: BTreeMap<_, _> = loads.map(|document| (document.number("lkm_monitor.call.id"), document)).collect();
    assert_eq!(told.len(), acted.len(), "each load is told");
    for (document, number) in told.values().zip(&acted) {
        document.contains(whole(&images[*number]));
    }
}

pub(in super::super) fn large(stage: &mut Stage) {
    const BYTES: usize = 10 << 20;
    let mut image = Image::of("dummy").unsigned();
    let pattern = (0_u32..).flat_map(|number| number.to_le_bytes());
    let missing = BYTES - image.0.len();
    image.0.extend(pattern.take(missing));
    let loader = stage.load_in_fork(&image.write("/tmp/large.ko")).succeeded();
    stage.load_by(loader.pid).contains(expected::live("finit_module")).contains(whole(&image.0));
}

pub(in super::super) fn twenty_at_once(stage: &mut Stage) {
    let skipped_before = stage.sensor.all_documents().iter().filter_map(skipped).max().unwrap_or(0);
    let letters = || b'a'..=b't';
    let image = |letter: u8| {
        let name = [b"nls_utf", [letter].as_slice()].concat();
        Image::of("nls_utf8").unsigned().patched(".gnu.linkonce.this_module", b"nls_utf8", &name)
    };
    let files: Vec<_> = letters().map(|letter| (image(letter), format!("/tmp/{letter}.ko"))).collect();
    let opened: Vec<_> = files.iter().map(|(image, path)| image.write(path)).collect();
    let forks: Vec<_> = opened.iter().map(|file| fork(|| finit_module(file, c"", 0))).collect();
    let loaders: Vec<_> = forks.into_iter().map(|fork| fork.wait().succeeded()).collect();
    for loader in &loaders {
        stage.load_by(loader.pid);
    }
    // On a busy machine some are told before their init function has returned, and once more afterwards.
    stage.sensor.settle();
    let documents = stage.sensor.documents();
    let mut unseen = 0;
    for (loader, (image, _)) in loaders.iter().zip(&files) {
        let is_of_it = |document: &&Document| document.is_load() && document.is_by(loader.pid);
        let document = documents.iter().rfind(is_of_it).expect("it was there a moment ago");
        if document.lists("lkm_monitor.missing", "image") {
            unseen += 1;
        } else {
            document.contains(whole(&image.0));
        }
    }
    if machine::kernel_version() < PREEMPTIBLE {
        assert_eq!(unseen, 0, "no probe is skipped");
    }
    assert!(unseen < loaders.len() / 2, "most images are seen: {unseen} are not");
    // Each of these is counted.
    if unseen > 0 {
        stage.sensor.expect("the skipped probes", |document| {
            skipped(document).is_some_and(|total| total >= skipped_before + unseen as u64)
        });
    }
}

/// Runs of probes that the kernel has skipped since the daemon started, of a document on that.
fn skipped(document: &Document) -> Option<u64> {
    let is_it = document.text("lkm_monitor.loss.reason") == "probe_skipped";
    document.number("lkm_monitor.loss.total").filter(|_| is_it)
}

/// What there is no room for is not whole, and that is said and counted. The load itself is told whole: its events have a ring of their own.
pub(in super::super) fn more_than_there_is_room_for(stage: &mut Stage) {
    const MODULES: [&str; 4] = ["dummy", "nls_utf8", "romfs", "loop"];
    let settings = "images_ring_bytes = 65536\nimage_bytes = 32768\n[rarity]\nenabled = false\n\
                    [heartbeat]\nrun_record = \"/run/images.json\"\n";
    let mut sensor = Sensor::start_set(stage.hooks, &["--events"], "room", settings, &[]);
    let load_by =
        |sensor: &Sensor, pid| sensor.expect("the load", |document| document.is_load() && document.is_by(pid));
    let insmod = |module| program("/sbin/insmod", [&fixture(module)]).succeeded();
    // The ring has room for the first part of a large image, and for little more at the same time.
    load_by(&sensor, insmod("overlay").pid)
        .contains(json!({ "lkm_monitor": { "image": { "extent": "first-part", "captured_bytes": 32768 } } }));
    // Nobody takes anything out of it.
    sensor.pause();
    let loads = MODULES.map(|module| (module, insmod(module)));
    sensor.resume();
    let mut cut = Vec::new();
    for (module, insmod) in &loads {
        let document = load_by(&sensor, insmod.pid);
        document.contains(expected::live("finit_module")).contains(expected::module(&Image::of(module)));
        match document.text("lkm_monitor.image.extent") {
            "whole" => {
                document.contains(whole(&Image::of(module).0));
            }
            "first-part" => {
                document.contains(json!({ "lkm_monitor": { "image": { "captured_bytes": 32768, "sha256": null } } }));
            }
            _ => {
                document.contains(json!({ "lkm_monitor": { "image": {
                    "extent": "cut", "sha256": null, "unpacked_sha256": null,
                } }, "file": { "code_signature": null } }));
                let (severity, reason) = finding(&document, "incomplete-load");
                assert_eq!(severity, MEDIUM, "{reason}");
                assert!(reason.ends_with("; of this load the sensor lacks image"), "{reason}");
                cut.push(*module);
            }
        }
    }
    assert!(cut.contains(&"loop"), "the ring is full by then: {cut:?}");
    let lost = |document: &Document| {
        let is_it = document.text("lkm_monitor.loss.reason") == "image_cut";
        document.number("lkm_monitor.loss.total").filter(|_| is_it)
    };
    sensor.expect("the loss", |document| lost(document) == Some(cut.len() as u64));
    sensor.stop();
    let most = sensor.all_documents().iter().filter_map(lost).max();
    assert_eq!(most, Some(cut.len() as u64), "{cut:?}");
}
