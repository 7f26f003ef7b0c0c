//! What the records of packages say, asked in a thread of its own: at the start they are read for seconds, and any of them can be on a
//! file system that never answers.

use std::{io, path::Path, sync::Arc, time::Instant};

use super::aside::{Aside, Missed};
use crate::{
    model::{DigestCheck, Manager, Problem, Provenance},
    provenance::Packages,
};

/// A file that was loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    path: Vec<u8>,
    content: Arc<Vec<u8>>,
}

/// Who is asked.
#[derive(Debug)]
pub(super) struct Records {
    /// Nothing is asked the first time, when the databases are read.
    pub(super) reader: Aside<Option<Loaded>, Option<Provenance>>,
}

impl Records {
    /// Begins to read the databases of the host whose root folder is seen as `root`.
    pub(super) fn start(root: &Path) -> io::Result<Self> {
        let mut packages = Packages::new(root);
        Self::start_with(move |loaded| {
            let Some(Loaded { path, content }) = loaded else {
                packages.read();
                return None;
            };
            Some(packages.owner(&path, &content))
        })
    }

    pub(super) fn start_with(
        answer: impl FnMut(Option<Loaded>) -> Option<Provenance> + Send + 'static,
    ) -> io::Result<Self> {
        let mut reader = Aside::start("packages", answer)?;
        reader.begin(None);
        Ok(Self { reader })
    }

    /// Where the file comes from, as far as that is known before `until`.
    pub(super) fn owner(&mut self, path: &[u8], content: &Arc<Vec<u8>>, until: Instant) -> Provenance {
        // The answer to an earlier question is nobody's any more.
        let _ = self.reader.finish(until);
        let asked = self.reader.begin(Some(Loaded { path: path.to_vec(), content: Arc::clone(content) }));
        match asked.then(|| self.reader.finish(until)) {
            Some(Ok(Some(provenance))) => provenance,
            Some(Err(Missed::Failed) | Ok(None)) => {
                tracing::error!("the records of packages cannot be read: their reader failed. Report it");
                unknown("the reader of the records of packages failed")
            }
            Some(Err(Missed::Late)) | None => unknown("the records of packages could not be read in time"),
        }
    }
}

fn unknown(reason: &str) -> Provenance {
    Provenance {
        manager: Manager::Unknown,
        package: None,
        version: None,
        architecture: None,
        digest: DigestCheck::NotRecorded,
        problems: vec![Problem { path: "/".into(), reason: reason.to_owned() }],
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::mpsc::{self, Receiver, Sender},
        time::Duration,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn in_time() -> Instant {
        Instant::now() + LONG
    }

    /// When it does not come, the test fails instead of waiting for ever.
    fn next<T>(of: &Receiver<T>) -> T {
        of.recv_timeout(LONG).unwrap()
    }

    /// Who answers with the number of bytes when told to, and tells when he begins.
    fn slow() -> (Records, Sender<()>, Receiver<Option<String>>) {
        let ((go, goes), (began, begins)) = (mpsc::channel(), mpsc::channel());
        let answer = move |loaded: Option<Loaded>| {
            began.send(loaded.as_ref().map(|loaded| String::from_utf8(loaded.path.clone()).unwrap())).unwrap();
            goes.recv().unwrap();
            let Loaded { path, content } = loaded?;
            Some(Provenance { package: Some([path, content.to_vec()].concat()), ..unknown("x") })
        };
        (Records::start_with(answer).unwrap(), go, begins)
    }

    fn ask(records: &mut Records, path: &str, until: Instant) -> Result<String, String> {
        let provenance = records.owner(path.as_bytes(), &Arc::new(b" of 1".to_vec()), until);
        assert_eq!(provenance.manager, Manager::Unknown);
        let package = provenance.package.map(|package| String::from_utf8(package).unwrap());
        package.ok_or_else(|| provenance.problems[0].reason.clone())
    }

    const LATE: &str = "the records of packages could not be read in time";

    #[test]
    fn who_asks_before_the_databases_are_read_is_told_so_and_who_asks_afterwards_gets_his_own_answer() {
        let (mut records, go, begins) = slow();
        records.reader.patience = LONG;
        assert_eq!(next(&begins), None, "they are read before anybody asks");
        assert_eq!(ask(&mut records, "/a.ko", Instant::now()), Err(LATE.to_owned()));
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(ask(&mut records, "/b.ko", in_time()), Ok("/b.ko of 1".to_owned()));
        assert_eq!(next(&begins).as_deref(), Some("/b.ko"), "nobody waits for what is known of a.ko");
    }

    #[test]
    fn who_hangs_is_not_waited_for_again_until_he_answers() {
        let (mut records, go, begins) = slow();
        records.reader.patience = LONG;
        go.send(()).unwrap();
        assert_eq!(next(&begins), None);
        records.reader.patience = Duration::ZERO;
        let before = Instant::now();
        // Only as soon as the databases are read.
        while begins.try_recv().is_err() {
            assert_eq!(ask(&mut records, "/a.ko", in_time()), Err(LATE.to_owned()));
            assert!(before.elapsed() < LONG);
        }
        assert_eq!(ask(&mut records, "/b.ko", in_time()), Err(LATE.to_owned()));
        assert!(before.elapsed() < LONG);
        records.reader.patience = LONG;
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(ask(&mut records, "/c.ko", in_time()), Ok("/c.ko of 1".to_owned()), "not what is known of a.ko");
    }

    #[test]
    fn a_reader_that_fails_is_told() {
        let mut records = Records::start_with(|loaded| loaded.map(|_| panic!("it is odd"))).unwrap();
        records.reader.patience = LONG;
        let failed = "the reader of the records of packages failed";
        assert_eq!(ask(&mut records, "/a.ko", in_time()), Err(failed.to_owned()));
    }

    #[test]
    fn the_databases_of_the_host_are_asked() {
        let root = tempfile::tempdir().unwrap();
        let info = root.path().join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        fs::write(info.join("linux-image.list"), "/lib/modules/6.1/a.ko\n").unwrap();
        let mut records = Records::start(root.path()).unwrap();
        records.reader.patience = LONG;
        let owner = records.owner(b"/lib/modules/6.1/a.ko", &Arc::default(), in_time());
        assert_eq!((owner.manager, owner.package.as_deref()), (Manager::Dpkg, Some(&b"linux-image"[..])));
    }
}
