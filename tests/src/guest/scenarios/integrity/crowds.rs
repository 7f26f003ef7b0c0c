//! Many modules, and modules that come and go while somebody looks: nothing of that is hidden.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use rustix::system::{delete_module, finit_module};

use super::{by_hand, is_finding, looks, wait_for_looks};
use crate::{
    machine,
    module_file::{Image, fixture},
    process::{fork, forked},
    stage::{LOOKING_SOCKET, Stage},
};

const CROWD: usize = 400;
/// On the kernel of Debian stable; on the others, the first hundreds show the same in a shorter time.
const ROUNDS: usize = 1000;
const STABLE: (u32, u32) = (6, 12);
const ROUNDS_ELSEWHERE: usize = 200;
/// How long something must be found that may be a race.
const TOLD_LATER: Duration = Duration::from_secs(30);
/// By one process.
const ROUNDS_OF_ONE: usize = 100;
const COPIES_OF_ONE: usize = 100;

/// A small module of which there can be many; its name is as long as theirs.
const MODULE: &str = "nls_utf8";

/// Loads copies of a small module, which are modules of their own; returns their names.
pub(crate) fn load_copies(number: usize) -> Vec<String> {
    let names: Vec<String> = (0..number).map(|number| format!("nls_{number:04}")).collect();
    let image = Image::of(MODULE);
    // A fork has two minutes, which a busy machine needs for some hundreds.
    for some in names.chunks(COPIES_OF_ONE) {
        forked(|| {
            for name in some {
                finit_module(image.clone().renamed(MODULE, name).write(Path::new("/tmp/copy.ko")), c"", 0)?;
            }
            Ok(())
        })
        .succeeded();
    }
    names
}

pub(in super::super) fn of_modules(stage: &mut Stage) {
    let sensor = stage.looking();
    let names = load_copies(CROWD);
    let loaded = machine::loaded_modules();
    assert!(names.iter().all(|name| loaded.contains(name)), "all of them are loaded");
    by_hand().found_nothing().saw(loaded.len());
    wait_for_looks(LOOKING_SOCKET, 2);
    sensor.expect_none("an alert on one of many", is_finding);
}

pub(in super::super) fn of_loads_and_unloads(stage: &mut Stage) {
    let rounds = if machine::kernel_version() == STABLE { ROUNDS } else { ROUNDS_ELSEWHERE };
    let sensor = stage.looking();
    let file = File::open(fixture("dummy")).expect("open a module");
    let before = looks(LOOKING_SOCKET);
    for _ in 0..rounds / ROUNDS_OF_ONE {
        let loader = fork(|| {
            for _ in 0..ROUNDS_OF_ONE {
                finit_module(&file, c"", 0)?;
                delete_module(c"dummy", libc::O_NONBLOCK)?;
            }
            Ok(())
        });
        by_hand().found_nothing();
        let _ = loader.wait().succeeded();
    }
    assert!(looks(LOOKING_SOCKET) > before, "nobody looked while they came and went");
    let end = Instant::now();
    // What was found under them is told half a minute later, if ever.
    while rounds == ROUNDS && end.elapsed() < TOLD_LATER {
        wait_for_looks(LOOKING_SOCKET, 1);
    }
    wait_for_looks(LOOKING_SOCKET, 2);
    sensor.expect_none("an alert on modules that come and go", is_finding);
}
