//! The file as a shipper finds it.

mod crash;
mod faults;

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{
    model::samples,
    sinks::samples::{entries, entry},
};

fn settings(path: &Path) -> FileSettings {
    FileSettings {
        path: path.to_owned(),
        group: None,
        sync: false,
        rotate_bytes: 1 << 20,
        rotate_after: Duration::from_secs(3600),
        keep_files: 3,
        keep_bytes: 1 << 30,
    }
}

fn sink(settings: FileSettings) -> FileSink {
    FileSink::new(settings, &samples::host(), &Agent::default())
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    (folder, path)
}

/// The files of a folder, the one that is written to last.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // A dot comes after a dash.
    files.sort();
    files
}

/// The header, and the documents after it. All lines are whole.
fn read(path: &Path) -> (Value, Vec<Vec<u8>>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes.last(), Some(&b'\n'), "{}", path.display());
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let header: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
    assert_eq!(header["event"]["action"], "log-file-started");
    (header, lines.map(<[u8]>::to_vec).collect())
}

fn json_of(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.json.to_vec()).collect()
}

fn taken(count: usize) -> Delivered {
    Delivered::Each(vec![Fate::Taken; count])
}

fn reason(delivered: Delivered) -> String {
    match delivered {
        Delivered::Failed(failure) => failure.reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_header_then_the_documents() {
    let (folder, path) = folder();
    let batch = entries(0..20, 2500);
    let mut sink = sink(settings(&path));
    assert_eq!(sink.deliver(&batch[..15]), taken(15));
    assert_eq!(sink.deliver(&batch[15..]), taken(5));
    let (header, documents) = read(&path);
    assert_eq!(header["host"]["boot"]["id"], samples::host().boot_id);
    assert_eq!(documents, json_of(&batch));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(files(folder.path()), [path]);
}

#[test]
fn no_two_files_begin_alike() {
    let header = Header::of(&samples::host(), &Agent::default());
    let now = Timestamp::now();
    let (one, other) = (header.line(now).unwrap(), header.line(now).unwrap());
    for line in [&one, &other] {
        assert!(line.len() > 1024 && !line[..line.len() - 1].contains(&b'\n'));
    }
    assert_ne!(one[..1024], other[..1024]);
}

#[test]
fn a_file_that_is_full_is_renamed_and_the_oldest_go() {
    let (folder, path) = folder();
    let mut sink = sink(FileSettings { rotate_bytes: 20_000, ..settings(&path) });
    let batch = entries(0..100, 2500);
    for documents in batch.chunks(5) {
        assert_eq!(sink.deliver(documents), taken(5));
    }
    let files = files(folder.path());
    assert_eq!((files.len(), files.last()), (4, Some(&path)));
    let kept: Vec<_> = files.iter().flat_map(|file| read(file).1).collect();
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() <= 20_000));
    assert_eq!(kept, json_of(&batch[100 - kept.len()..]));
    assert_eq!(sink.take_counts(), [(Count::FileRemoved, 100 / 5 - 4)]);
    assert_eq!(sink.take_counts(), [], "each is told once");
}

#[test]
fn renamed_files_are_bounded_in_bytes() {
    let (folder, path) = folder();
    let mut sink = sink(FileSettings { rotate_bytes: 20_000, keep_files: 100, keep_bytes: 45_000, ..settings(&path) });
    for documents in entries(0..100, 2500).chunks(5) {
        assert_eq!(sink.deliver(documents), taken(5));
    }
    let mut files = files(folder.path());
    files.pop();
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(files.len() == 3 && bytes <= 45_000, "{bytes} in {files:?}");
}

#[test]
fn a_batch_longer_than_a_file_has_one_for_itself() {
    let (folder, path) = folder();
    let mut sink = sink(FileSettings { rotate_bytes: 5_000, ..settings(&path) });
    for documents in entries(0..8, 2500).chunks(4) {
        assert_eq!(sink.deliver(documents), taken(4));
    }
    assert_eq!(files(folder.path()).iter().map(|file| read(file).1.len()).collect::<Vec<_>>(), [4, 4]);
}

