//! What happened, as plain data. Nothing here knows the kernel's layouts, ECS, or any other stage.

pub mod burst;
pub mod bytes;
pub mod call;
pub mod capability;
pub mod capture;
pub mod class;
pub mod configuration;
pub mod container;
pub mod content;
pub mod drift;
pub mod errno;
pub mod evidence;
pub mod examined_image;
pub mod file;
pub mod file_change;
pub mod file_report;
pub mod group;
pub mod heartbeat;
pub mod host;
pub mod host_state;
pub mod integrity;
pub mod inventory;
pub mod kernel_alert;
pub mod loss;
pub mod module_config;
pub mod module_image;
pub mod object_access;
pub mod origin;
pub mod path;
pub mod process;
pub mod provenance;
pub mod rarity;
pub mod request;
pub mod run;
#[cfg(test)]
pub(crate) mod samples;
pub mod signature;
pub mod spool_change;
pub mod state;
pub mod taint;
pub mod text;
pub mod tool_run;
pub mod verdict;
pub mod watch;

pub use burst::FileBurst;
pub use bytes::Bytes;
pub use call::{Abi, CallOutcome, CallerText, ImageSource, LoadStage, ModuleCall, ModuleFacts, Operation, Part};
pub use capability::{Capability, SymbolOfInterest};
pub use capture::{Capture, ImageName};
pub use class::Class;
pub use configuration::{Reload, ReloadOutcome, SettingChange};
pub use container::Container;
pub use content::{Content, ContentStatus, FileState, Look};
pub use drift::{Drift, Drifted, RecordLoss, Setting, StateReport, Unseen, Weight, Window};
pub use errno::errno_name;
pub use evidence::{EvidenceCause, KeptImage, KeptLoad};
pub use examined_image::{ExaminedImage, ImageExtent, KernelConfig, KernelPolicy, KernelsWord};
pub use file::{FileFacts, FileTime};
pub use file_change::{FileAction, FileChange, Writing};
pub use file_report::FileReport;
pub use group::GroupKey;
pub use heartbeat::{Heartbeat, Metric, RingFill};
pub use host::{Accounts, Agent, Clock, Host, OperatingSystem, SystemMount};
pub use host_state::{FileSeen, HostState, KernelSettings, ModuleSeen, PlaceSeen, PlaceSight, Selected, TargetSeen};
pub use integrity::{
    Check, Extent, HiddenModule, HookKind, KernelFinding, KernelHook, KernelLook, ModuleHistory, ModuleState, Place,
    ReadingsDiffer, Sight, Site, SystemCallEntry, SystemCallTable, TaintCleared, View,
};
pub use inventory::{
    FileEntry, FoundFile, Gap, KnownLoad, LoadSource, ModuleEntry, ModuleFile, ParameterValue, ToolEntry,
};
pub use kernel_alert::{KernelAlert, KernelFacts, KernelReport};
pub use loss::{Loss, LossReason};
pub use module_image::{
    Compression, CompressionFormat, ElfFacts, ImageMarks, ImageProblem, ImageProblemKind, Imports, ModInfo,
    ModInfoPair, ModuleImage, ModuleParameter, SectionFacts,
};
pub use object_access::{AccessOutcome, ObjectAccess, ObjectKind, ObjectOperation, OwnObject};
pub use origin::{NameSource, Origin};
pub use path::SeenPath;
pub use process::{ArgumentsSource, Ids, Namespaces, Process, ProcessTree, Tty};
pub use provenance::{DigestCheck, Manager, Problem, Provenance};
pub use rarity::{Answer, KeyPart, Kind, Rarity, Scope, Standing, Threshold};
pub use request::ModuleRequest;
pub use run::{Moment, Predecessor, RunEnd, RunRecord, Succession};
pub use signature::{KeyFacts, KeySource, ListedKey, SignatureFacts, SignatureVerdict, Signer};
pub use spool_change::SpoolChange;
pub use state::{
    BlindHook, ClockStep, Coverage, LostHook, NotStarted, ProbeState, SensorChange, SensorState, SyscallHooks,
};
pub use tool_run::{InstalledTool, ToolEnd, ToolKind, ToolMatch, ToolOperation, ToolRun};
pub use verdict::{AttackEntry, Finding, Rule, Severity, Technique, Verdict};
pub use watch::{Excluded, NameFilter, Subject};

/// Something that the sensor observed, complete or with what is missing named.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A load or an unload.
    Call(Box<ModuleCall>),
    /// The kernel asked user space for a module.
    Request(Box<ModuleRequest>),
    /// A watched file changed.
    File(Box<FileReport>),
    /// A module tool ran.
    Tool(Box<ToolRun>),
    /// A process reached for objects of the sensor's own.
    Object(Box<ObjectAccess>),
}
