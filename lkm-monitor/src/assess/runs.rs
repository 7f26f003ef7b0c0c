//! What a run of the daemon finds of the one before.

use super::{attack, sort};
use crate::model::{Finding, Predecessor, Rule, RunEnd, Severity, Succession, Verdict, text::brief};

pub(super) static ENDED: Rule = Rule {
    code: 204,
    id: "sensor-ended-without-stop",
    name: "Kernel module sensor ended without being stopped",
    description: "The run of the sensor before this one did not end because it was told to: it was killed, it crashed, or the host \
                  went down under it. What happened between the two was not seen.",
    version: 1,
    severity: Severity::High,
    techniques: attack::GUARD_UNLOADING,
};

pub(super) static UNREADABLE: Rule = Rule {
    code: 205,
    id: "sensor-record-unreadable",
    name: "Kernel module sensor's record of its last run unreadable",
    description: "What the sensor left on record for its next run is torn, of another version, or not a file. How that run ended is \
                  not known.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::GUARD_UNLOADING,
};

pub(super) static PROGRAM: Rule = Rule {
    code: 206,
    id: "sensor-program-changed",
    name: "Kernel module sensor's program changed",
    description: "The sensor runs from another program than the run before.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::GUARD_UNLOADING,
};

pub(super) static CONFIGURATION: Rule = Rule {
    code: 207,
    id: "sensor-configuration-changed",
    name: "Kernel module sensor's configuration changed",
    description: "The sensor runs with other settings than the run before.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::GUARD_UNLOADING,
};

/// What is alarming in how the run before ended, and in what differs since.
pub fn assess_succession(succession: &Succession) -> Verdict {
    let mut findings = Vec::new();
    let mut add = |rule: &'static Rule, severity, reason| findings.push(Finding { rule, severity, reason });
    let unwatched = || match succession.unwatched_ms() {
        Some(ms) => format!("nobody watched for {} s", ms / 1000),
        None => "for how long nobody watched is not known".to_owned(),
    };
    match &succession.before {
        Predecessor::Unreadable(reason) => add(&UNREADABLE, UNREADABLE.severity, brief(reason.as_bytes())),
        Predecessor::OnRecord(_, RunEnd::Killed) => {
            let reason = format!("the run before was killed or crashed while the host ran on; {}", unwatched());
            add(&ENDED, Severity::High, reason);
        }
        Predecessor::OnRecord(_, RunEnd::HostWentDown) => {
            let reason = format!("the host went down under the run before; {}", unwatched());
            add(&ENDED, Severity::Medium, reason);
        }
        Predecessor::NotOnRecord | Predecessor::OnRecord(_, RunEnd::Stopped | RunEnd::StillRunning) => {}
    }
    let program = succession.other_binary();
    if let Some((before, now)) = program {
        add(&PROGRAM, PROGRAM.severity, format!("the program's SHA-256 was {before} and is {now} now"));
    }
    // Another program may know other settings; that it is another is said.
    if let Some((before, now)) = succession.other_configuration().filter(|_| program.is_none()) {
        let reason = format!("the SHA-256 of all settings was {before} and is {now} now");
        add(&CONFIGURATION, CONFIGURATION.severity, reason);
    }
    sort(&mut findings);
    Verdict { findings, ..Verdict::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Moment, RunRecord};

    fn run(boot_ns: u64) -> RunRecord {
        let at = Moment { boot_ns, unix_ms: 0 };
        RunRecord {
            began: at,
            seen: at,
            binary_sha256: Some("aa".to_owned()),
            configuration_sha256: "cc".to_owned(),
            ..RunRecord::default()
        }
    }

    fn found(before: Predecessor) -> Vec<(u16, Severity, String)> {
        let verdict = assess_succession(&Succession { this: run(95_000_000_000), before });
        verdict.findings.into_iter().map(|finding| (finding.rule.code, finding.severity, finding.reason)).collect()
    }

    fn after(end: RunEnd) -> Vec<(u16, Severity, String)> {
        found(Predecessor::OnRecord(Box::new(run(5_000_000_000)), end))
    }

    #[test]
    fn a_run_that_was_not_stopped_alerts_with_how_long_nobody_watched() {
        let reason = "the run before was killed or crashed while the host ran on; nobody watched for 90 s".to_owned();
        assert_eq!(after(RunEnd::Killed), [(204, Severity::High, reason)]);
        assert_eq!(after(RunEnd::HostWentDown)[0].1, Severity::Medium);
        assert_eq!(after(RunEnd::Stopped), []);
        assert_eq!(after(RunEnd::StillRunning), []);
        assert_eq!(found(Predecessor::NotOnRecord), []);
        assert_eq!(found(Predecessor::Unreadable("torn".to_owned())), [(205, Severity::Medium, "torn".to_owned())]);
    }

    #[test]
    fn what_differs_is_told_with_both_hashes() {
        let differs = |change: fn(&mut RunRecord)| {
            let mut before = run(1);
            change(&mut before);
            found(Predecessor::OnRecord(Box::new(before), RunEnd::Stopped))
        };
        let settings = differs(|before| before.configuration_sha256 = "dd".to_owned());
        let reason = "the SHA-256 of all settings was dd and is cc now".to_owned();
        assert_eq!(settings, [(207, Severity::Medium, reason)]);
        let both = differs(|before| {
            before.configuration_sha256 = "dd".to_owned();
            before.binary_sha256 = Some("bb".to_owned());
        });
        assert_eq!(both, [(206, Severity::Medium, "the program's SHA-256 was bb and is aa now".to_owned())]);
        assert_eq!(differs(|before| before.binary_sha256 = None), [], "not known is not another");
    }
}
