//! More module files at once than anybody wants to be told of one by one.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{CREATED, MEDIUM};
use crate::{document::Document, process::forked, stage::Stage};

/// A kernel's package has about 4,000; an emulated processor has its time.
const FILES: usize = 2_100;
const DEADLINE: Duration = Duration::from_secs(120);
const FOLDERS: usize = 7;

/// One alert for all, and telemetry for each.
pub(in super::super) fn copied_tree(stage: &mut Stage) {
    let name = |n: usize| format!("{}/module{n:04}", n * FOLDERS / FILES);
    for folder in 0..FOLDERS {
        fs::create_dir_all(format!("/tmp/source/{folder}")).expect("make a folder");
        fs::create_dir_all(format!("/tmp/tree/kernel/{folder}")).expect("make a folder");
    }
    (0..FILES).for_each(|n| fs::write(format!("/tmp/source/{}", name(n)), name(n)).expect("write a file"));
    let begun = Instant::now();
    let copier = forked(|| {
        for n in 0..FILES {
            let to = format!("/tmp/tree/kernel/{}.ko", name(n));
            fs::copy(format!("/tmp/source/{}", name(n)), to).expect("copy a file");
        }
        Ok(())
    })
    .succeeded();
    println!("  copied in {:.1} s", begun.elapsed().as_secs_f64());
    let is_summary = |document: &Document| {
        document.is_by(copier.pid) && document.text("event.action") == "created-kernel-module-files"
    };
    let summary = stage.sensor.look(DEADLINE, |document| is_summary(document).then(|| document.clone()));
    println!("  told after {:.1} s", begun.elapsed().as_secs_f64());
    let summary = summary.expect("a summary");
    stage.sensor.settle();
    let documents = stage.sensor.documents();
    let lost: u64 = documents.iter().filter_map(|document| document.number("lkm_monitor.loss.count")).sum();
    let each =
        || documents.iter().filter(|document| document.is_by(copier.pid) && document.text("event.action") == CREATED);
    let told: BTreeSet<_> = each().map(|document| document.text("file.path")).collect();
    assert_eq!(told.len(), each().count(), "each is told once");
    assert_eq!(told.len() as u64 + lost, FILES as u64, "what is not told is counted as lost");
    assert!(each().all(|document| !document.is_alert()), "each is telemetry");
    assert_eq!(documents.iter().filter(|document| is_summary(document)).count(), 1, "one summary");
    let read = each().filter(|document| document.text("lkm_monitor.change.content") == "read").count();
    println!("  {} told, {read} read, {lost} lost", told.len());
    let (first, last) = (format!("module{:04}.ko", 0), format!("module{:04}.ko", FILES - 1));
    summary
        .contains(json!({
            "message": "Kernel module file created",
            "event": { "kind": "alert", "type": ["creation"], "outcome": "success", "severity": MEDIUM },
            "process": { "pid": copier.pid, "executable": "/init", "user": { "id": "0", "name": "root" } },
            "file": { "directory": "/tmp/tree/kernel" },
            "lkm_monitor": { "burst": { "first_name": first, "last_name": last, "continued": null } },
        }))
        .has_findings(&["module-file-created"]);
    assert!(
        summary.number("lkm_monitor.burst.count").is_some_and(|count| count + lost == FILES as u64),
        "{}",
        summary.value()
    );
    // The daemon has time to tell of the end, too.
    fs::remove_dir_all("/tmp/tree").expect("remove the tree");
    let removed = |document: &Document| document.text("event.action") == "removed-kernel-module-files";
    let removed = stage.sensor.look(DEADLINE, |document| removed(document).then(|| document.clone()));
    removed.expect("a summary of the end").has_findings(&["module-file-removed"]);
}