#[test]
fn an_old_file_is_renamed() {
    let (folder, path) = folder();
    let mut first = sink(settings(&path));
    assert_eq!(first.deliver(&entries(0..2, 300)), taken(2));
    drop(first);
    // When it began stands in its header, so that a restart does not make it young.
    let mut second = sink(FileSettings { rotate_after: Duration::from_nanos(1), ..settings(&path) });
    assert_eq!(second.deliver(&entries(2..4, 300)), taken(2));
    assert_eq!(files(folder.path()).iter().map(|file| read(file).1.len()).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn a_file_that_others_rename_remove_or_cut_is_made_anew() {
    let (folder, path) = folder();
    let mut sink = sink(settings(&path));
    assert_eq!(sink.deliver(&entries(0..1, 300)), taken(1));
    let aside = folder.path().join("events.ndjson.1");
    fs::rename(&path, &aside).unwrap();
    assert_eq!(sink.deliver(&entries(1..2, 300)), taken(1));
    assert_eq!((read(&aside).1.len(), read(&path).1), (1, json_of(&entries(1..2, 300))));
    fs::remove_file(&path).unwrap();
    assert_eq!(sink.deliver(&entries(2..3, 300)), taken(1));
    assert_eq!(read(&path).1, json_of(&entries(2..3, 300)));
    fs::write(&path, "").unwrap();
    assert_eq!(sink.deliver(&entries(3..4, 300)), taken(1));
    assert_eq!(read(&path).1, json_of(&entries(3..4, 300)));
}

#[test]
fn a_file_that_is_not_ours_is_put_aside_as_it_is() {
    let (folder, path) = folder();
    let others = ["something else".to_owned(), format!("{}\n", crate::sinks::samples::document(9, 300))];
    for other in &others {
        fs::write(&path, other).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        // Of our own files none may stay.
        let mut sink = sink(FileSettings { keep_files: 0, rotate_bytes: 1, ..settings(&path) });
        for number in 0..2 {
            assert_eq!(sink.deliver(&entries(number..number + 1, 300)), taken(1));
        }
        assert_eq!((read(&path).1.len(), sink.take_counts()), (1, vec![(Count::FileRemoved, 1)]));
        fs::remove_file(&path).unwrap();
    }
    let files = files(folder.path());
    assert_eq!([0, 1].map(|at| fs::read_to_string(&files[at]).unwrap()), others);
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.ndjson.aside-20"), "{name}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o604);
    }
}

#[test]
fn a_file_has_one_writer() {
    let (folder, path) = folder();
    let (mut first, mut second) = (sink(settings(&path)), sink(settings(&path)));
    assert_eq!(first.deliver(&entries(0..1, 300)), taken(1));
    let refused = reason(second.deliver(&entries(1..2, 300)));
    assert!(refused.contains("somebody else writes to it"), "{refused}");
    assert_eq!(first.deliver(&entries(1..2, 300)), taken(1));
    drop(first);
    assert_eq!(second.deliver(&entries(2..3, 300)), taken(1));
    assert_eq!((files(folder.path()).len(), read(&path).1), (1, json_of(&entries(0..3, 300))));
}

#[test]
fn what_is_no_file_is_refused() {
    let (folder, path) = folder();
    let target = folder.path().join("target");
    fs::write(&target, "").unwrap();
    symlink(&target, &path).unwrap();
    let refused = reason(sink(settings(&path)).deliver(&entries(0..1, 300)));
    assert!(refused.contains("not a regular file"), "{refused}");
    assert_eq!(fs::read(&target).unwrap(), b"");

    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let refused = reason(sink(settings(&path)).deliver(&entries(0..1, 300)));
    assert!(refused.contains("not a regular file"), "{refused}");
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    let (folder, path) = folder();
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let refused = reason(sink(settings(&path)).deliver(&entries(0..1, 300)));
        assert!(refused.contains(&format!("has mode {mode:04o}")), "{refused}");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).unwrap();
    assert_eq!(sink(settings(&path)).deliver(&entries(0..1, 300)), taken(1));
}

#[test]
fn a_folder_that_is_missing_is_made_for_its_group() {
    let (folder, _) = folder();
    let path = folder.path().join("lkm-monitor/events.ndjson");
    let group = 4711;
    let mut sink = sink(FileSettings { group: Some(group), ..settings(&path) });
    if !rustix::process::geteuid().is_root() {
        let refused = reason(sink.deliver(&entries(0..1, 300)));
        assert!(refused.contains("not permitted") && !path.parent().unwrap().exists(), "{refused}");
        return;
    }
    assert_eq!(sink.deliver(&entries(0..1, 300)), taken(1));
    for (made, mode) in [(path.parent().unwrap(), 0o750), (&path, 0o640)] {
        let made = fs::metadata(made).unwrap();
        assert_eq!((made.permissions().mode() & 0o7777, made.gid()), (mode, group));
    }
}

#[test]
fn names_of_renamed_files_grow_whatever_the_clock_says() {
    let (folder, path) = folder();
    let opened = Folder::open(&path, None).unwrap();
    for seconds in [1_700_000_000, 1_700_000_000, 1_600_000_000] {
        opened.create().unwrap();
        opened.retire(Timestamp::from_second(seconds).unwrap()).unwrap();
    }
    let names: Vec<String> = opened.rotated().unwrap().into_iter().map(|name| name.into_string().unwrap()).collect();
    assert_eq!(names, ["000000Z", "000001Z", "000002Z"].map(|end| format!("events-20231114T221320.{end}.ndjson")),);
    drop(folder);
}
