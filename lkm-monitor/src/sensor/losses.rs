//! What the kernel side lost, and what it did.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::{MapData, MapError, PerCpuArray};
use lkm_monitor_common::counter::Counter;

use super::attach::{AttachError, Incomplete, Programs};

/// Totals since the probes were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub calls_entered: u64,
    /// Calls of which nothing but a count is left.
    pub calls_unseen: u64,
    pub ring_full: u64,
    pub scratch_exhausted: u64,
    pub in_flight_full: u64,
    pub submitted: u64,
    /// Files whose writers could not be followed.
    pub writers_unfollowed: u64,
    /// Renames and links that could not be followed.
    pub name_changes_full: u64,
    /// Runs of module tools that could not be followed.
    pub tool_runs_full: u64,
    /// Module images that were not captured up to their limit.
    pub images_cut: u64,
    /// Runs of a probe that the kernel skipped because the same probe was running on that CPU (5.12 and later tell).
    pub probe_skipped: u64,
}

/// Reads the probes' counters.
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
    /// /proc/self/fdinfo files of the programs, opened before anything can be mounted over /proc.
    program_infos: Vec<File>,
    /// What they said last: they are gone when the programs are.
    probe_skipped: u64,
}

impl Counters {
    /// Takes the counter map out of `programs`.
    pub fn open(programs: &mut Programs) -> Result<Self, AttachError> {
        let map = programs.ebpf.take_map("COUNTERS").ok_or(Incomplete("COUNTERS"))?;
        let program_infos = programs
            .ebpf
            .programs()
            // What follows processes loses no call when it is skipped, but at the most a command line.
            .filter(|(name, _)| !name.starts_with("sched_process_"))
            .filter_map(|(_, program)| program.fd().ok())
            .filter_map(|fd| File::open(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok())
            .collect();
        Ok(Self { map: PerCpuArray::try_from(map)?, program_infos, probe_skipped: 0 })
    }

    /// The totals now, all CPUs together. They can be read when the programs are gone, too.
    pub fn read(&mut self) -> Result<Totals, MapError> {
        self.probe_skipped = self.probe_skipped.max(self.skipped());
        let mut totals = Totals { probe_skipped: self.probe_skipped, ..Totals::default() };
        for counter in Counter::ALL {
            let total = self.map.get(&(counter as u32), 0)?.iter().sum();
            match counter {
                Counter::CallsEntered => totals.calls_entered = total,
                Counter::CallsUnseen => totals.calls_unseen = total,
                Counter::RingFull => totals.ring_full = total,
                Counter::ScratchExhausted => totals.scratch_exhausted = total,
                Counter::InFlightFull => totals.in_flight_full = total,
                Counter::Submitted => totals.submitted = total,
                Counter::WritersUnfollowed => totals.writers_unfollowed = total,
                Counter::NameChangesFull => totals.name_changes_full = total,
                Counter::ToolRunsFull => totals.tool_runs_full = total,
                Counter::ImagesCut => totals.images_cut = total,
            }
        }
        Ok(totals)
    }

    fn skipped(&self) -> u64 {
        self.program_infos.iter().filter_map(recursion_misses).sum()
    }
}

/// `bpf_prog_show_fdinfo`. A kernel before 5.12 does not count, and a program that is gone says nothing.
fn recursion_misses(mut info: &File) -> Option<u64> {
    let mut text = String::new();
    info.rewind().ok()?;
    info.read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}
