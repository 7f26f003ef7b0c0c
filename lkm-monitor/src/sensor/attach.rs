//! Loads the probes into the kernel and attaches them.

use std::collections::BTreeMap;

use aya::{
    Btf, Ebpf, EbpfLoader, RawTracePointRunOptions, TestRun as _,
    maps::{Array, MapError, Stack},
    programs::{Program, ProgramError},
};
use lkm_monitor_common::{
    event::EventKind,
    limits::{DESCRIBED, EXEC_RECORDS, ROOT_WRITTEN_FILES, WRITTEN_FILES},
    offsets::Offsets,
};
use zerocopy::IntoBytes as _;

use super::{
    btf::{BtfError, KernelLayout, Types},
    filter::{self, FilterError},
    probes::{self, Hook, Probe, Set},
    switches::{SwitchedOff, Switches},
    tool_files::{self, ToolFilesError},
};
use crate::{
    config::SensorConfig,
    model::{InstalledTool, NameFilter, RingFill},
};

/// The probes, compiled by the build script. Aligned as the ELF parser wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lkm-monitor-probes"));

/// Scratch buffers of a stream beyond one for each CPU: probes can be preempted while they hold one.
const SPARE_SLOTS: u32 = 8;
/// CPUs that load modules at one time, or on which root changes watched files, for the buffers of these. More of them is a
/// counted loss.
const BUSY_CPUS: u32 = 16;

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
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    #[error("watched names cannot be told to the probes: {0}")]
    Filter(#[from] FilterError),
    #[error("module tools cannot be told to the probes: {0}")]
    Tools(#[from] ToolFilesError),
    #[error("no probe that sees a module being loaded could be attached: {0}")]
    Blind(String),
}

/// The daemon and the probes in it do not belong together.
#[derive(Debug, thiserror::Error)]
#[error("the probes were built without {0}")]
pub struct Incomplete(pub &'static str);

/// What became of one probe.
#[derive(Debug)]
pub struct Attached {
    pub probe: &'static Probe,
    /// The probe's hook as this kernel has it.
    pub hook: Hook,
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
    /// It was attached, and its link is gone. Says why it is not attached again.
    Lost(String),
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
    /// The links could not be found: whether they stay is not seen.
    pub links_unwatched: bool,
    /// Files that are not the kernel's own though they should be, a sentence each.
    pub not_the_kernels: Vec<String>,
    /// Since when hooks do not report that should, in nanoseconds since boot, by program.
    pub(super) blind_since: BTreeMap<&'static str, u64>,
    /// What the probes know of the sensor's own objects, as they took it in.
    pub(super) own_objects: BTreeMap<u64, u64>,
}

/// Loads and attaches what `config` asks for and the kernel allows.
///
/// A probe that fails makes the sensor partly blind, which [`Programs::probes`] tells; an error means that no load would
/// be seen at all. Takes 0.2 to 2 seconds: the kernel's verifier reads every program.
pub fn attach(
    types: &Types,
    config: &SensorConfig,
    names: &NameFilter,
    tools: &[InstalledTool],
) -> Result<Programs, AttachError> {
    let layout = types.layout()?;
    let btf = Btf::from_sys_fs()?;
    let slots = Slots::of_host();
    let mut ebpf = EbpfLoader::new()
        .btf(&btf)
        .override_global("OFFSETS", layout.offsets.as_bytes(), true)
        .override_global("VALUES", layout.values.as_bytes(), true)
        .map_max_entries("SCRATCH", slots.calls + slots.truth + slots.files)
        .map_max_entries("ROOT_EXECS", exec_records())
        .map_max_entries("USER_EXECS", exec_records())
        .map_max_entries("DESCRIBED", described())
        .map_max_entries("CALLS_SLOTS", slots.calls)
        .map_max_entries("TRUTH_SLOTS", slots.truth)
        .map_max_entries("FILES_SLOTS", slots.files)
        .override_global("IMAGE_LIMIT_BYTES", &config.image_bytes, true)
        .map_max_entries("IMAGES", config.images_ring_bytes)
        .map_max_entries("CALLS", config.calls_ring_bytes)
        .map_max_entries("FILES", config.files_ring_bytes)
        .map_max_entries("TRUTH", config.truth_ring_bytes)
        .load(OBJECT)?;
    fill(&mut ebpf, "CALLS_SLOTS", 0..slots.calls)?;
    fill(&mut ebpf, "TRUTH_SLOTS", slots.calls..slots.calls + slots.truth)?;
    fill(&mut ebpf, "FILES_SLOTS", slots.calls + slots.truth..slots.calls + slots.truth + slots.files)?;
    fill(&mut ebpf, "ROOT_PLACES", 0..ROOT_WRITTEN_FILES)?;
    fill(&mut ebpf, "USER_PLACES", ROOT_WRITTEN_FILES..WRITTEN_FILES)?;
    filter::install(&mut ebpf, names)?;
    tool_files::install(&mut ebpf, tools)?;

    // Everything is loaded before anything is attached, and calls are attached first: the verifier takes its time, and a load
    // in between would be seen in part.
    let (core, others) = core_sets(&layout);
    let core = core.into_iter().flat_map(probes::in_set);
    let core: Vec<_> = core.map(|probe| (probe, load(&mut ebpf, &btf, probe))).collect();
    let mut probes: Vec<_> = others.into_iter().flat_map(probes::in_set).map(unneeded).collect();
    let syscalls = attach_syscalls(&mut ebpf, &btf, config, &mut probes);
    let core = core.into_iter().map(|(probe, loaded)| attach_loaded(&mut ebpf, probe, loaded));
    probes.splice(0..0, core.collect::<Vec<_>>());
    let sees_loads = syscalls.is_some()
        || probes.iter().any(|attached| attached.probe.program == "module_load" && attached.state == State::Attached);
    if !sees_loads {
        return Err(AttachError::Blind(first_failure(&probes)));
    }
    Ok(Programs {
        ebpf,
        probes,
        syscalls,
        layout,
        switched_off: Switches::default().read(),
        links_unwatched: false,
        not_the_kernels: Vec::new(),
        blind_since: BTreeMap::new(),
        own_objects: BTreeMap::new(),
    })
}

/// The sets of probes beside those of system calls, and what these take the place of.
fn core_sets(layout: &KernelLayout) -> ([Set; 4], [Set; 2]) {
    let (task, no_task) = match layout.values.typed_task {
        0 => (Set::UntypedTask, Set::TypedTask),
        _ => (Set::TypedTask, Set::UntypedTask),
    };
    let (parameters, no_parameters) = match layout.offsets.module_args {
        Offsets::MISSING => (Set::PassedParameters, Set::HeldParameters),
        _ => (Set::HeldParameters, Set::PassedParameters),
    };
    ([Set::Core, Set::WhereThere, task, parameters], [no_task, no_parameters])
}

/// Tries the sets of system call probes, best first, and keeps the first one that attaches completely.
fn attach_syscalls(ebpf: &mut Ebpf, btf: &Btf, config: &SensorConfig, probes: &mut Vec<Attached>) -> Option<Set> {
    let wanted = probes::syscall_sets(config.syscall_hooks);
    let mut chosen = None;
    for (set, compat) in [(Set::Fentry, Some(Set::FentryCompat)), (Set::Tracepoint, None)] {
        let compat: Vec<_> = compat.into_iter().flat_map(probes::in_set).collect();
        if chosen.is_some() || !wanted.contains(&set) {
            probes.extend(probes::in_set(set).chain(compat).map(unneeded));
            continue;
        }
        let native = attach_all(ebpf, btf, &probes::in_set(set).collect::<Vec<_>>());
        if native.iter().all(|attached| attached.state == State::Attached) {
            chosen = Some(set);
            probes.extend(native);
            // A call's enter without its exit is of no use: both or none.
            compat.chunks(2).for_each(|pair| probes.extend(attach_all(ebpf, btf, pair)));
        } else {
            probes.extend(native);
            probes.extend(compat.into_iter().map(unneeded));
        }
    }
    chosen
}

/// Loads and attaches all of these probes, or leaves none attached: half a set would count calls twice beside the next one, or
/// tell of ends without beginnings.
fn attach_all(ebpf: &mut Ebpf, btf: &Btf, probes: &[&'static Probe]) -> Vec<Attached> {
    let loaded: Vec<_> = probes.iter().map(|probe| load(ebpf, btf, probe)).collect();
    let mut tried: Vec<_> =
        probes.iter().zip(loaded).map(|(probe, loaded)| attach_loaded(ebpf, probe, loaded)).collect();
    if tried.iter().any(|attached| attached.state != State::Attached) {
        for attached in &mut tried {
            if attached.state == State::Attached && detach(ebpf, attached.probe).is_ok() {
                attached.state = State::Unneeded;
            }
        }
    }
    tried
}

const fn unneeded(probe: &'static Probe) -> Attached {
    Attached { probe, hook: probe.hook, state: State::Unneeded }
}

fn first_failure(probes: &[Attached]) -> String {
    probes
        .iter()
        .find_map(|attached| match &attached.state {
            State::Failed(error) => Some(format!("{}: {error}", attached.hook.target())),
            _ => None,
        })
        .unwrap_or_default()
}

fn attach_loaded(ebpf: &mut Ebpf, probe: &'static Probe, loaded: Result<Hook, ProgramError>) -> Attached {
    let hook = *loaded.as_ref().unwrap_or(&probe.hook);
    let state = match loaded.and_then(|_| attach_one(ebpf, probe)) {
        Ok(()) => State::Attached,
        // What a kernel has no function for, 32-bit system calls for instance, does not happen there.
        Err(ProgramError::Btf(_)) if matches!(probe.set, Set::FentryCompat | Set::WhereThere) => State::Absent,
        Err(error) => State::Failed(in_one_line(&error)),
    };
    Attached { probe, hook, state }
}

/// Lets the verifier read a program. Gives the hook as this kernel has it.
fn load(ebpf: &mut Ebpf, btf: &Btf, probe: &Probe) -> Result<Hook, ProgramError> {
    let program = ebpf.program_mut(probe.program).ok_or(ProgramError::NotLoaded)?;
    let (Program::FEntry(trampoline), Hook::FentryEither(function, newer)) = (&mut *program, probe.hook) else {
        return load_for(program, probe.hook, btf).map(|()| probe.hook);
    };
    match trampoline.load(function, btf) {
        Ok(()) => Ok(Hook::Fentry(function)),
        Err(ProgramError::Btf(_)) => trampoline.load(newer, btf).map(|()| Hook::Fentry(newer)),
        Err(error) => Err(error),
    }
}

fn load_for(program: &mut Program, hook: Hook, btf: &Btf) -> Result<(), ProgramError> {
    match (program, hook) {
        (Program::FEntry(program), Hook::Fentry(function)) => program.load(function, btf),
        (Program::RawTracePoint(program), Hook::Run) => program.load(),
        (Program::FExit(program), Hook::Fexit(function)) => program.load(function, btf),
        (Program::BtfTracePoint(program), Hook::BtfTracepoint(name)) => program.load(name, btf),
        (Program::TracePoint(program), Hook::Tracepoint(..)) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

pub(super) fn attach_one(ebpf: &mut Ebpf, probe: &Probe) -> Result<(), ProgramError> {
    match (ebpf.program_mut(probe.program).ok_or(ProgramError::NotLoaded)?, probe.hook) {
        (_, Hook::Run) => Ok(()),
        (Program::FEntry(program), _) => program.attach().map(drop),
        (Program::FExit(program), _) => program.attach().map(drop),
        (Program::BtfTracePoint(program), _) => program.attach().map(drop),
        (Program::TracePoint(program), Hook::Tracepoint(category, name)) => program.attach(category, name).map(drop),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn detach(ebpf: &mut Ebpf, probe: &Probe) -> Result<(), ProgramError> {
    match ebpf.program_mut(probe.program).ok_or(ProgramError::NotLoaded)? {
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::BtfTracePoint(program) => program.unload(),
        Program::TracePoint(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// The error with its causes; of a verifier's log the last line, which holds the reason.
pub(crate) fn in_one_line(error: &ProgramError) -> String {
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

/// Scratch buffers to make for each of the streams.
struct Slots {
    calls: u32,
    truth: u32,
    files: u32,
}

/// The CPUs that may ever be there.
fn possible_cpus() -> u32 {
    aya::util::nr_cpus().map_or(1, std::num::NonZero::get)
}

/// Entries of each map of exec records. A map that drops the least recently used keeps 128 free entries for each CPU
/// (LOCAL_FREE_TARGET in kernel/bpf/bpf_lru_list.c, before 6.16); there must be as many again for use.
fn exec_records() -> u32 {
    EXEC_RECORDS.max(possible_cpus().saturating_mul(256))
}

/// Entries of the map of described processes; see [`exec_records`].
fn described() -> u32 {
    DESCRIBED.max(possible_cpus().saturating_mul(256))
}

impl Slots {
    fn of_host() -> Self {
        let cpus = possible_cpus();
        let busy = cpus.min(BUSY_CPUS) + SPARE_SLOTS;
        Self { calls: cpus.saturating_add(SPARE_SLOTS), truth: busy, files: busy }
    }
}

/// Fills the list of free buffers `name`.
fn fill(ebpf: &mut Ebpf, name: &'static str, slots: std::ops::Range<u32>) -> Result<(), AttachError> {
    let mut free: Stack<_, u32> = Stack::try_from(ebpf.map_mut(name).ok_or(Incomplete(name))?)?;
    for slot in slots {
        free.push(&slot, 0)?;
    }
    Ok(())
}

impl Programs {
    /// Lets the kernel look which of the files that are being written were closed; events tell. Takes some microseconds.
    pub fn look_for_closed_files(&mut self) -> Result<(), ProgramError> {
        self.run("closed_files", []).map(drop)
    }

    /// Runs a program that hangs on no hook. Gives what it answers, if it does.
    pub(super) fn run<const N: usize>(&mut self, name: &str, arguments: [u64; N]) -> Result<u64, ProgramError> {
        let mut options = RawTracePointRunOptions::new();
        options.args.iter_mut().zip(arguments).for_each(|(place, argument)| *place = argument);
        match self.ebpf.program_mut(name) {
            Some(Program::RawTracePoint(program)) => program.test_run(options)?,
            _ => return Err(ProgramError::NotLoaded),
        };
        let answer: Array<_, u64> = Array::try_from(self.ebpf.map("ANSWER").ok_or(ProgramError::NotLoaded)?)?;
        Ok(answer.get(&0, 0)?)
    }

    /// Tells the probes which names are watched now. Gives the maps that held something else.
    pub fn know_names(&mut self, names: &NameFilter) -> Result<Vec<&'static str>, FilterError> {
        filter::install(&mut self.ebpf, names)
    }

    /// How full the rings are.
    pub fn ring_fills(&mut self, config: &SensorConfig) -> Vec<RingFill> {
        let rings = [
            ("truth", config.truth_ring_bytes),
            ("files", config.files_ring_bytes),
            ("calls", config.calls_ring_bytes),
            ("images", config.images_ring_bytes),
        ];
        let fill = |(number, (name, size_bytes))| {
            let used_bytes = self.run("ring_fill", [number]).ok()?;
            Some(RingFill { name, used_bytes, size_bytes: u64::from(size_bytes) })
        };
        (0..).zip(rings).filter_map(fill).collect()
    }

    /// Tells the probes which files are module tools now. Gives the maps that held something else.
    pub fn know_tools(&mut self, tools: &[InstalledTool]) -> Result<Vec<&'static str>, ToolFilesError> {
        tool_files::install(&mut self.ebpf, tools)
    }

    /// Whether this program is attached.
    pub fn is_attached(&self, program: &str) -> bool {
        self.probes.iter().any(|attached| attached.probe.program == program && attached.state == State::Attached)
    }

    /// Whether the probe that reports `kind` is at work.
    pub fn reports(&self, kind: EventKind) -> bool {
        let program = match kind {
            EventKind::CallEnter | EventKind::CallExit => return self.syscalls.is_some(),
            EventKind::ImageRead => "security_kernel_post_read_file",
            EventKind::Parameters => return ["module_coming", "parse_args"].iter().any(|name| self.is_attached(name)),
            EventKind::ModuleLoaded => "module_load",
            EventKind::ModuleFreed => "module_free",
            EventKind::ModuleRequested => "module_request",
            EventKind::FileChanged => "d_move",
            EventKind::ToolStarted | EventKind::ToolEnded => "sched_process_exec",
            EventKind::ObjectAccessed => "security_bpf",
        };
        self.is_attached(program)
    }
}
