//! More module files at once than anybody wants to be told of one by one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{super::changes::sha256, CREATED, LOW};
use crate::{document::Document, process::program, stage::Stage};

/// Files of the kernel's own package.
const SOURCE: &str = "/fixtures/tree";
/// Where the modules of another release lie. The package is copied there several times, to be as large as those of kernels that
/// do not run in clouds only.
const RELEASE: &str = "/usr/lib/modules/6.0.0-lkm";
const COPIES: [&str; 3] = ["kernel", "updates", "extra"];
const SCRIPT: &str = "for copy in \"$@\"; do /usr/bin/busybox cp -a /fixtures/tree \"$copy\" || exit; done";
const FILES: usize = 2_000;
const DEADLINE: Duration = Duration::from_secs(120);

/// One alert for all, and telemetry for each.
pub(in super::super) fn copied_tree(stage: &mut Stage) {
    let mut source = Vec::new();
    walk(Path::new(SOURCE), &mut source);
    let hashes: BTreeMap<_, _> =
        source.iter().map(|path| (below(path), sha256(fs::read(path).expect("read a module")))).collect();
    let files = source.len() * COPIES.len();
    assert!(files >= FILES, "{files} are not many");
    fs::create_dir(RELEASE).expect("make a folder");
    let begun = Instant::now();
    let folders = COPIES.map(|copy| format!("{RELEASE}/{copy}"));
    let _ =
        program("/usr/bin/busybox", ["sh", "-c", SCRIPT, "sh"].into_iter().chain(folders.iter().map(String::as_str)))
            .succeeded();
    println!("  {files} copied in {:.1} s", begun.elapsed().as_secs_f64());
    let is_summary = |document: &Document| document.text("event.action") == "created-kernel-module-files";
    let summary = stage.sensor.look(DEADLINE, |document| is_summary(document).then(|| document.clone()));
    println!("  told after {:.1} s", begun.elapsed().as_secs_f64());
    let summary = summary.expect("a summary");
    stage.sensor.settle();
    let documents = stage.sensor.documents();
    let lost = |reasons: &[&str]| -> u64 {
        let of_reason = |document: &&Document| reasons.contains(&document.text("lkm_monitor.loss.reason"));
        documents.iter().filter(of_reason).filter_map(|document| document.number("lkm_monitor.loss.count")).sum()
    };
    // Attributes that were changed after a file was found closed are told, and may be lost, too.
    let untold = lost(&["ring_full", "scratch_exhausted", "output_full"]);
    let each = || {
        documents.iter().filter(|document| {
            document.text("event.action") == CREATED && document.text("file.path").starts_with(RELEASE)
        })
    };
    let told: BTreeSet<_> = each().map(|document| document.text("file.path").to_owned()).collect();
    assert_eq!(told.len(), each().count(), "each is told once");
    let copies = folders.iter().flat_map(|folder| hashes.keys().map(move |path| format!("{folder}/{path}")));
    let missing = copies.filter(|path| !told.contains(path)).count();
    assert_eq!(told.len() + missing, files, "no other file is told");
    assert!(missing as u64 <= untold, "{missing} are missing, {untold} are counted as lost");
    assert!(each().all(|document| !document.is_alert()), "each is telemetry");

    let has_hash = |document: &&Document| !document.text("file.hash.sha256").is_empty();
    for document in each().filter(has_hash) {
        let path = folders.iter().find_map(|folder| document.text("file.path").strip_prefix(folder)?.strip_prefix('/'));
        let path = path.expect("a file of a copy");
        assert_eq!(document.text("file.hash.sha256"), hashes[path], "{}", document.value());
    }
    let content =
        |status: &str| each().filter(|document| document.text("lkm_monitor.change.content") == status).count();
    let (read, busy, late) = (each().filter(has_hash).count(), content("busy"), content("timed-out"));
    println!("  {} told, {untold} lost; {read} read, {busy} not looked at, {late} not in time", told.len());
    assert_eq!(read + busy + late, told.len(), "what is not read says so");
    if untold == 0 {
        assert_eq!((busy + late) as u64, lost(&["not_looked_at"]), "what is not looked at is counted");
    }

    assert_eq!(documents.iter().filter(|document| is_summary(document)).count(), 1, "one summary");
    let name = |path: Option<&PathBuf>| path.and_then(|path| path.file_name()?.to_str().map(str::to_owned));
    summary
        .contains(json!({
            "message": "Kernel module file created",
            "event": { "kind": "alert", "type": ["creation"], "outcome": "success", "severity": LOW },
            "process": { "executable": "/usr/bin/busybox", "user": { "id": "0", "name": "root" } },
            "file": { "directory": RELEASE },
        }))
        .has_findings(&["module-file-created"]);
    if untold == 0 {
        summary.contains(json!({ "lkm_monitor": { "burst": {
            "count": files,
            "first_name": name(source.first()),
            "last_name": name(source.last()),
            "continued": null,
        } } }));
    }
    let count = summary.number("lkm_monitor.burst.count").expect("a number");
    assert!((told.len() as u64..=files as u64).contains(&count), "{}", summary.value());
    // The daemon has time to tell of the end, too.
    fs::remove_dir_all(RELEASE).expect("remove the tree");
    let removed = |document: &Document| document.text("event.action") == "removed-kernel-module-files";
    let removed = stage.sensor.look(DEADLINE, |document| removed(document).then(|| document.clone()));
    removed.expect("a summary of the end").has_findings(&["module-file-removed"]);
}

/// The files below a folder, in the order in which cp comes to them.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("list a folder") {
        let path = entry.expect("list a folder").path();
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// The part of a path that copies have, too.
fn below(path: &Path) -> String {
    path.strip_prefix(SOURCE).expect("a file of the tree").display().to_string()
}
