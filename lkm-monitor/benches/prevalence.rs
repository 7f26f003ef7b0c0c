//! What the host's store costs: `make bench-store`. Fails where it costs more than it may.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lkm_monitor::{
    model::{Kind, text::hex},
    prevalence::{
        name::GroupName,
        store::{Expiry, Limits, Store},
        tally::Window,
    },
};
use sha2::{Digest as _, Sha256};

const LIMITS: Limits = Limits { window: Window { days: 30 }, max_groups: 2_000_000 };
const NOW_S: u64 = 1_800_000_000;
/// Files of a kernel package.
const BURST: u64 = 4_000;
/// Events that the daemon counts together, when there are many.
const BATCH: usize = 64;
const MANY: u64 = 1_000_000;

/// The `number`th file of one of many packages: paths, programs and hashes as long as real ones.
fn group(number: u64) -> (GroupName, bool) {
    let (package, file) = (number / BURST, number % BURST);
    let path = format!("/usr/lib/modules/*/kernel/drivers/vendor-{}/package-{package}/module-{file}.ko.xz", file % 60);
    let hash = hex(&Sha256::digest(number.to_le_bytes()));
    (GroupName::new(Kind::File, [path.as_str(), "/usr/bin/dpkg-deb", &hash]), true)
}

fn fill(store: &mut Store, numbers: std::ops::Range<u64>) -> Result<Duration> {
    let groups: Vec<_> = numbers.map(group).collect();
    let began = Instant::now();
    for batch in groups.chunks(BATCH) {
        store.count(batch, NOW_S)?;
    }
    ensure!(store.write(NOW_S, Expiry::WhenFull)?, "another process writes the store");
    Ok(began.elapsed())
}

fn opened(path: &Path) -> Result<(Store, Duration)> {
    let began = Instant::now();
    let store = Store::open(path, LIMITS)?;
    Ok((store, began.elapsed()))
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.redb");
    let (mut store, _) = opened(&path)?;
    for package in 0..MANY / BURST {
        fill(&mut store, package * BURST..(package + 1) * BURST)?;
    }
    // redb makes a file grow in steps that it fills later: what is not filled takes no room.
    let bytes = fs::metadata(&path)?.blocks() * 512;
    let new = fill(&mut store, MANY..MANY + BURST)?;
    let known = fill(&mut store, 0..BURST)?;
    // As a crash leaves it.
    let crashed = folder.path().join("crashed.redb");
    fs::copy(&path, &crashed)?;
    drop(store);
    let (_, clean) = opened(&path)?;
    let (_, after_crash) = opened(&crashed)?;

    let each = |burst: Duration| burst.as_secs_f64() * 1e6 / BURST as f64;
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    println!("{MANY} groups on disk          {mebibytes:>8.1} MiB   (at most 256)");
    println!("burst of {BURST} new groups       {:>8.1} us each, written   (at most 20)", each(new));
    println!("burst of {BURST} known groups     {:>8.1} us each, written   (at most 20)", each(known));
    println!("open                           {:>8.1} ms   (at most 200)", clean.as_secs_f64() * 1e3);
    println!("open after a crash             {:>8.1} ms   (at most 200)", after_crash.as_secs_f64() * 1e3);
    let within = mebibytes < 256.0
        && each(new) < 20.0
        && each(known) < 20.0
        && clean.max(after_crash) < Duration::from_millis(200);
    ensure!(within, "more than it may cost");
    Ok(())
}
