//! Runs of module tools. What a run asks of the kernel has documents and rules of its own.

use super::{Context, Detection, Match, attack, phrase::process};
use crate::model::{Rule, Severity, ToolRun};

pub(super) static DETECTIONS: &[Detection<ToolRun>] = &[Detection {
    rule: Rule {
        code: 501,
        id: "disguised-module-tool",
        name: "Module tool run under another name",
        description: "kmod, or a copy of it, was run by a name that no module tool has.",
        version: 1,
        severity: Severity::Medium,
        techniques: attack::DISGUISED_TOOL,
    },
    matches: disguised,
}];

fn disguised(run: &ToolRun, context: &Context<'_>) -> Option<Match> {
    if !run.is_disguised() {
        return None;
    }
    let reason = format!("the module tool kmod was run under another name: {}", process(&run.process.caller, context));
    Some(Match { severity: Severity::Medium, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::{assess, path},
        model::{Bytes, Observation, ToolMatch, samples::tool_run},
    };

    fn found(run: ToolRun) -> usize {
        assess(&Observation::Tool(Box::new(run))).findings.len()
    }

    #[test]
    fn a_tool_by_its_own_name_is_telemetry() {
        assert_eq!(found(tool_run()), 0);
    }

    #[test]
    fn a_copy_by_another_name_alerts() {
        let mut run = tool_run();
        run.process.caller.name = b"sshd".to_vec();
        run.process.caller.executable = Some(path("/tmp/sshd"));
        run.process.caller.arguments = vec![Bytes::whole("sshd"), Bytes::whole("x.ko")];
        run.matches = vec![ToolMatch::Build];
        assert_eq!(found(run.clone()), 1);
        run.process.caller.arguments[0] = Bytes::whole("insmod");
        assert_eq!(found(run.clone()), 1, "the first argument is what kmod goes by");
        run.matches = vec![ToolMatch::Build, ToolMatch::Argument0];
        assert_eq!(found(run.clone()), 0, "a program of many");
        run.matches = vec![ToolMatch::Name];
        assert_eq!(found(run), 0, "another program");
    }

    #[test]
    fn names_by_which_kmod_reads_are_its_own() {
        let mut run = tool_run();
        run.process.caller.name = b"lsmod".to_vec();
        run.process.caller.arguments = vec![Bytes::whole("lsmod")];
        run.matches = vec![ToolMatch::Inode, ToolMatch::Build];
        assert_eq!((run.tool(), found(run.clone())), (Some("lsmod"), 0));
        run.process.caller.name = b"3".to_vec();
        assert_eq!(found(run), 0, "executed by a descriptor");
    }
}
