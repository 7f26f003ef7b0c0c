//! The keys of the host, read beside everything else.

use std::{
    io, mem,
    time::{Duration, Instant},
};

use super::aside::{Aside, Missed};
use crate::signature::{KeySources, Keys};

/// Keys are read again after that: some may have been enrolled.
const AGE: Duration = Duration::from_secs(600);
/// At the most so often because a key is not known.
const AGAIN: Duration = Duration::from_secs(10);

/// Those that were read last, and who reads them again. That one may hang: a folder with certificates can be on any file system.
#[derive(Debug)]
pub(super) struct Keyring {
    sources: KeySources,
    reader: Aside<KeySources, Keys>,
    keys: Keys,
    /// When the last reading began.
    begun: Instant,
}

impl Keyring {
    /// Begins to read them. The kernel's image may take seconds.
    pub(super) fn start(sources: KeySources) -> io::Result<Self> {
        let (mut keys, mut is_first) = (Keys::default(), true);
        Self::start_with(sources, move |sources| {
            let begun = Instant::now();
            keys.refresh(sources);
            if mem::take(&mut is_first) {
                tell(&keys, begun.elapsed());
            }
            keys.clone()
        })
    }

    pub(super) fn start_with(
        sources: KeySources,
        mut read: impl FnMut(&KeySources) -> Keys + Send + 'static,
    ) -> io::Result<Self> {
        let mut reader = Aside::start("keys", move |sources| read(&sources))?;
        reader.begin(sources.clone());
        Ok(Self { sources, reader, keys: Keys::default(), begun: Instant::now() })
    }

    /// Those that are read by now; while they are being read, waits a little, and not beyond `until`.
    pub(super) fn keys(&mut self, until: Instant) -> &Keys {
        self.no_older_than(AGE, until)
    }

    /// The same, read again if that was not just done: a key may have been made for the module that is loaded now.
    pub(super) fn latest(&mut self, until: Instant) -> &Keys {
        self.no_older_than(AGAIN, until)
    }

    fn no_older_than(&mut self, age: Duration, until: Instant) -> &Keys {
        // They may have been there for long, and be old.
        self.receive(Instant::now());
        if self.begun.elapsed() >= age && self.reader.begin(self.sources.clone()) {
            self.begun = Instant::now();
        }
        self.receive(until);
        &self.keys
    }

    fn receive(&mut self, until: Instant) {
        match self.reader.finish(until) {
            Ok(keys) => self.keys = keys,
            Err(Missed::Late) => {}
            Err(Missed::Failed) => {
                tracing::error!(
                    "the keys of this host cannot be read: their reader failed. The kernel's image is left out"
                );
                // What is hardest to read.
                self.sources.kernel_images.clear();
            }
        }
    }
}

fn tell(keys: &Keys, took: Duration) {
    for problem in keys.problems() {
        tracing::info!(path = %problem.path.display(), reason = problem.reason, "keys of this host cannot be read");
    }
    tracing::info!(certificates = keys.len(), ms = took.as_millis(), "keys of this host are read");
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::mpsc};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn in_time() -> Instant {
        Instant::now() + LONG
    }

    /// Sources with nothing but the certificates in this folder.
    fn sources(folder: &Path) -> KeySources {
        KeySources {
            kernel_images: Vec::new(),
            certificates: vec![folder.to_owned()],
            kernel_keys: folder.join("no-keys"),
        }
    }

    fn enroll(folder: &Path, name: &str) {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(folder.join(name), certified.cert.der()).unwrap();
    }

    #[test]
    fn keys_that_were_enrolled_meanwhile_are_found_when_the_others_are_old() {
        let folder = tempfile::tempdir().unwrap();
        enroll(folder.path(), "first.der");
        let mut keyring = Keyring::start(sources(folder.path())).unwrap();
        keyring.reader.patience = LONG;
        assert_eq!(keyring.keys(in_time()).len(), 1);
        enroll(folder.path(), "second.der");
        assert_eq!(keyring.keys(in_time()).len(), 1, "they are not old yet");
        keyring.begun -= AGE;
        assert_eq!(keyring.keys(in_time()).len(), 2);
        enroll(folder.path(), "third.der");
        assert_eq!((keyring.keys(in_time()).len(), keyring.latest(in_time()).len()), (2, 2), "these are new");
        keyring.begun -= AGAIN;
        assert_eq!(keyring.keys(in_time()).len(), 2);
        assert_eq!(keyring.latest(in_time()).len(), 3);
    }

    #[test]
    fn while_their_reader_hangs_keys_are_those_of_before_and_nobody_else_reads() {
        let folder = tempfile::tempdir().unwrap();
        enroll(folder.path(), "first.der");
        let ((go, goes), (began, begins)) = (mpsc::channel(), mpsc::channel());
        let read = move |sources: &KeySources| {
            began.send(()).unwrap();
            goes.recv().unwrap();
            Keys::read(sources)
        };
        let mut keyring = Keyring::start_with(sources(folder.path()), read).unwrap();
        keyring.reader.patience = Duration::ZERO;
        assert_eq!(keyring.keys(in_time()).len(), 0, "who waited long enough goes on without them");
        let patient = |keyring: &mut Keyring| {
            keyring.reader.patience = LONG;
            let known = keyring.keys(in_time()).len();
            keyring.reader.patience = Duration::ZERO;
            known
        };
        go.send(()).unwrap();
        assert_eq!(patient(&mut keyring), 1, "and takes them when they are there");

        enroll(folder.path(), "second.der");
        begins.recv_timeout(LONG).unwrap();
        for _ in 0..3 {
            keyring.begun -= AGE;
            assert_eq!((keyring.keys(in_time()).len(), keyring.latest(in_time()).len()), (1, 1));
        }
        begins.recv_timeout(LONG).unwrap();
        assert!(begins.try_recv().is_err(), "one reads at a time");
        go.send(()).unwrap();
        keyring.begun = Instant::now();
        assert_eq!(patient(&mut keyring), 2, "it was only slow");
    }

    #[test]
    fn a_reader_that_fails_is_asked_again_without_the_kernels_image() {
        let folder = tempfile::tempdir().unwrap();
        enroll(folder.path(), "first.der");
        let sources = KeySources { kernel_images: vec!["/boot/vmlinuz".into()], ..sources(folder.path()) };
        let read = |sources: &KeySources| {
            assert!(sources.kernel_images.is_empty(), "this one cannot be read");
            Keys::read(sources)
        };
        let mut keyring = Keyring::start_with(sources, read).unwrap();
        keyring.reader.patience = LONG;
        assert_eq!(keyring.keys(in_time()).len(), 0);
        keyring.begun -= AGAIN;
        assert_eq!(keyring.latest(in_time()).len(), 1);
    }
}
