//! The file that holds the record of a run.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{durable, inspect::regular, model::RunRecord};

/// Of the file's layout; a file of another version says nothing.
const VERSION: u32 = 1;
/// A record has some hundred bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Why there is no record to read, or none could be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: more than {MAX_BYTES} bytes, which no record has")]
    TooLarge { path: PathBuf },
    #[error("{path}: no record: {source}")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("{path}: a record of version {version}, and not {VERSION}")]
    Version { path: PathBuf, version: u32 },
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    run: T,
}

/// The record at `path`; `None` where there is no file. Never waits for a pipe in its place.
pub(super) fn read(path: &Path) -> Result<Option<RunRecord>, RecordError> {
    let text = match regular::read(path, MAX_BYTES + 1) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Io { path: path.to_owned(), source }),
    };
    if text.len() as u64 > MAX_BYTES {
        return Err(RecordError::TooLarge { path: path.to_owned() });
    }
    let malformed = |source| RecordError::Malformed { path: path.to_owned(), source };
    let Head { version } = serde_json::from_slice(&text).map_err(malformed)?;
    if version != VERSION {
        return Err(RecordError::Version { path: path.to_owned(), version });
    }
    let Versioned { run, .. } = serde_json::from_slice(&text).map_err(malformed)?;
    Ok(Some(run))
}

/// Puts a record in the place of the one before: after a crash at any moment, one of them is there and whole.
pub(super) fn write(path: &Path, run: &RunRecord) -> Result<(), RecordError> {
    let mut json = serde_json::to_vec(&Versioned { version: VERSION, run })
        .map_err(|source| RecordError::Malformed { path: path.to_owned(), source })?;
    json.push(b'\n');
    durable::replace(path, &json).map_err(|(path, source)| RecordError::Io { path, source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn run() -> RunRecord {
        RunRecord { ephemeral_id: "e".to_owned(), pid: 7, binary_sha256: Some("ab".to_owned()), ..RunRecord::default() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/run.json");
        assert_eq!(read(&path).unwrap(), None);
        for pid in [7, 8] {
            let run = RunRecord { pid, ..run() };
            write(&path, &run).unwrap();
            assert_eq!(read(&path).unwrap(), Some(run));
        }
        let names: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["run.json"]);
    }

    #[test]
    fn what_a_crash_left_beside_it_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("run.json.new")).unwrap();
        write(&path, &run()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(run()));
        fs::create_dir(folder.path().join("run.json.new")).unwrap();
        assert!(matches!(write(&path, &run()), Err(RecordError::Io { .. })));
        assert_eq!(read(&path).unwrap(), Some(run()), "the record before is still whole");
    }

    #[test]
    fn what_is_no_record_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        write(&path, &run()).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(read(&path), Err(RecordError::Malformed { .. })));
        fs::write(&path, br#"{"version":2,"run":{"something":"else"}}"#).unwrap();
        assert!(matches!(read(&path), Err(RecordError::Version { version: 2, .. })));
        fs::write(&path, vec![b' '; MAX_BYTES as usize + 1]).unwrap();
        assert!(matches!(read(&path), Err(RecordError::TooLarge { .. })));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(matches!(read(&path), Err(RecordError::Io { .. })), "a pipe");
        write(&path, &run()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(run()), "a pipe is replaced");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_a_record_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in any::<prop::sample::Index>()) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut whole = serde_json::to_vec(&Versioned { version: VERSION, run: run() }).unwrap();
            whole.truncate(cut.index(whole.len()));
            whole.append(&mut bytes);
            fs::write(file.path(), &whole).unwrap();
            let _ = read(file.path());
        }
    }
}
