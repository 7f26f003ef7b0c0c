//! The bytes that the kernel loaded, whatever files and memory hold by then.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicU8, Ordering::SeqCst},
    thread,
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    system::{delete_module, finit_module, init_module},
};
use serde_json::json;

use super::whole;
use crate::{
    document::Document,
    expected, machine,
    module_file::{Image, fixture, installed},
    process::{fork, forked, program},
    sensor::Sensor,
    stage::Stage,
};

pub(in super::super) fn of_files(stage: &mut Stage) {
    for module in ["dummy", "overlay"] {
        let path = installed(module);
        let insmod = program("/sbin/insmod", [&path]).succeeded();
        stage.live_load(&insmod, module, &path).contains(whole(&fs::read(&path).expect("read the module")));
    }
}

/// Some versions of kmod unpack a module into memory, others let the kernel do it.
pub(in super::super) fn unpacked_by_the_tool(stage: &mut Stage) {
    let packed = Path::new("/fixtures/dummy.ko.xz");
    let insmod = program("/sbin/insmod", [packed]).succeeded();
    let document = stage.load_by(insmod.pid);
    let from_file = document.text("lkm_monitor.syscall.name") == "finit_module";
    let loaded = if from_file { fs::read(packed).expect("read the module") } else { Image::of("dummy").0 };
    document.contains(whole(&loaded));
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

/// A thread changes the name that the module has while others have the kernel read it: the hash fits what the kernel calls it.
pub(in super::super) fn rewritten_during_the_load(stage: &mut Stage) {
    const TRIES: usize = 40;
    let one = Image::of("nls_utf8").unsigned().0;
    let other = Image(one.clone()).patched(".gnu.linkonce.this_module", b"nls_utf8", b"nls_utf9").0;
    let at = one.iter().zip(&other).position(|(left, right)| left != right).expect("they differ");
    assert_eq!(one[at + 1..], other[at + 1..], "in one byte");
    let mut buffer = one.clone();
    // SAFETY: a byte of a buffer that lives longer than both threads, which touch it so only.
    let byte = unsafe { AtomicU8::from_ptr(&raw mut buffer[at]) };
    let image: &[u8] = &buffer;
    let over = AtomicU8::new(0);
    let loaders = thread::scope(|scope| {
        scope.spawn(|| {
            while over.load(SeqCst) == 0 {
                byte.store(if byte.load(SeqCst) == one[at] { other[at] } else { one[at] }, SeqCst);
            }
        });
        let load = || {
            init_module(image, c"").expect("load what is in the buffer");
            let name =
                machine::loaded_modules().into_iter().find(|name| name.starts_with("nls_utf")).expect("it is there");
            delete_module(if name == "nls_utf8" { c"nls_utf8" } else { c"nls_utf9" }, 0).expect("unload it");
            name
        };
        let names: Vec<_> = (0..TRIES).map(|_| load()).collect();
        over.store(1, SeqCst);
        names
    });
    let is_ours = |document: &Document| document.is_load() && document.module().starts_with("nls_utf");
    stage.sensor.settle();
    let told: Vec<_> = stage.sensor.documents().into_iter().filter(is_ours).collect();
    assert_eq!(told.len(), TRIES);
    for (document, name) in told.iter().zip(&loaders) {
        assert_eq!(document.module(), name);
        document.contains(whole(if name == "nls_utf8" { &one } else { &other }));
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
    let letters = || b'a'..=b't';
    let image = |letter: u8| {
        let name = [b"nls_utf", [letter].as_slice()].concat();
        Image::of("nls_utf8").unsigned().patched(".gnu.linkonce.this_module", b"nls_utf8", &name)
    };
    let files: Vec<_> = letters().map(|letter| (image(letter), format!("/tmp/{letter}.ko"))).collect();
    let opened: Vec<_> = files.iter().map(|(image, path)| image.write(path)).collect();
    let forks: Vec<_> = opened.iter().map(|file| fork(|| finit_module(file, c"", 0))).collect();
    let loaders: Vec<_> = forks.into_iter().map(|fork| fork.wait().succeeded()).collect();
    for (loader, (image, _)) in loaders.iter().zip(&files) {
        // On a busy machine some are told before their init function has returned.
        let document = stage.load_by(loader.pid);
        if document.lists("lkm_monitor.missing", "image") {
            // A kernel that can be preempted in a probe skips it for who comes then, and says so.
            stage.sensor.expect("the skipped probe", |other| other.text("lkm_monitor.loss.reason") == "probe_skipped");
        } else {
            document.contains(whole(&image.0));
        }
    }
}

/// What does not fit is not whole, and that is said and counted; a longer image than is wanted is cut on purpose.
pub(in super::super) fn more_than_there_is_room_for(stage: &mut Stage) {
    let path = fixture("overlay");
    let image = Image::of("overlay").0;
    let loaded = |name: &str, settings: &str| {
        let sensor = Sensor::start_set(stage.hooks, &["--events"], name, settings, &[]);
        let insmod = program("/sbin/insmod", [&path]).succeeded();
        let document = sensor.expect("the load", |document| document.is_load() && document.is_by(insmod.pid));
        delete_module(c"overlay", 0).expect("unload it");
        (sensor, document)
    };
    let rest = "[rarity]\nenabled = false\n[heartbeat]\nrun_record = \"/run/images.json\"\n";
    let (mut sensor, document) = loaded("limit", &format!("image_bytes = 40000\n{rest}"));
    document.contains(json!({ "lkm_monitor": { "image": {
        "extent": "first-part", "captured_bytes": 40000, "sha256": null,
    }, "load": { "image_bytes": image.len() } } }));
    sensor.stop();

    let (mut sensor, document) = loaded("room", &format!("images_ring_bytes = 65536\nimage_bytes = 32768\n{rest}"));
    document.contains(json!({ "lkm_monitor": { "image": { "extent": "first-part", "captured_bytes": 32768 } } }));
    // Nobody takes anything out of the ring, which has room for one piece and its head.
    sensor.pause();
    let insmod = |module| program("/sbin/insmod", [&fixture(module)]).succeeded();
    let loads = ["dummy", "nls_utf8", "romfs", "loop"].map(insmod);
    sensor.resume();
    let extents = loads.map(|load| {
        let document = sensor.expect("the load", |document| document.is_load() && document.is_by(load.pid));
        document.text("lkm_monitor.image.extent").to_owned()
    });
    assert_eq!(extents[3], "cut", "{extents:?}");
    let loss = sensor.expect("the loss", |document| document.text("lkm_monitor.loss.reason") == "image_cut");
    let cut = extents.iter().filter(|extent| *extent == "cut").count() as u64;
    assert!(loss.number("lkm_monitor.loss.total").is_some_and(|lost| lost <= cut && lost > 0), "{}", loss.value());
    sensor.stop();
}
