//! Joins runs of module tools with what their processes asked of the kernel.
//!
//! Time is the events' own, as in [`super::join`]. Pure: no clock, no file.

use std::collections::{BTreeMap, VecDeque};

use lkm_monitor_common::{
    event::EventKind,
    section::{Tool, tool_matches},
};

use super::{assemble, decode::Event};
use crate::model::{ModuleCall, ToolEnd, ToolMatch, ToolOperation, ToolRun};

/// How long a run may last before it is told unfinished, in nanoseconds.
const RUN_WINDOW_NS: u64 = 60_000_000_000;
/// How long what a run asked of the kernel may come after its end, in nanoseconds: it lies in other rings, and a call whose
/// parts stay away is waited for by the join.
const CALL_WINDOW_NS: u64 = 1_500_000_000;
/// Runs that are followed; the probes bound those that live, these may be waiting besides.
const MAX_RUNS: usize = 4096;
/// Operations that are kept of one run.
const MAX_OPERATIONS: usize = 32;
/// Calls that are kept for runs whose beginning is still in its ring: more than a ring holds of them.
const MAX_EARLY: usize = 4096;

/// Runs that are not over, or not told.
#[derive(Debug, Default)]
pub struct Tools {
    /// By the time of the exec and the process.
    runs: BTreeMap<(u64, u32), ToolRun>,
    /// Calls of root. Those of others lie in one ring with the beginnings of their runs, in order.
    early: VecDeque<Early>,
    evicted: u64,
}

/// A call that was read before the beginning of the run that it may belong to.
#[derive(Debug)]
struct Early {
    caller: (u32, u64),
    boot_ns: u64,
    told: u32,
    operation: ToolOperation,
}

impl Tools {
    /// Takes in the beginning or the end of a run. Gives a run that had to make room.
    pub fn push(&mut self, event: &Event) -> Option<ToolRun> {
        let tool = event.tool?;
        let key = (event.call_id, event.thread.pid);
        if event.kind == EventKind::ToolEnded {
            if let Some(run) = self.runs.get_mut(&key) {
                run.end = Some(end(tool));
                run.ended_boot_ns = Some(event.boot_ns);
            }
            return None;
        }
        let displaced = if self.runs.len() >= MAX_RUNS { self.runs.pop_first().map(|(_, run)| run) } else { None };
        self.evicted += u64::from(displaced.is_some());
        let mut run = begun(event, tool);
        let known = &run.process.caller;
        let (process, began_ns) = ((known.pid, known.start_boot_ns), run.boot_ns);
        self.early.retain(|call| {
            let own = call.caller == process && began_ns <= call.boot_ns;
            if own {
                add(&mut run, call.operation.clone(), call.told);
            }
            !own
        });
        self.runs.insert(key, run);
        displaced
    }

    /// Adds what a process asked of the kernel to the run that it is, and not to one that it was before it executed
    /// another program. A call that is told twice counts once, as it was told last.
    pub fn note(&mut self, call: &ModuleCall) {
        let Some(caller) = call.process.as_ref().map(|tree| &tree.caller) else { return };
        let of_process = |run: &&mut ToolRun| {
            let known = &run.process.caller;
            let lasted = run.boot_ns <= call.boot_ns && run.ended_boot_ns.is_none_or(|ended| call.boot_ns <= ended);
            known.pid == caller.pid && known.start_boot_ns == caller.start_boot_ns && lasted
        };
        let operation = ToolOperation {
            call: (call.tid, call.call_id),
            operation: call.operation,
            module: call.best_name().map(|(name, _)| name),
            succeeded: call.succeeded(),
            errno: call.errno(),
        };
        if let Some(run) = self.runs.values_mut().rev().find(of_process) {
            add(run, operation, call.told);
        } else if caller.ids.is_some_and(|ids| ids.uid == 0) {
            if self.early.len() >= MAX_EARLY {
                self.early.pop_front();
                self.evicted += 1;
            }
            let caller = (caller.pid, caller.start_boot_ns);
            self.early.push_back(Early { caller, boot_ns: call.boot_ns, told: call.told, operation });
        }
    }

    /// Passes on runs that are over, and those that last too long. Everything that happened until `read_to_ns` has been
    /// pushed.
    pub fn expire(&mut self, read_to_ns: u64) -> Vec<ToolRun> {
        // Whatever began before them has been pushed.
        self.early.retain(|call| call.boot_ns > read_to_ns);
        let due: Vec<_> = self
            .runs
            .iter()
            .filter(|(_, run)| deadline_ns(run).is_some_and(|at| at <= read_to_ns))
            .map(|(&key, _)| key)
            .collect();
        due.into_iter().filter_map(|key| self.pass_on(key)).collect()
    }

    /// When [`Self::expire`] will next have something to pass on.
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.runs.values().filter_map(deadline_ns).min()
    }

    /// Passes on everything that was not told yet, at the end.
    pub fn drain(&mut self) -> Vec<ToolRun> {
        std::mem::take(&mut self.runs).into_values().filter(|run| run.end.is_some() || run.told == 0).collect()
    }

    /// Runs that were told before their end, and calls that no run will be told with, because there were too many.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn pass_on(&mut self, key: (u64, u32)) -> Option<ToolRun> {
        let run = self.runs.get_mut(&key)?;
        if run.end.is_some() {
            return self.runs.remove(&key);
        }
        let told = run.clone();
        run.told += 1;
        Some(told)
    }
}

/// Adds an operation, or puts it in the place of what was told of the same call before.
fn add(run: &mut ToolRun, operation: ToolOperation, told: u32) {
    let before = run.operations.iter().rposition(|other| told > 0 && other.call == operation.call);
    if let Some(known) = before.and_then(|at| run.operations.get_mut(at)) {
        *known = operation;
    } else if run.operations.len() < MAX_OPERATIONS {
        run.operations.push(operation);
    } else if told == 0 {
        run.more_operations = run.more_operations.saturating_add(1);
    }
}

fn deadline_ns(run: &ToolRun) -> Option<u64> {
    match run.ended_boot_ns {
        Some(ended) => Some(ended.saturating_add(CALL_WINDOW_NS)),
        None => (run.told == 0).then(|| run.boot_ns.saturating_add(RUN_WINDOW_NS)),
    }
}

fn begun(event: &Event, tool: Tool) -> ToolRun {
    let matches = [
        (tool_matches::INODE, ToolMatch::Inode),
        (tool_matches::BUILD, ToolMatch::Build),
        (tool_matches::NAME, ToolMatch::Name),
        (tool_matches::ARGUMENT_0, ToolMatch::Argument0),
        (tool_matches::APPLET, ToolMatch::Applet),
        (tool_matches::INTERPRETER, ToolMatch::Interpreter),
    ];
    ToolRun {
        boot_ns: event.boot_ns,
        cpu: event.cpu,
        process: assemble::tree(event),
        argument_count: tool.argument_count,
        matches: matches.into_iter().filter(|(bit, _)| tool.matches & bit != 0).map(|(_, found)| found).collect(),
        operations: Vec::new(),
        more_operations: 0,
        end: None,
        ended_boot_ns: None,
        told: 0,
    }
}

/// A wait status as of wait(2).
const fn end(tool: Tool) -> ToolEnd {
    if tool.replaced != 0 {
        return ToolEnd::Replaced;
    }
    match (tool.exit_code & 0x7f) as u8 {
        0 => ToolEnd::Exited((tool.exit_code >> 8 & 0xff) as u8),
        signal => ToolEnd::Killed(signal),
    }
}

#[cfg(test)]
mod tests;
