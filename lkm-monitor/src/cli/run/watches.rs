//! What the daemon looks at from time to time: whether written files were closed, and whether the host has other module tools.

use std::time::Duration;

use tokio::time::Instant;

use crate::{inspect, model::InstalledTool, sensor::attach::Programs};

/// The first look for a close after a file was opened, and the longest time between two looks at one that stays open.
const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(640);

/// The looks for files that were closed. There are none while no watched file is being written.
#[derive(Debug)]
pub(super) struct Closes {
    open_files: usize,
    interval: Duration,
    next: Instant,
}

impl Default for Closes {
    fn default() -> Self {
        Self { open_files: 0, interval: SOON, next: Instant::now() }
    }
}

impl Closes {
    /// So many watched files are being written now. A change of the number is followed by a look soon.
    pub(super) fn await_closes_of(&mut self, open_files: usize) {
        if open_files != self.open_files {
            let next = Instant::now() + SOON;
            // Files that are opened one after the other must not put the look off for ever.
            self.next = if self.open_files == 0 { next } else { self.next.min(next) };
            self.interval = SOON;
            self.open_files = open_files;
        }
    }

    pub(super) const fn are_awaited(&self) -> bool {
        self.open_files > 0
    }

    pub(super) fn are_due(&self) -> bool {
        self.are_awaited() && self.next <= Instant::now()
    }

    /// When to look next.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// Lets the kernel look.
    pub(super) fn look(&mut self, programs: &mut Programs) {
        if let Err(error) = programs.look_for_closed_files() {
            tracing::error!(%error, "the kernel does not look for closed files: they are told as still open");
        }
        self.interval = (self.interval * 2).min(LATE);
        self.next = Instant::now() + self.interval;
    }
}

/// How often the host's tools are looked at.
const TOOLS_EVERY: Duration = Duration::from_secs(10);

/// The module tools of the host, as the probes know them.
#[derive(Debug)]
pub(super) struct ToolWatch {
    pub(super) known: Vec<InstalledTool>,
    pub(super) looked: std::time::Instant,
}

impl ToolWatch {
    /// Tells the probes when the tools are others: a package of kmod makes new files.
    pub(super) fn follow(&mut self, programs: &mut Programs) {
        if self.looked.elapsed() < TOOLS_EVERY {
            return;
        }
        self.looked = std::time::Instant::now();
        let tools = match inspect::installed_tools() {
            Ok(tools) if tools == self.known => return,
            Ok(tools) => tools,
            Err(error) => {
                tracing::warn!(%error, "a module tool of this host cannot be read: those known before are watched on");
                return;
            }
        };
        match programs.know_tools(&tools) {
            Ok(_) => self.known = tools,
            Err(error) => tracing::error!(%error, "the probes do not know the host's new module tools"),
        }
    }
}
