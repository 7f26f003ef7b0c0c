//! Weighs an observation with rules. Pure: the same observation in the same context gives the same verdict.
//!
//! One file per theme holds its rules beside their conditions; a rule's number and id never change their meaning.

mod attack;
mod autoload;
mod configuration;
mod drift;
mod files;
mod image;
mod integrity;
mod loader;
mod objects;
mod origin;
mod phrase;
mod rarity;
mod runs;
#[cfg(test)]
mod samples;
mod sensor;
mod spool;
mod system;
mod tools;
mod unload;

use std::cmp::Reverse;

pub use drift::assess_drift;
pub use phrase::process as process_phrase;
pub use rarity::{judge, weigh_rarity};
pub use runs::assess_succession;
pub use sensor::{assess_not_started, assess_sensor};
pub use spool::assess_spool;

use crate::model::{
    Accounts, FileReport, Finding, Host, ModuleCall, ObjectAccess, Observation, Rule, Severity, ToolRun, Verdict,
};

/// What an observation is weighed against.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub host: &'a Host,
    /// For the sentences.
    pub accounts: &'a Accounts,
}

/// A rule and its condition on an observation of one kind.
struct Detection<T = ModuleCall> {
    rule: Rule,
    matches: fn(&T, &Context<'_>) -> Option<Match>,
}

/// A rule's condition holds.
struct Match {
    severity: Severity,
    reason: String,
}

static LOAD: [&[Detection]; 5] =
    [origin::DETECTIONS, integrity::DETECTIONS, image::DETECTIONS, loader::DETECTIONS, autoload::DETECTIONS];
static UNLOAD: [&[Detection]; 1] = [unload::DETECTIONS];
static FILE: [&[Detection<FileReport>]; 2] = [files::DETECTIONS, configuration::DETECTIONS];
static TOOL: [&[Detection<ToolRun>]; 1] = [tools::DETECTIONS];
static OBJECT: [&[Detection<ObjectAccess>]; 1] = [objects::DETECTIONS];

/// All findings, the most severe first. A request for a module is telemetry: the load that answers it is what counts.
pub fn assess(observation: &Observation, context: &Context<'_>) -> Verdict {
    match observation {
        Observation::Call(call) if call.operation.is_load() => weigh(&LOAD, call, context),
        Observation::Call(call) => weigh(&UNLOAD, call, context),
        Observation::Request(_) => Verdict::default(),
        Observation::File(report) => weigh(&FILE, report, context),
        Observation::Tool(run) => weigh(&TOOL, run, context),
        Observation::Object(access) => weigh(&OBJECT, access, context),
    }
}

fn weigh<T>(detections: &[&'static [Detection<T>]], observed: &T, context: &Context<'_>) -> Verdict {
    let finding = |detection: &'static Detection<T>| {
        let Match { severity, reason } = (detection.matches)(observed, context)?;
        Some(Finding { rule: &detection.rule, severity, reason })
    };
    let mut findings: Vec<_> = detections.iter().copied().flatten().filter_map(finding).collect();
    sort(&mut findings);
    Verdict { findings, ..Verdict::default() }
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| (Reverse(finding.severity), finding.rule.code));
}

/// Every rule there is.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let of_calls = LOAD.into_iter().chain(UNLOAD).flatten().map(|detection| &detection.rule);
    let of_files = FILE.into_iter().flatten().map(|detection| &detection.rule);
    let of_tools = TOOL.into_iter().flatten().map(|detection| &detection.rule);
    let of_objects = OBJECT.into_iter().flatten().map(|detection| &detection.rule);
    let of_sensor = [&sensor::BLINDED, &sensor::HOOK_LOST, &sensor::NOT_STARTED, &sensor::TAMPERED_WITH];
    let others = [&spool::FAILED, &rarity::RARE_MODULE, &rarity::RARE_RUN];
    let of_runs = [&runs::ENDED, &runs::UNREADABLE, &runs::PROGRAM, &runs::CONFIGURATION];
    let of_state = [&drift::LOADED, &drift::FILE, &drift::POLICY, &drift::GONE, &drift::TAINT, &drift::RECORD];
    of_calls
        .chain(of_files)
        .chain(of_tools)
        .chain(of_objects)
        .chain(of_runs)
        .chain(of_sensor)
        .chain(of_state)
        .chain(others)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::model::{LoadStage, ModuleRequest, taint};

    #[test]
    fn codes_and_ids_are_unique() {
        let codes: HashSet<_> = rules().map(|rule| rule.code).collect();
        let ids: HashSet<_> = rules().map(|rule| rule.id).collect();
        assert_eq!((codes.len(), ids.len()), (rules().count(), rules().count()));
        assert_eq!(codes.len(), 55);
    }

    #[test]
    fn the_documentation_has_a_row_for_each_rule() {
        let page = include_str!("../../../docs/alerts.md");
        let is_row = |line: &&str| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(char::is_numeric));
        let rows: Vec<_> = page.lines().filter(is_row).collect();
        assert_eq!(rows.len(), rules().count());
        for Rule { code, id, severity, .. } in rules() {
            let start = format!("| {code} | {id}, ");
            let row =
                rows.iter().find_map(|row| row.strip_prefix(&start)).unwrap_or_else(|| panic!("a row for {code} {id}"));
            let (severities, _) = row.split_once(" | ").unwrap();
            assert!(severities.contains(severity.name()), "{code} {id} is {}: {row}", severity.name());
        }
    }

    #[test]
    fn ordinary_load_is_telemetry() {
        assert_eq!(samples::findings(&samples::load()), []);
    }

    #[test]
    fn most_severe_finding_leads_and_codes_break_ties() {
        let mut call = samples::load_from("/tmp/foo.ko");
        call.module.taints = Some(taint::UNSIGNED);
        call.stage = LoadStage::InitFailed;
        let severities: Vec<_> =
            samples::findings(&call).into_iter().map(|(code, severity, _)| (code, severity)).collect();
        assert_eq!(severities, [(104, Severity::High), (107, Severity::High), (105, Severity::Medium)]);
    }

    #[test]
    fn a_request_is_telemetry() {
        let request = ModuleRequest {
            name: crate::model::Bytes::whole("net-pf-10"),
            wait: true,
            boot_ns: 1,
            cpu: 0,
            process: samples::tree(),
        };
        assert_eq!(samples::assess(&Observation::Request(Box::new(request))), Verdict::default());
    }
}
