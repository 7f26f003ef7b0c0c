//! A journald that is a socket and a decoder, written from the protocol's description.

use std::{
    fs::File,
    io::{self, IoSliceMut, Read as _, Seek as _},
    mem::MaybeUninit,
    os::unix::net::UnixDatagram,
};

use proptest::prelude::*;
use rustix::{
    fs::{SealFlags, fcntl_get_seals},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use serde_json::json;

use super::*;
use crate::{
    model::Class,
    sinks::samples::{document, entries, entry},
};

/// The fields of a record. Panics where journald would throw the record away.
fn decode(mut record: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    while !record.is_empty() {
        let end = record.iter().position(|byte| *byte == b'\n').expect("a field without an end");
        let line = &record[..end];
        let (name, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(equals) => {
                record = &record[end + 1..];
                (&line[..equals], &line[equals + 1..])
            }
            None => {
                let (len, rest) = record[end + 1..].split_first_chunk::<8>().expect("a length");
                let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*len)).unwrap());
                record = rest.strip_prefix(b"\n").expect("a newline after the value");
                (line, value)
            }
        };
        let name = String::from_utf8(name.to_vec()).unwrap();
        assert!((1..=64).contains(&name.len()) && name.starts_with(|first: char| first.is_ascii_uppercase()));
        assert!(name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        fields.push((name, value.to_vec()));
    }
    fields
}

fn field(record: &[u8], name: &str) -> Option<Vec<u8>> {
    decode(record).into_iter().find_map(|(known, value)| (known == name).then_some(value))
}

struct Journal {
    _folder: tempfile::TempDir,
    path: PathBuf,
    socket: UnixDatagram,
}

impl Journal {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { _folder: folder, path, socket }
    }

    fn sink(&self) -> JournaldSink {
        JournaldSink::new(self.path.clone(), Duration::from_secs(10))
    }

    /// The next record, and whether it came as a file.
    fn receive(&self) -> (Vec<u8>, bool) {
        let mut bytes = vec![0; 1 << 20];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        bytes.truncate(received.bytes);
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let Some(descriptor) = descriptor else { return (bytes, false) };
        assert!(bytes.is_empty());
        let seals = fcntl_get_seals(&descriptor).unwrap();
        assert_eq!(seals, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL);
        let mut file = File::from(descriptor);
        file.seek(io::SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        (bytes, true)
    }
}

