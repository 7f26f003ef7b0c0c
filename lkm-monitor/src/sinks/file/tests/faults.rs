//! A disk that is full, or does not write, or does not cut.

use std::{
    cell::Cell,
    io::{Seek as _, Write},
};

use proptest::prelude::*;

use super::*;

/// How the disk of this thread behaves.
#[derive(Clone, Copy, Debug, Default)]
struct Disk {
    /// Bytes that it still takes.
    room: usize,
    /// Bytes that it takes at once.
    step: usize,
    cuts: bool,
    syncs: bool,
}

thread_local! {
    static DISK: Cell<Disk> = const { Cell::new(Disk { room: usize::MAX, step: usize::MAX, cuts: true, syncs: true }) };
}

struct OnDisk(File);

impl From<File> for OnDisk {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Write for OnDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let disk = DISK.get();
        if disk.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = self.0.write(&bytes[..bytes.len().min(disk.room).min(disk.step)])?;
        DISK.set(Disk { room: disk.room - written, ..disk });
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for OnDisk {
    fn cut(&self, len: u64) -> io::Result<()> {
        if !DISK.get().cuts {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut file = &self.0;
        let was = file.seek(io::SeekFrom::End(0))?;
        self.0.set_len(len)?;
        let disk = DISK.get();
        DISK.set(Disk { room: disk.room.saturating_add(usize::try_from(was - len).unwrap()), ..disk });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if DISK.get().syncs { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EIO)) }
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

fn any_disk() -> impl Strategy<Value = Disk> {
    (prop_oneof![0_usize..6000, Just(1 << 20)], 1_usize..3000, any::<bool>(), any::<bool>())
        .prop_map(|(room, step, cuts, syncs)| Disk { room, step, cuts, syncs })
}

/// All documents in the folder, in the order in which they were written. A line without its end counts as none.
fn documents(folder: &Path) -> Vec<Vec<u8>> {
    let whole = |file: PathBuf| {
        let bytes = fs::read(file).unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        lines.skip(1).map(|line| line.trim_ascii_end().to_vec()).collect::<Vec<_>>()
    };
    files(folder).into_iter().flat_map(whole).collect()
}

proptest! {
    #[test]
    fn what_was_taken_is_there_in_order_and_nothing_twice_that_was_not_said(
        disks in proptest::collection::vec((any_disk(), 1_usize..5, any::<bool>()), 1..12),
    ) {
        let (folder, path) = folder();
        let settings = FileSettings { sync: true, keep_files: 1000, rotate_bytes: 8000, ..settings(&path) };
        let new = || FileSink::<OnDisk>::new(settings.clone(), &samples::host(), &Agent::default());
        let mut sink = new();
        let batch = entries(0..100, 700);
        let (mut done, mut twice_allowed) = (0, false);
        for (disk, count, restart) in disks {
            if restart {
                sink = new();
            }
            DISK.set(disk);
            match sink.deliver(&batch[done..done + count]) {
                Delivered::Each(fates) => {
                    prop_assert!(fates.iter().all(|fate| matches!(fate, Fate::Taken | Fate::Duplicate)));
                    done += count;
                }
                Delivered::Failed(failure) => twice_allowed |= failure.maybe_taken,
                Delivered::TooLarge => prop_assert!(false, "files take any size"),
            }
        }
        DISK.set(Disk { room: usize::MAX, step: usize::MAX, cuts: true, syncs: true });
        let delivered = sink.deliver(&batch[done..=done]);
        prop_assert!(matches!(&delivered, Delivered::Each(_)), "a disk that works again: {delivered:?}");
        let mut found = documents(folder.path());
        if twice_allowed {
            let mut seen = HashSet::new();
            found.retain(|document| seen.insert(document.clone()));
        }
        // What a failed batch left behind comes with the next one, and so in order.
        prop_assert_eq!(&found[..=done], &json_of(&batch[..=done])[..]);
        prop_assert!(twice_allowed || found.len() == done + 1);
    }
}

#[test]
fn a_full_disk_leaves_the_file_as_it_was() {
    let (_folder, path) = folder();
    let mut sink = FileSink::<OnDisk>::new(settings(&path), &samples::host(), &Agent::default());
    let batch = entries(0..3, 700);
    assert_eq!(sink.deliver(&batch[..1]), taken(1));
    let before = fs::read(&path).unwrap();
    DISK.set(Disk { room: 1000, ..DISK.get() });
    let Delivered::Failed(failure) = sink.deliver(&batch[1..]) else { panic!("taken") };
    assert!(failure.reason.contains("events.ndjson: cannot write: ") && !failure.maybe_taken, "{failure:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
    DISK.set(Disk { room: usize::MAX, ..DISK.get() });
    assert_eq!(sink.deliver(&batch[1..]), taken(2));
    assert_eq!(read(&path).1, json_of(&batch));
}

#[test]
fn a_file_that_cannot_be_cut_is_not_continued() {
    let (folder, path) = folder();
    let mut sink = FileSink::<OnDisk>::new(settings(&path), &samples::host(), &Agent::default());
    let batch = entries(0..3, 700);
    assert_eq!(sink.deliver(&batch[..1]), taken(1));
    DISK.set(Disk { room: 1000, cuts: false, ..DISK.get() });
    let Delivered::Failed(failure) = sink.deliver(&batch[1..]) else { panic!("taken") };
    assert!(failure.reason.contains("cannot cut") && failure.maybe_taken, "{failure:?}");
    DISK.set(Disk { room: usize::MAX, cuts: true, ..DISK.get() });
    assert_eq!(sink.deliver(&batch[1..]), taken(2));
    assert_eq!(read(&path).1, json_of(&batch[1..]));
    // Found again there after a restart: whatever was half written stays as it is.
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn what_did_not_reach_the_disk_is_not_taken() {
    let (_folder, path) = folder();
    let synced = FileSettings { sync: true, ..settings(&path) };
    let mut sink = FileSink::<OnDisk>::new(synced, &samples::host(), &Agent::default());
    assert_eq!(sink.deliver(&entries(0..1, 700)), taken(1));
    DISK.set(Disk { syncs: false, ..DISK.get() });
    assert!(matches!(sink.deliver(&entries(1..2, 700)), Delivered::Failed(_)));
    DISK.set(Disk { syncs: true, ..DISK.get() });
    assert_eq!(read(&path).1.len(), 1);
}

#[test]
fn a_disk_without_room_for_another_file_keeps_the_old_ones() {
    let (folder, path) = folder();
    let settings = FileSettings { keep_files: 1, ..settings(&path) };
    let mut sink = FileSink::<OnDisk>::new(settings, &samples::host(), &Agent::default());
    let batch = entries(0..2, 700);
    assert_eq!(sink.deliver(&batch[..1]), taken(1));
    sink.settings.rotate_bytes = 1;
    DISK.set(Disk { room: 0, ..DISK.get() });
    for _ in 0..3 {
        assert!(matches!(sink.deliver(&batch[1..]), Delivered::Failed(_)));
    }
    DISK.set(Disk { room: usize::MAX, ..DISK.get() });
    assert_eq!(sink.deliver(&batch[1..]), taken(1));
    assert_eq!(documents(folder.path()), json_of(&batch));
}
