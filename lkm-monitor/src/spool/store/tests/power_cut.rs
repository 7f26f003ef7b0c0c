//! A disk that forgets what was not synced when the power is cut: some writes are there then, some are not, and some in part.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use redb::{Builder, StorageBackend};

use super::*;

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    /// What survives in any case.
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    /// Changes until the power is cut.
    left: Option<u32>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    /// Makes the change, or as much of it as `part` says: 0 for none, 3 for all.
    fn apply(&self, content: &mut Vec<u8>, part: u8) {
        match self {
            Self::Length(len) if part > 1 => content.resize(*len, 0),
            Self::Length(_) => {}
            Self::Write(offset, data) => {
                let sectors = data.len() / SECTOR * usize::from(part) / 3;
                let part = if part == 3 { data } else { &data[..sectors * SECTOR] };
                content.resize(content.len().max(offset + part.len()), 0);
                content[*offset..][..part.len()].copy_from_slice(part);
            }
        }
    }
}

impl Disk {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut content = self.content();
        content.left = content.left.map(|left| left.saturating_sub(1));
        if content.left == Some(0) {
            return Err(io::Error::other("no power"));
        }
        change.apply(&mut content.now, 3);
        content.unsynced.push(change);
        Ok(())
    }

    /// What is there when the power is back. `parts` decides of each change that was not synced, in turn.
    fn after_a_cut(&self, parts: &[u8]) -> Self {
        let content = self.content();
        let mut now = content.synced.clone();
        for (change, part) in content.unsynced.iter().zip(parts.iter().cycle()) {
            change.apply(&mut now, *part);
        }
        Self(Arc::new(Mutex::new(Content { synced: now.clone(), now, unsynced: vec![], left: None })))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.content();
        let there = content.now.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let content = &mut *self.content();
        if content.left == Some(0) {
            return Err(io::Error::other("no power"));
        }
        content.synced.clone_from(&content.now);
        content.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset as usize, data.to_vec()))
    }
}

fn store_on(disk: &Disk) -> Store {
    let database = Builder::new().set_cache_size(1 << 20).create_with_backend(disk.clone()).unwrap();
    let mut store = Store::new(database).unwrap().unwrap();
    store.set_sinks(&[("all".to_owned(), false)].into()).unwrap();
    store
}

/// What is kept, and what was counted to have come.
fn state(store: &Store) -> (Vec<u64>, u64) {
    let mut numbers = Vec::new();
    store
        .documents(|entry| {
            numbers.push(entry.number);
            true
        })
        .unwrap();
    (numbers, total(&store.counts().unwrap(), Count::Spooled))
}

#[derive(Clone, Debug)]
enum Work {
    Append(usize),
    Acknowledge(usize),
}

fn work() -> impl Strategy<Value = Vec<Work>> {
    let work = prop_oneof![(1..60_usize).prop_map(Work::Append), (1..40_usize).prop_map(Work::Acknowledge)];
    prop::collection::vec(work, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever returned is durable; what the cut met is done, or it is not.
    #[test]
    fn a_power_cut_undoes_nothing_that_was_done(
        work in work(), left in 1..60_u32, parts in prop::collection::vec(0..4_u8, 1..40), cuts in 1..4_usize,
    ) {
        let mut disk = Disk::default();
        let mut store = store_on(&disk);
        for _ in 0..cuts {
            disk.content().left = Some(left);
            let mut done = state(&store);
            for work in work.iter().cycle().take(60) {
                let limits = Limits { max_bytes: 1 << 30, ..LIMITS };
                let mut next = done.clone();
                let result = match work {
                    Work::Append(number) => {
                        let first = done.1 + 1;
                        next.0.extend(first..first + *number as u64);
                        next.1 += *number as u64;
                        store.append(&of_classes(&vec![Class::High; *number]), 0, limits)
                    }
                    Work::Acknowledge(most) => store.read("all", *most, 1 << 20).and_then(|batch| {
                        next.0.retain(|number| batch.numbers.as_ref().is_none_or(|numbers| number > numbers.end()));
                        store.acknowledge("all", &Receipt::of(&batch), limits)
                    }),
                };
                let was_met = result.is_err();
                if was_met {
                    disk = disk.after_a_cut(&parts);
                    store = store_on(&disk);
                    let now = state(&store);
                    let is = |expected: &(Vec<u64>, u64)| now.1 == expected.1 && expected.0.iter().all(|number| now.0.contains(number));
                    prop_assert!(is(&done) || is(&next), "{now:?} is neither {done:?} nor {next:?}");
                    break;
                }
                // Chunks that are done in part stay whole.
                done = (state(&store).0, next.1);
                prop_assert!(next.0.iter().all(|number| done.0.contains(number)));
            }
        }
    }
}