#[test]
fn a_record_says_what_the_document_says() {
    let alert = json!({
        "message": "Kernel module loaded",
        "event": { "id": "a1", "kind": "alert", "action": "loaded-kernel-module", "sequence": 7, "reason": "foo was loaded" },
        "rule": { "id": "load-from-nonstandard-path" },
    });
    let record = record::record(&Entry { class: Class::High, ..entry(1, &alert) }).unwrap();
    let text = |name: &str| String::from_utf8(field(&record, name).unwrap_or_default()).unwrap();
    for (name, value) in [
        ("MESSAGE", "foo was loaded"),
        ("PRIORITY", "3"),
        ("SYSLOG_IDENTIFIER", "lkm-monitor"),
        ("LKM_MONITOR_EVENT_ID", "a1"),
        ("LKM_MONITOR_EVENT_KIND", "alert"),
        ("LKM_MONITOR_EVENT_ACTION", "loaded-kernel-module"),
        ("LKM_MONITOR_EVENT_SEQUENCE", "7"),
        ("LKM_MONITOR_RULE_ID", "load-from-nonstandard-path"),
    ] {
        assert_eq!(text(name), value, "{name}");
    }
    assert_eq!(text("LKM_MONITOR_DOCUMENT"), alert.to_string());
    let id = text("MESSAGE_ID");
    assert!(id.len() == 32 && id.chars().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    let other = record::record(&entry(1, &document(1, 0))).unwrap();
    assert_ne!(field(&other, "MESSAGE_ID").unwrap(), id.into_bytes());
    assert_eq!(field(&other, "MESSAGE").unwrap(), b"Kernel module loaded");
    assert_eq!(field(&other, "LKM_MONITOR_RULE_ID"), None);
}

proptest! {
    #[test]
    fn any_text_comes_back(message in any::<String>(), id in ".{0,40}", newlines in "[\n=a]{0,9}") {
        let odd = json!({ "message": format!("{newlines}{message}"), "event": { "id": id, "action": newlines } });
        let entry = entry(1, &odd);
        let record = record::record(&entry).unwrap();
        let value = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        prop_assert_eq!(field(&record, "MESSAGE"), value(odd["message"].as_str().unwrap()));
        prop_assert_eq!(field(&record, "LKM_MONITOR_EVENT_ID"), value(&id));
        prop_assert_eq!(field(&record, "LKM_MONITOR_EVENT_ACTION"), value(&newlines));
        prop_assert_eq!(field(&record, "LKM_MONITOR_DOCUMENT").unwrap(), entry.json.to_vec());
    }
}

#[test]
fn a_batch_arrives_in_order() {
    let journal = Journal::start();
    let batch = entries(0..8, 2500);
    let sent = batch.clone();
    let mut sink = journal.sink();
    let sending = std::thread::spawn(move || sink.deliver(&sent));
    for entry in &batch {
        let (record, sealed) = journal.receive();
        assert_eq!((field(&record, "LKM_MONITOR_DOCUMENT").unwrap(), sealed), (entry.json.to_vec(), false));
    }
    assert_eq!(sending.join().unwrap(), Delivered::Each(vec![Fate::Taken; 8]));
}

#[test]
fn what_is_too_long_for_a_datagram_comes_as_a_sealed_file() {
    let journal = Journal::start();
    let long = entries(0..1, 4 << 20);
    assert_eq!(journal.sink().deliver(&long), Delivered::Each(vec![Fate::Taken]));
    let (record, sealed) = journal.receive();
    assert!(sealed);
    assert_eq!(field(&record, "LKM_MONITOR_DOCUMENT").unwrap(), long[0].json.to_vec());
}

#[test]
fn nobody_who_listens_is_a_failure_and_a_new_socket_is_found() {
    let Journal { _folder, path, socket } = Journal::start();
    let mut sink = JournaldSink::new(path.clone(), Duration::from_secs(10));
    drop(socket);
    let batch = entries(0..1, 300);
    let Delivered::Failed(failure) = sink.deliver(&batch) else { panic!("taken") };
    assert!(failure.reason.contains("refused") && !failure.maybe_taken, "{failure:?}");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(sink.deliver(&batch), Delivered::Failed(_)));
    let socket = UnixDatagram::bind(&path).unwrap();
    assert_eq!(sink.deliver(&batch), Delivered::Each(vec![Fate::Taken]));
    assert!(socket.recv(&mut [0; 4096]).unwrap() > 300);
}

#[test]
fn a_journald_that_does_not_read_costs_the_timeout() {
    let journal = Journal::start();
    let mut sink = JournaldSink::new(journal.path.clone(), Duration::from_millis(50));
    let batch = entries(0..20_000, 300);
    let Delivered::Each(fates) = sink.deliver(&batch) else { panic!("the queue took nothing") };
    let taken = fates.iter().filter(|fate| **fate == Fate::Taken).count();
    assert!(taken > 0 && matches!(&fates[taken], Fate::TryAgain(reason) if reason.contains("does not read")));
    assert!(matches!(sink.deliver(&batch), Delivered::Failed(_)));
}

#[test]
fn what_is_no_json_is_refused_and_the_rest_goes() {
    let journal = Journal::start();
    let mut batch = entries(0..2, 300);
    batch[0].json = b"{".to_vec().into();
    let Delivered::Each(fates) = journal.sink().deliver(&batch) else { panic!("failed") };
    assert!(matches!(&fates[0], Fate::Refused(reason) if reason.contains("not JSON")) && fates[1] == Fate::Taken);
}
