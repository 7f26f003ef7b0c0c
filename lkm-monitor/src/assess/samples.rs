//! What the rules say of a call, in a form that tests compare easily.

use super::Context;
pub(super) use crate::model::samples::{load, load_from, path, refused, tree, unload};
use crate::model::{ModuleCall, Observation, Severity, Verdict, samples};

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
