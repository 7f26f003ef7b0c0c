//! Loads the probes into the kernel and attaches them.

use std::path::Path;

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{MapError, Stack},
    programs::{BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError, TracePoint},
};
use lkm_monitor_common::event::EventKind;
use zerocopy::IntoBytes as _;

use super::{
    btf::{self, BtfError, KernelLayout},
    probes::{self, Hook, Probe, Set},
    switches::{SwitchedOff, Switches},
};
use crate::config::SensorConfig;

/// The probes, compiled by the build script. Aligned as the ELF parser wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lkm-monitor-probes"));

/// Scratch buffers of a stream beyond one for each CPU: probes can be preempted while they hold one.
const SPARE_SLOTS: u32 = 8;
/// CPUs that load modules at one time, for the buffers of what the kernel confirmed. More of them is a counted loss.
const LOADING_CPUS: u32 = 16;

/// Why there is no sensor.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("the kernel's type information cannot be used: {0}")]
    Layout(#[from] BtfError),
    #[error("the kernel's type information cannot be read: {0}")]
    Btf(#[from] aya::BtfError),
    #[error("the kernel refuses the probes: {0}")]
    Load(#[from] aya::EbpfError),
    #[error("the kernel refuses the probes' maps: {0}")]
    Map(#[from] MapError),
    #[error("the probes were built without {0}")]
    Incomplete(&'static str),
    #[error("no probe that sees a module being loaded could be attached: {0}")]
    Blind(String),
}

/// What became of one probe.
#[derive(Debug)]
pub struct Attached {
    pub probe: &'static Probe,
    pub state: State,
}

/// See [`Attached`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Attached,
    /// Not wanted: a better one does its work.
    Unneeded,
    /// The kernel has no such function, and nothing to see there (32-bit calls on a kernel without them).
    Absent,
    Failed(String),
}

/// Programs in the kernel. Dropping it detaches them.
#[derive(Debug)]
pub struct Programs {
    pub ebpf: Ebpf,
    pub probes: Vec<Attached>,
    /// The set that sees system calls, if any.
    pub syscalls: Option<Set>,
    pub layout: KernelLayout,
    /// What is switched off now of what was attached.
    pub switched_off: SwitchedOff,
}

/// Loads and attaches what `config` asks for and the kernel allows.
///
/// A probe that fails makes the sensor partly blind, which [`Programs::probes`] tells; an error means that no load would
/// be seen at all. Takes 0.2 to 2 seconds: the kernel's verifier reads every program.
pub fn attach(config: &SensorConfig) -> Result<Programs, AttachError> {
    let layout = btf::resolve(Path::new(btf::VMLINUX))?;
    let btf = Btf::from_sys_fs()?;
    let slots = Slots::of_host();
    let mut ebpf = EbpfLoader::new()
        .btf(&btf)
        .override_global("OFFSETS", layout.offsets.as_bytes(), true)
        .override_global("VALUES", layout.values.as_bytes(), true)
        .map_max_entries("SCRATCH", slots.calls + slots.truth)
        .map_max_entries("CALLS_SLOTS", slots.calls)
        .map_max_entries("TRUTH_SLOTS", slots.truth)
        .map_max_entries("CALLS", config.calls_ring_bytes)
        .map_max_entries("TRUTH", config.truth_ring_bytes)
        .load(OBJECT)?;
    fill(&mut ebpf, "CALLS_SLOTS", 0..slots.calls)?;
    fill(&mut ebpf, "TRUTH_SLOTS", slots.calls..slots.calls + slots.truth)?;

    let mut probes: Vec<_> = probes::in_set(Set::Core).map(|probe| try_probe(&mut ebpf, &btf, probe)).collect();
    let syscalls = attach_syscalls(&mut ebpf, &btf, config, &mut probes);
    let sees_loads = syscalls.is_some()
        || probes.iter().any(|attached| attached.probe.program == "module_load" && attached.state == State::Attached);
    if !sees_loads {
        return Err(AttachError::Blind(first_failure(&probes)));
    }
    Ok(Programs { ebpf, probes, syscalls, layout, switched_off: Switches::open().read() })
}

/// Tries the sets of system call probes, best first, and keeps the first one that attaches completely.
fn attach_syscalls(ebpf: &mut Ebpf, btf: &Btf, config: &SensorConfig, probes: &mut Vec<Attached>) -> Option<Set> {
    let wanted = probes::syscall_sets(config.syscall_hooks);
    let mut chosen = None;
    for set in [Set::Fentry, Set::Tracepoint] {
        if chosen.is_some() || !wanted.contains(&set) {
            probes.extend(probes::in_set(set).map(unneeded));
            continue;
        }
        let mut tried: Vec<_> = probes::in_set(set).map(|probe| try_probe(ebpf, btf, probe)).collect();
        if tried.iter().all(|attached| attached.state == State::Attached) {
            chosen = Some(set);
        } else {
            // Half a set would count calls twice beside the next one, or tell of ends without beginnings.
            for attached in &mut tried {
                if attached.state == State::Attached && detach(ebpf, attached.probe).is_ok() {
                    attached.state = State::Unneeded;
                }
            }
        }
        probes.extend(tried);
    }
    probes.extend(probes::in_set(Set::FentryCompat).map(|probe| match chosen {
        Some(Set::Fentry) => try_probe(ebpf, btf, probe),
        _ => unneeded(probe),
    }));
    chosen
}

const fn unneeded(probe: &'static Probe) -> Attached {
    Attached { probe, state: State::Unneeded }
}

fn first_failure(probes: &[Attached]) -> String {
    probes
        .iter()
        .find_map(|attached| match &attached.state {
            State::Failed(error) => Some(format!("{}: {error}", attached.probe.hook.target())),
            _ => None,
        })
        .unwrap_or_default()
}

fn try_probe(ebpf: &mut Ebpf, btf: &Btf, probe: &'static Probe) -> Attached {
    let state = match load_and_attach(ebpf, btf, probe) {
        Ok(()) => State::Attached,
        // A kernel without 32-bit system calls has no such functions; nothing is missed there.
        Err(ProgramError::Btf(_)) if probe.set == Set::FentryCompat => State::Absent,
        Err(error) => State::Failed(in_one_line(&error)),
    };
    Attached { probe, state }
}

fn load_and_attach(ebpf: &mut Ebpf, btf: &Btf, probe: &Probe) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(probe.program).ok_or(ProgramError::NotLoaded)?;
    match probe.hook {
        Hook::Fentry(function) => {
            let program: &mut FEntry = program.try_into()?;
            program.load(function, btf)?;
            program.attach()?;
        }
        Hook::Fexit(function) => {
            let program: &mut FExit = program.try_into()?;
            program.load(function, btf)?;
            program.attach()?;
        }
        Hook::BtfTracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, btf)?;
            program.attach()?;
        }
        Hook::Tracepoint(category, name) => {
            let program: &mut TracePoint = program.try_into()?;
            program.load()?;
            program.attach(category, name)?;
        }
        Hook::Kprobe(function) => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(function, 0)?;
        }
    }
    Ok(())
}

