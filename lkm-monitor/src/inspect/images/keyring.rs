//! The keys of the host, read beside everything else.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::signature::{KeySources, Keys};

/// How long after the start who needs keys waits for them: to be told in time without them is better.
const PATIENCE: Duration = Duration::from_secs(2);
/// Keys are read again after that: some may have been enrolled.
const AGE: Duration = Duration::from_secs(600);
/// At the most so often because a key is not known.
const AGAIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Keyring {
    sources: KeySources,
    /// Gives the keys once, when they are read.
    coming: Option<Receiver<Keys>>,
    keys: Keys,
    /// When they were read last; before, when that began.
    read: Instant,
}

impl Keyring {
    /// Begins to read them. The kernel's image may take seconds.
    pub(super) fn start(sources: KeySources) -> io::Result<Self> {
        let (read, coming) = channel();
        let own_sources = sources.clone();
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let begun = Instant::now();
            let keys = Keys::read(&own_sources);
            for problem in keys.problems() {
                tracing::info!(path = %problem.path.display(), reason = problem.reason, "keys of this host cannot be read");
            }
            tracing::info!(certificates = keys.len(), ms = begun.elapsed().as_millis(), "keys of this host are read");
            // Nobody needs them any more when the daemon ends.
            let _ = read.send(keys);
        })?;
        Ok(Self { sources, coming: Some(coming), keys: Keys::default(), read: Instant::now() })
    }

    /// Those that are read by now; just after the start, waits a little for them.
    pub(super) fn keys(&mut self) -> &Keys {
        self.receive();
        if self.coming.is_none() {
            self.refresh_after(AGE);
        }
        &self.keys
    }

    /// The same, read again if that was not just done: a key may have been made for the module that is loaded now.
    pub(super) fn latest(&mut self) -> &Keys {
        if self.coming.is_none() {
            self.refresh_after(AGAIN);
        }
        &self.keys
    }

    fn receive(&mut self) {
        let Some(coming) = &self.coming else { return };
        match coming.recv_timeout(PATIENCE.saturating_sub(self.read.elapsed())) {
            Ok(keys) => (self.keys, self.read, self.coming) = (keys, Instant::now(), None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                tracing::error!("who read the keys of this host has died: those of the kernel's image are not known");
                self.sources.kernel_images.clear();
                self.coming = None;
                self.refresh_after(Duration::ZERO);
            }
        }
    }

    fn refresh_after(&mut self, age: Duration) {
        if self.read.elapsed() >= age {
            self.keys.refresh(&self.sources);
            self.read = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

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
        assert_eq!(keyring.keys().len(), 1);
        enroll(folder.path(), "second.der");
        assert_eq!(keyring.keys().len(), 1, "they are not old yet");
        keyring.read -= AGE;
        assert_eq!(keyring.keys().len(), 2);
        enroll(folder.path(), "third.der");
        assert_eq!(keyring.keys().len(), 2, "these are new");
    }

    #[test]
    fn who_waited_long_enough_for_keys_goes_on_without_them() {
        let folder = tempfile::tempdir().unwrap();
        enroll(folder.path(), "first.der");
        let (read, coming) = channel();
        let sources = sources(folder.path());
        let late = Keys::read(&sources);
        let begun = Instant::now() - PATIENCE;
        let mut keyring = Keyring { sources, coming: Some(coming), keys: Keys::default(), read: begun };
        assert_eq!(keyring.keys().len(), 0);
        read.send(late).unwrap();
        assert_eq!(keyring.keys().len(), 1, "and takes them when they are there");
    }
}
