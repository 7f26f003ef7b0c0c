//! How many documents a second the file sink takes: `cargo bench --bench file_sink -- FOLDER`.
//!
//! On a file system in memory (`/dev/shm`) this is what the sink itself costs; elsewhere, what the disk does.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::unwrap_used)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use lkm_monitor::{
    model::{Agent, Class, Host},
    sinks::{
        Delivered, Entry, Fate, Sink as _,
        file::{FileSettings, FileSink},
    },
};

const DOCUMENT_BYTES: usize = 2560;
const BATCH: u64 = 4096;
const BATCHES: u64 = 200;

fn main() {
    let parent = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or("/dev/shm".to_owned());
    let folder = tempfile::tempdir_in(PathBuf::from(parent)).expect("make a folder");
    for (sync, batches) in [(false, BATCHES), (true, BATCHES / 10)] {
        let settings = FileSettings {
            path: folder.path().join("events.ndjson"),
            group: None,
            sync,
            rotate_bytes: 100 << 20,
            rotate_after: Duration::from_hours(24),
            keep_files: 2,
            keep_bytes: 1 << 30,
        };
        let mut sink: FileSink = FileSink::new(settings, &Host::default(), &Agent::default());
        let entry = |number: u64| {
            let id = format!("{{\"event\":{{\"id\":\"{sync}{number:032x}\"}},\"message\":\"");
            let json = format!("{id}{}\"}}", "x".repeat(DOCUMENT_BYTES - id.len() - 2));
            Entry { number, class: Class::Telemetry, happened_ms: 0, json: json.into_bytes().into() }
        };
        let batch: Vec<Entry> = (0..BATCH).map(entry).collect();
        // What an earlier run left is read once.
        assert_eq!(sink.deliver(&batch[..1]), Delivered::Each(vec![Fate::Taken]));
        let start = Instant::now();
        for _ in 0..batches {
            assert_eq!(sink.deliver(&batch), Delivered::Each(vec![Fate::Taken; batch.len()]));
        }
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = (BATCH * batches) as f64 / start.elapsed().as_secs_f64();
        println!("sync = {sync}: {rate:.0} documents of {DOCUMENT_BYTES} bytes a second, {BATCH} in a batch");
    }
}
