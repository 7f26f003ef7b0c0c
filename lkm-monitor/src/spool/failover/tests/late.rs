//! A disk that takes some writes, and none after them: a transaction may fail at each of its writes, and be in the file all the same.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use redb::{Builder, StorageBackend, backends::FileBackend};

use super::*;

#[derive(Debug)]
struct Failing {
    file: FileBackend,
    /// Changes that it still takes.
    left: Arc<AtomicU32>,
}

impl Failing {
    fn take_one(&self) -> io::Result<()> {
        let took = self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        took.map(drop).map_err(|_| io::Error::other("no room"))
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.take_one()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.take_one()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take_one()?;
        self.file.write(offset, data)
    }
}

/// A spool whose file takes changes for as long as `left` says.
fn failing(path: &Path, left: &Arc<AtomicU32>) -> Spool {
    let spool = spool(path);
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let backend = Failing { file: FileBackend::new(file).unwrap(), left: Arc::clone(left) };
    let database = Builder::new().create_with_backend(backend).unwrap();
    let mut store = Store::new(database).unwrap().unwrap();
    store.set_sinks(&[("siem".to_owned(), false)].into()).unwrap();
    spool.inner().store = store;
    spool
}

#[test]
fn whichever_write_fails_no_document_is_lost() {
    for takes in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let left = Arc::new(AtomicU32::new(u32::MAX));
        let spool = failing(&folder.path().join("spool.redb"), &left);
        spool.append(&documents(&["a"]));
        left.store(takes, Ordering::Relaxed);
        spool.append(&documents(&["b", "c"]));
        if spool.condition() == Condition::Durable {
            assert!(takes > 5, "a transaction is more writes than that");
            return;
        }
        try_again(&spool);
        assert_eq!(spool.condition(), Condition::Durable);
        let (_, mut texts) = read(&spool);
        assert_eq!(total(&spool.counts(), Count::Spooled), texts.len() as u64, "{takes}");
        texts.sort();
        texts.dedup();
        assert_eq!(texts, ["a", "b", "c"], "{takes}");
    }
}
