//! Loads of this boot that were written down: in documents of the daemon, and beside the images that it keeps.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, BufRead},
};

use serde::Deserialize;

use super::gaps::Gaps;
use crate::{
    evidence::{Archive, RecordedLoad},
    hunt::source::{Line, blocks},
    model::{KnownLoad, LoadSource, text::text},
};

/// Modules of which a load is remembered: more are in no kernel.
const MAX_NAMES: usize = 65_536;

/// The newest load of each name. Names are those of documents.
#[derive(Debug, Default)]
pub struct Loads {
    newest: HashMap<String, KnownLoad>,
    boot_id: String,
}

impl Loads {
    /// None yet, of the boot with this id.
    pub fn of_boot(boot_id: &str) -> Self {
        Self { newest: HashMap::new(), boot_id: boot_id.to_owned() }
    }

    /// Those that the documents tell, one a line. Returns how many lines are none.
    pub fn read_documents(&mut self, documents: impl BufRead) -> io::Result<u64> {
        let mut malformed = 0;
        blocks(
            documents,
            || None,
            |block| {
                for (_, line) in block.lines() {
                    let document = match line {
                        Line::Whole(line) => serde_json::from_slice(line).ok(),
                        Line::TooLong => None,
                    };
                    match document {
                        Some(document) => self.add_document(document),
                        None => malformed += 1,
                    }
                }
                true
            },
        )?;
        Ok(malformed)
    }

    /// Those that are recorded beside kept images.
    pub fn read_evidence(&mut self, archive: &Archive, gaps: &mut Gaps) {
        let digests = match archive.digests() {
            Ok(digests) => digests,
            Err(error) => return gaps.add("kept images", error),
        };
        for digest in digests {
            match archive.record(&digest) {
                Ok(record) => record.shown_loads.into_iter().for_each(|load| self.add_recorded(load)),
                Err(error) => gaps.add("records of kept images", error),
            }
        }
    }

    /// The newest load of the module with this name.
    pub(super) fn of(&self, name: &[u8]) -> Option<&KnownLoad> {
        self.newest.get(&text(name))
    }

    fn add_document(&mut self, document: Document) {
        let Document { timestamp, event, host, process, file, own } = document;
        // That of a load that was told before its init function returned says `unknown`.
        let is_load = event.action == "loaded-kernel-module" && event.outcome != "failure";
        if !is_load || host.boot.id != self.boot_id {
            return;
        }
        let (Ok(at), Some(name)) = (timestamp.parse(), own.module.name) else { return };
        let load = KnownLoad {
            at,
            source: LoadSource::Document,
            event_id: event.id,
            path: file.path,
            executable: process.executable,
            pid: process.pid,
            user: process.user.name.or(process.user.id),
        };
        self.add(name, load);
    }

    fn add_recorded(&mut self, recorded: RecordedLoad) {
        if recorded.boot_id != self.boot_id {
            return;
        }
        let load = KnownLoad {
            at: recorded.at,
            source: LoadSource::Evidence,
            event_id: Some(recorded.event_id).filter(|id| !id.is_empty()),
            path: recorded.path,
            executable: None,
            pid: Some(recorded.pid.into()),
            user: recorded.user.or(recorded.uid.map(|uid| uid.to_string())),
        };
        self.add(recorded.module_name, load);
    }

    /// Of two that tell of the same moment, a document says more.
    fn add(&mut self, name: String, load: KnownLoad) {
        let is_full = self.newest.len() >= MAX_NAMES;
        match self.newest.entry(name) {
            Entry::Occupied(mut known) => {
                let rank = |load: &KnownLoad| (load.at, load.source == LoadSource::Document);
                if rank(&load) > rank(known.get()) {
                    known.insert(load);
                }
            }
            Entry::Vacant(new) if !is_full => drop(new.insert(load)),
            Entry::Vacant(_) => {}
        }
    }
}

/// What is read of a document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    event: Event,
    host: Host,
    process: Process,
    file: File,
    #[serde(rename = "lkm_monitor")]
    own: Own,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    id: Option<String>,
    action: String,
    outcome: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Host {
    boot: Boot,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Boot {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    executable: Option<String>,
    pid: Option<u64>,
    user: User,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Own {
    module: Module,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Module {
    name: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document(at: &str, name: &str, others: &str) -> String {
        let event = format!(r#""event":{{"id":"i-{at}","action":"loaded-kernel-module","outcome":"success"}}"#);
        let who = r#""process":{"executable":"/usr/bin/kmod","pid":7,"user":{"id":"0","name":"root"}}"#;
        format!(
            r#"{{"@timestamp":"2026-01-31T00:00:{at}Z",{event},"host":{{"boot":{{"id":"b"}}}},{who},"lkm_monitor":{{"module":{{"name":"{name}"}}}}{others}}}"#
        )
    }

    #[test]
    fn the_newest_load_of_this_boot_counts() {
        let of_other_boot = document("59", "foo", "").replace(r#""id":"b""#, r#""id":"c""#);
        let failed = document("58", "foo", "").replace("success", "failure");
        let unload = document("57", "foo", "").replace("loaded-", "unloaded-");
        let lines = [
            document("01", "foo", ""),
            document("03", "foo", r#","file":{"path":"/x/foo.ko"}"#),
            document("02", "foo", ""),
            of_other_boot,
            failed,
            unload,
            document("01", r"odd\\x0a", ""),
            "no document".to_owned(),
            r#"{"process":7}"#.to_owned(),
            "{}".to_owned(),
        ];
        let mut loads = Loads::of_boot("b");
        assert_eq!(loads.read_documents(lines.join("\n").as_bytes()).unwrap(), 2);
        let known = KnownLoad {
            at: "2026-01-31T00:00:03Z".parse().unwrap(),
            source: LoadSource::Document,
            event_id: Some("i-03".to_owned()),
            path: Some("/x/foo.ko".to_owned()),
            executable: Some("/usr/bin/kmod".to_owned()),
            pid: Some(7),
            user: Some("root".to_owned()),
        };
        assert_eq!(loads.of(b"foo"), Some(&known));
        assert!(loads.of(b"odd\n").is_some(), "names are compared as documents have them");
        assert_eq!(loads.of(b"bar"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_a_document_or_counted(lines in proptest::collection::vec("\\PC{0,40}|\\{\"event\":[0-9\\[\\]{}\"]{0,9}\\}", 0..9)) {
            let mut loads = Loads::of_boot("");
            let malformed = loads.read_documents(lines.join("\n").as_bytes()).unwrap();
            prop_assert!(malformed <= lines.len() as u64);
            prop_assert!(loads.newest.is_empty(), "none of them tells of a load");
        }
    }
}
