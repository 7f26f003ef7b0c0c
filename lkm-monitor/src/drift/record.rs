//! The file that holds the state of the last look, and what was seen live since.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::seen::Seen;
use crate::{
    durable,
    inspect::regular,
    model::{HostState, Moment},
};

/// Of the file's layout. Members that are added are no other layout: who does not know them ignores them.
const VERSION: u32 = 1;
/// A host with as many watched files as are looked at needs a part of it.
const MAX_BYTES: u64 = 16 << 20;

/// Why there is no state to compare with, or none could be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: more than {MAX_BYTES} bytes, which no state has")]
    TooLarge { path: PathBuf },
    #[error("{path}: no state: {source}")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("{path}: a state of version {version}, and not {VERSION}")]
    Version { path: PathBuf, version: u32 },
}

/// What one run leaves for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) state: HostState,
    /// Up to this moment somebody watched, and what came of that is in `seen`.
    pub(super) watched_until: Moment,
    /// What was seen live since the look.
    pub(super) seen: Seen,
    /// What later runs saw live that ended before they had looked, in their order.
    pub(super) later: Vec<Seen>,
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Without these it is no record, whoever wrote it.
#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "state")]
    _state: Look,
    #[serde(rename = "watched_until")]
    _watched_until: Moment,
}

#[derive(Deserialize)]
struct Look {
    #[serde(rename = "begun")]
    _begun: Moment,
    #[serde(rename = "ended")]
    _ended: Moment,
    #[serde(rename = "boot_id")]
    _boot_id: String,
    #[serde(rename = "agent_id")]
    _agent_id: String,
    #[serde(rename = "places")]
    _places: BTreeMap<String, IgnoredAny>,
    #[serde(rename = "files")]
    _files: BTreeMap<String, IgnoredAny>,
}

#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    record: &'a Record,
}

/// The record at `path`; `None` where there is no file. Never waits for a pipe in its place.
pub(super) fn read(path: &Path) -> Result<Option<Record>, RecordError> {
    let json = match regular::read(path, MAX_BYTES + 1) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Io { path: path.to_owned(), source }),
    };
    if json.len() as u64 > MAX_BYTES {
        return Err(RecordError::TooLarge { path: path.to_owned() });
    }
    let malformed = |source| RecordError::Malformed { path: path.to_owned(), source };
    let Head { version } = serde_json::from_slice(&json).map_err(malformed)?;
    if version != VERSION {
        return Err(RecordError::Version { path: path.to_owned(), version });
    }
    let _: Frame = serde_json::from_slice(&json).map_err(malformed)?;
    serde_json::from_slice(&json).map(Some).map_err(malformed)
}

/// Puts a record in the place of the one before: after a crash at any moment, one of them is there and whole.
pub(super) fn write(path: &Path, record: &Record) -> Result<(), RecordError> {
    let mut json = serde_json::to_vec(&Versioned { version: VERSION, record })
        .map_err(|source| RecordError::Malformed { path: path.to_owned(), source })?;
    json.push(b'\n');
    // It would be no record to who reads it: the one before is worth more.
    if json.len() as u64 > MAX_BYTES {
        return Err(RecordError::TooLarge { path: path.to_owned() });
    }
    durable::replace(path, &json).map_err(|(path, source)| RecordError::Io { path, source })
}

/// Puts a file that is no record aside, for people to look at; of several the last one. Where it lies now.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = durable::beside(path, ".damaged");
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{drift::samples, model::PlaceSight};

    #[test]
    fn a_record_is_read_as_it_was_written_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib/state.json");
        assert_eq!(read(&path).unwrap(), None);
        let record = samples::record();
        for _ in 0..2 {
            write(&path, &record).unwrap();
            assert_eq!(read(&path).unwrap(), Some(record.clone()));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["state.json"]);
    }

    #[test]
    fn what_a_newer_daemon_adds_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write(&path, &samples::record()).unwrap();
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        json["more"] = json!({ "of": "it" });
        json["state"]["more"] = json!([1]);
        json["state"]["policy"]["more"] = json!(true);
        json["state"]["places"]["/etc/modprobe.d"]["sight"] = json!("in-a-new-way");
        json["state"]["files"].as_object_mut().unwrap().values_mut().for_each(|file| file["more"] = json!("x"));
        fs::write(&path, json.to_string()).unwrap();
        let mut expected = samples::record();
        expected.state.places.get_mut("/etc/modprobe.d").unwrap().sight = PlaceSight::Unknown;
        assert_eq!(read(&path).unwrap(), Some(expected));
    }

    #[test]
    fn what_could_not_be_read_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write(&path, &samples::record()).unwrap();
        let mut large = samples::record();
        large.state.agent_id = "x".repeat(MAX_BYTES as usize);
        assert!(matches!(write(&path, &large), Err(RecordError::TooLarge { .. })));
        assert_eq!(read(&path).unwrap(), Some(samples::record()));
    }

    #[test]
    fn a_record_without_its_look_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let read_of = |json: &Value| {
            fs::write(&path, json.to_string()).unwrap();
            read(&path)
        };
        assert!(matches!(read_of(&json!({ "version": 1 })), Err(RecordError::Malformed { .. })));
        write(&path, &samples::record()).unwrap();
        let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(read_of(&whole).is_ok());
        for member in ["boot_id", "begun", "places", "files", "agent_id"] {
            let mut json = whole.clone();
            json["state"].as_object_mut().unwrap().remove(member);
            assert!(matches!(read_of(&json), Err(RecordError::Malformed { .. })), "{member}");
        }
    }

    #[test]
    fn what_is_no_record_says_what_it_is_and_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write(&path, &samples::record()).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(read(&path), Err(RecordError::Malformed { .. })));
        let aside = put_aside(&path).unwrap();
        assert_eq!((fs::read(aside).unwrap(), read(&path).unwrap()), (whole[..whole.len() / 2].to_vec(), None));
        fs::write(&path, br#"{"version":2,"state":{}}"#).unwrap();
        assert!(matches!(read(&path), Err(RecordError::Version { version: 2, .. })));
        fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(matches!(read(&path), Err(RecordError::TooLarge { .. })));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(matches!(read(&path), Err(RecordError::Io { .. })), "a pipe");
        write(&path, &samples::record()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(samples::record()), "a pipe is replaced");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_are_a_record_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut whole = serde_json::to_vec(&Versioned { version: VERSION, record: &samples::record() }).unwrap();
            whole.truncate(cut.index(whole.len()));
            whole.append(&mut bytes);
            fs::write(file.path(), &whole).unwrap();
            let _ = read(file.path());
        }
    }
}
