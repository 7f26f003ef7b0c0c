//! Which group an observation is of.

use serde::{Deserialize, Serialize};

use super::name::GroupName;
use crate::model::{
    FileReport, KeyPart, Kind, ModuleCall, Observation, Process, ProcessTree, Subject, Threshold, ToolRun, group,
    text::{hex, text},
};

/// The thresholds of all kinds of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub files: Threshold,
    pub tools: Threshold,
    pub modules: Threshold,
}

impl Default for Thresholds {
    fn default() -> Self {
        let [files, tools, modules] = [Kind::File, Kind::Tool, Kind::Module].map(Threshold::of);
        Self { files, tools, modules }
    }
}

impl Thresholds {
    /// Those of one kind.
    pub const fn of(&self, kind: Kind) -> &Threshold {
        match kind {
            Kind::File => &self.files,
            Kind::Tool => &self.tools,
            Kind::Module => &self.modules,
        }
    }
}

/// What groups are made of, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyNames {
    pub files: Vec<KeyPart>,
    pub tools: Vec<KeyPart>,
    pub modules: Vec<KeyPart>,
}

impl KeyNames {
    /// Those of one kind.
    pub fn of(&self, kind: Kind) -> &[KeyPart] {
        match kind {
            Kind::File => &self.files,
            Kind::Tool => &self.tools,
            Kind::Module => &self.modules,
        }
    }
}

impl From<&Thresholds> for KeyNames {
    fn from(thresholds: &Thresholds) -> Self {
        let [files, tools, modules] = [&thresholds.files, &thresholds.tools, &thresholds.modules];
        Self { files: files.keys.clone(), tools: tools.keys.clone(), modules: modules.keys.clone() }
    }
}

impl Default for KeyNames {
    fn default() -> Self {
        Self::from(&Thresholds::default())
    }
}

/// The group of an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouped {
    pub kind: Kind,
    pub name: GroupName,
    /// The process is root's: what everybody can cause is not kept as long.
    pub privileged: bool,
    /// Content or arguments are part of the group, and could not be read in full: it may be another one.
    pub not_all_known: bool,
}

/// The group that an observation counts in, if it does in one.
pub fn group_of(observation: &Observation, thresholds: &Thresholds) -> Option<Grouped> {
    let kind = kind_of(observation)?;
    let keys = &thresholds.of(kind).keys;
    let parts: Vec<_> = keys.iter().map(|key| part(*key, observation)).collect();
    let content_unknown = keys.contains(&KeyPart::Sha256) && sha256(observation).is_none();
    let arguments_unknown = keys.contains(&KeyPart::Args) && !has_all_arguments(observation);
    let caller = tree(observation).map(|tree| &tree.caller);
    Some(Grouped {
        kind,
        name: GroupName::new(kind, parts.iter().map(String::as_str)),
        // Nobody else gets a module into the kernel.
        privileged: kind == Kind::Module || caller.is_none_or(is_privileged),
        not_all_known: content_unknown || arguments_unknown,
    })
}

/// The kind of group that counts an observation.
fn kind_of(observation: &Observation) -> Option<Kind> {
    let (kind, counts) = match observation {
        Observation::Call(call) => (Kind::Module, is_counted_load(call)),
        Observation::File(report) => (Kind::File, is_counted_file(report)),
        Observation::Tool(run) => (Kind::Tool, is_counted_run(run)),
        Observation::Request(_) | Observation::Object(_) => return None,
    };
    counts.then_some(kind)
}

/// A module's file appeared. Of one that is still being written nothing is known; it counts when it is closed, as well.
fn is_counted_file(report: &FileReport) -> bool {
    let appeared = report.change.action.makes_name() && !report.left && !report.whole_folder;
    let finished = report.change.told == 0 || report.content.after.is_some();
    report.subject == Subject::Module && appeared && finished && !report.is_without_effect()
}

/// Code of a module ran.
fn is_counted_load(call: &ModuleCall) -> bool {
    call.operation.is_load() && call.stage.init_ran() == Some(true)
}

/// A tool asked something of the kernel, which is not the mere attempt of somebody who may not.
fn is_counted_run(run: &ToolRun) -> bool {
    let may = is_privileged(&run.process.caller);
    run.operations.iter().any(|done| may || done.errno != Some(libc::EPERM))
}

/// CAP_SYS_MODULE (include/uapi/linux/capability.h).
const MAY_LOAD: u64 = 1 << 16;

