//! The steps by which the folder is changed. In tests each of them can fail.

use std::io;

/// One change, or one wait for the disk to have all changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Write,
    SyncFile,
    Rename,
    SyncFolder,
    Remove,
}

#[cfg(not(test))]
pub(super) fn before(_: Step) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use faults::before;

#[cfg(test)]
pub(super) mod faults {
    use std::{cell::RefCell, ops::Range};

    use super::*;

    thread_local! {
        static DISK: RefCell<Disk> = RefCell::default();
    }

    /// The disk of this thread.
    #[derive(Default)]
    struct Disk {
        steps: Vec<Step>,
        /// Steps that fail, by their numbers, and how.
        fails: Range<usize>,
        errno: i32,
    }

    pub(in super::super) fn before(step: Step) -> io::Result<()> {
        DISK.with_borrow_mut(|disk| {
            disk.steps.push(step);
            let fails = disk.fails.contains(&(disk.steps.len() - 1));
            if fails { Err(io::Error::from_raw_os_error(disk.errno)) } else { Ok(()) }
        })
    }

    /// Lets the steps with these numbers fail, counted from here on.
    pub(in super::super) fn fail(fails: Range<usize>, error: rustix::io::Errno) {
        DISK.set(Disk { steps: Vec::new(), fails, errno: error.raw_os_error() });
    }

    /// Lets nothing fail any more; the steps that were taken.
    pub(in super::super) fn mend() -> Vec<Step> {
        DISK.take().steps
    }
}