fn detach(ebpf: &mut Ebpf, probe: &Probe) -> Result<(), ProgramError> {
    match ebpf.program_mut(probe.program).ok_or(ProgramError::NotLoaded)? {
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::BtfTracePoint(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// The error with its causes; of a verifier's log the last line, which holds the reason.
fn in_one_line(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let statistics = ["processed", "stack depth", "verification time"];
        let reason =
            log.lines().rev().find(|line| !line.is_empty() && !statistics.iter().any(|word| line.starts_with(word)));
        return match reason {
            Some(reason) => format!("the verifier refuses it: {io_error}: {reason}"),
            None => format!("the kernel refuses it: {io_error}"),
        };
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Scratch buffers to make for each of the two streams.
struct Slots {
    calls: u32,
    truth: u32,
}

impl Slots {
    fn of_host() -> Self {
        // The CPUs that may ever be there.
        let cpus = aya::util::nr_cpus().map_or(1, std::num::NonZero::get);
        Self { calls: cpus.saturating_add(SPARE_SLOTS), truth: cpus.min(LOADING_CPUS) + SPARE_SLOTS }
    }
}

/// Fills the list of free buffers `name`.
fn fill(ebpf: &mut Ebpf, name: &'static str, slots: std::ops::Range<u32>) -> Result<(), AttachError> {
    let mut free: Stack<_, u32> = Stack::try_from(ebpf.map_mut(name).ok_or(AttachError::Incomplete(name))?)?;
    for slot in slots {
        free.push(&slot, 0)?;
    }
    Ok(())
}

impl Programs {
    /// Whether the probe that reports `kind` is at work.
    pub fn reports(&self, kind: EventKind) -> bool {
        let program = match kind {
            EventKind::CallEnter | EventKind::CallExit => return self.syscalls.is_some(),
            EventKind::ImageRead => "security_kernel_post_read_file",
            EventKind::Parameters => "parse_args",
            EventKind::ModuleLoaded => "module_load",
            EventKind::ModuleFreed => "module_free",
            EventKind::ModuleRequested => "module_request",
        };
        self.probes.iter().any(|attached| attached.probe.program == program && attached.state == State::Attached)
    }

    /// What is not seen, a sentence each; empty when everything is.
    pub fn blind_spots(&self) -> Vec<String> {
        let mut spots: Vec<String> = Vec::new();
        let mut add = |spot: String| {
            if !spots.contains(&spot) {
                spots.push(spot);
            }
        };
        if self.syscalls.is_none() {
            add("module system calls: their arguments, their results, and those that fail".to_owned());
        }
        if self.syscalls == Some(Set::Tracepoint) {
            add("calls by 32-bit programs, which the syscall tracepoints do not report".to_owned());
        }
        for attached in &self.probes {
            let concerns = matches!(attached.probe.set, Set::Core | Set::FentryCompat);
            let silent = attached.state == State::Attached && self.switched_off.silences(attached.probe.hook).is_some();
            if silent || concerns && matches!(attached.state, State::Failed(_)) {
                add(attached.probe.lost.to_owned());
            }
        }
        spots
    }
}