/// Root as the host's, and not a container's, which lacks what loading takes.
fn is_privileged(process: &Process) -> bool {
    process.ids.is_none_or(|ids| ids.euid == 0) && process.capabilities & MAY_LOAD != 0
}

fn tree(observation: &Observation) -> Option<&ProcessTree> {
    match observation {
        Observation::Call(call) => call.process.as_ref(),
        Observation::Request(request) => Some(&request.process),
        Observation::File(report) => Some(&report.change.process),
        Observation::Tool(run) => Some(&run.process),
        Observation::Object(access) => Some(&access.process),
    }
}

fn part(key: KeyPart, observation: &Observation) -> String {
    let caller = tree(observation).map(|tree| &tree.caller);
    let program = |process: Option<&Process>| {
        process.and_then(|process| process.executable.as_ref()).map_or_else(String::new, |path| text(&path.seen))
    };
    match key {
        KeyPart::Path => path(observation),
        KeyPart::Sha256 => sha256(observation).unwrap_or_default(),
        KeyPart::Name => match observation {
            Observation::Call(call) => call.best_name().map_or_else(String::new, |(name, _)| text(&name)),
            _ => String::new(),
        },
        KeyPart::Executable => program(caller),
        KeyPart::Parent => program(tree(observation).and_then(|tree| tree.ancestors.first())),
        KeyPart::User => caller.and_then(|caller| caller.ids).map_or_else(String::new, |ids| ids.euid.to_string()),
        KeyPart::Args => {
            let arguments = caller.map(|caller| caller.arguments.as_slice()).unwrap_or_default();
            let arguments: Vec<_> = arguments.iter().map(|argument| text(&argument.bytes)).collect();
            arguments.join(&ARGUMENT_END.to_string())
        }
        KeyPart::ArgsCount => match observation {
            Observation::Tool(run) => run.argument_count.to_string(),
            _ => String::new(),
        },
    }
}

/// Between arguments: no text holds it.
pub const ARGUMENT_END: char = '\u{1f}';

fn has_all_arguments(observation: &Observation) -> bool {
    let caller = tree(observation).map(|tree| &tree.caller);
    caller.is_some_and(|caller| {
        let is_cut = caller.arguments_truncated || caller.arguments.iter().any(|argument| argument.truncated);
        !is_cut && caller.more_arguments == 0 && !caller.arguments.is_empty()
    })
}

/// In front of what a process calls a file that is not the host's of that name.
const ELSEWHERE: &str = "elsewhere:";

/// As documents show it, without the kernel's release where it is in the host's own tree.
fn path(observation: &Observation) -> String {
    let shown = match observation {
        Observation::Call(call) => call.file.as_ref().map(|file| file.path.seen.as_slice()),
        Observation::File(report) => {
            let path = &report.change.path;
            let resolved = report.content.resolved_path.as_deref().filter(|_| path.mount_unknown);
            Some(resolved.unwrap_or(&path.seen))
        }
        Observation::Request(_) | Observation::Tool(_) | Observation::Object(_) => None,
    };
    let path = shown.map_or_else(String::new, text);
    if let Observation::File(report) = observation
        && !report.of_host
    {
        return format!("{ELSEWHERE}{path}");
    }
    let (tree, below) = group::without_release(&path);
    if tree.is_empty() { path } else { format!("{tree}*/{}", &path[path.len() - below..]) }
}

/// Of what the kernel loaded, in the form in which it read it: a file that is compressed has the same hash by itself. Where the image is not
/// known whole it is the file's, as it is looked at after the load; who exchanges the file meanwhile is in the file's group.
fn sha256(observation: &Observation) -> Option<String> {
    let hash = match observation {
        Observation::Call(call) => {
            let loaded = call.image.as_ref().and_then(|image| image.sha256);
            loaded.or_else(|| call.content.own_sha256())
        }
        // Without the inode of the event nothing says that it is its file that was read.
        Observation::File(report) => report.change.facts.as_ref().and_then(|_| report.content.own_sha256()),
        Observation::Request(_) | Observation::Tool(_) | Observation::Object(_) => None,
    };
    hash.map(|hash| hex(&hash))
}

/// Arguments of a run, as the threshold counts them.
pub fn argument_count(observation: &Observation) -> Option<u64> {
    match observation {
        Observation::Tool(run) => Some(u64::from(run.argument_count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
