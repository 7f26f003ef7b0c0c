//! What the rules say of a call, in a form that tests compare easily.

use super::Context;
pub(super) use crate::model::samples::{load, load_from, path, refused, tree, unload};
use crate::model::{Content, FileChange, FileReport, ModuleCall, Observation, Severity, Subject, Verdict, samples};

pub(super) fn assess(observation: &Observation) -> Verdict {
    let (host, accounts) = (samples::host(), samples::accounts());
    super::assess(observation, &Context { host: &host, accounts: &accounts })
}

/// Code, severity and reason of each finding.
pub(super) fn findings(call: &ModuleCall) -> Vec<(u16, Severity, String)> {
    let verdict = assess(&Observation::Call(Box::new(call.clone())));
    verdict.findings.into_iter().map(|finding| (finding.rule.code, finding.severity, finding.reason)).collect()
}

/// Severity and reason of the finding of one rule.
pub(super) fn finding(call: &ModuleCall, code: u16) -> Option<(Severity, String)> {
    findings(call).into_iter().find(|finding| finding.0 == code).map(|(_, severity, reason)| (severity, reason))
}

/// A change of a file of this kind.
pub(super) fn report(subject: Subject, change: FileChange) -> FileReport {
    FileReport { change, subject, whole_folder: false, left: false, of_host: true, content: Content::default() }
}

/// Code, severity and reason of each finding on a change of a file.
pub(super) fn file_findings(report: &FileReport) -> Vec<(u16, Severity, String)> {
    let verdict = assess(&Observation::File(Box::new(report.clone())));
    verdict.findings.into_iter().map(|finding| (finding.rule.code, finding.severity, finding.reason)).collect()
}
