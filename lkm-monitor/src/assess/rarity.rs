//! What is rare. The other rules look at an event alone; these know how often, and where, things like it happened.

use super::{Context, attack, files, phrase};
use crate::model::{
    Answer, Finding, ModuleCall, Observation, Rarity, Rule, Scope, Severity, Standing, Threshold, ToolRun, Verdict,
    text::brief,
};

pub(super) static RARE_MODULE: Rule = Rule {
    code: 140,
    id: "rare-module",
    name: "Rare kernel module loaded",
    description: "A kernel module of this name and content was loaded, which is on few hosts, and was not loaded here within the \
                  window.",
    version: 1,
    severity: Severity::Low,
    techniques: attack::LOADING,
};

pub(super) static RARE_RUN: Rule = Rule {
    code: 502,
    id: "rare-module-tool-run",
    name: "Rare run of a module tool",
    description: "A module tool asked something of the kernel with arguments that it was not run with before within the window.",
    version: 1,
    severity: Severity::Low,
    techniques: attack::LOADING,
};

/// Whether an event is rare, by how its group stands.
pub fn judge(answer: Answer, threshold: &Threshold, arguments: Option<u64>, not_all_known: bool) -> bool {
    let few_arguments = threshold.max_args.is_none_or(|most| arguments.is_none_or(|arguments| arguments <= most));
    let is_rare = match answer {
        // Better twice than never.
        Answer::Unknown => true,
        Answer::Known(_) | Answer::FleetSilent(_) if not_all_known => true,
        Answer::Known(standing) | Answer::FleetSilent(standing) => {
            // Of what only this agent has seen, and has not told of, earlier events were not told: a crash, or a full queue.
            let is_untold = standing.agents <= 1 && !standing.seen_before;
            let is_once = threshold.max_count.is_none_or(|most| standing.count <= most);
            let few = standing.agents <= threshold.max_agents && (is_once || is_untold);
            few && !standing.seen_before && !standing.in_baseline
        }
    };
    is_rare && few_arguments
}

/// The verdict with what rarity adds, and without the alert on a module file that is common.
pub fn weigh_rarity(
    mut verdict: Verdict,
    observation: &Observation,
    rarity: Rarity,
    threshold: &Threshold,
    context: &Context<'_>,
) -> Verdict {
    let phrase = phrase_of(&rarity);
    match observation {
        // That a file appeared is an alert because it is rare. What is grave by itself remains.
        Observation::File(_) if rarity.rare => {
            for finding in verdict.findings.iter_mut().filter(|finding| is_of_appearance(finding)) {
                finding.reason.push_str(&format!("; {phrase}"));
                let is_grave = finding.severity >= Severity::High;
                finding.severity = threshold.severity.filter(|_| !is_grave).unwrap_or(finding.severity);
            }
        }
        Observation::File(_) => {
            verdict.findings.retain(|finding| !is_of_appearance(finding) || finding.severity >= Severity::High);
        }
        Observation::Call(call) if rarity.rare => {
            verdict.findings.push(finding(&RARE_MODULE, threshold, loaded(call, context), &phrase));
        }
        Observation::Tool(run) if rarity.rare => {
            verdict.findings.push(finding(&RARE_RUN, threshold, ran(run, context), &phrase));
        }
        Observation::Call(_) | Observation::Tool(_) | Observation::Request(_) | Observation::Object(_) => {}
    }
    super::sort(&mut verdict.findings);
    verdict.rarity = Some(rarity);
    verdict
}

fn is_of_appearance(finding: &Finding) -> bool {
    finding.rule.code == files::CREATED
}

fn finding(rule: &'static Rule, threshold: &Threshold, what: String, phrase: &str) -> Finding {
    Finding { rule, severity: threshold.severity.unwrap_or(rule.severity), reason: format!("{what}; {phrase}") }
}

fn loaded(call: &ModuleCall, context: &Context<'_>) -> String {
    phrase::sentence(call, context, "")
}

fn ran(run: &ToolRun, context: &Context<'_>) -> String {
    let caller = &run.process.caller;
    let line: Vec<_> = caller.arguments.iter().map(|argument| argument.bytes.as_slice()).collect();
    format!("`{}` was run: {}", brief(&line.join(&b' ')), phrase::process(caller, context))
}

/// `1 event on 1 agent of the fleet in 30 days`.
fn phrase_of(rarity: &Rarity) -> String {
    let (standing, silent) = match rarity.answer {
        Answer::Known(standing) => (standing, false),
        Answer::FleetSilent(standing) => (standing, true),
        Answer::Unknown => return "how rare it is could not be found out".to_owned(),
    };
    let days = rarity.window_days;
    let figures = figures(&standing);
    let content = if rarity.not_all_known { ", and not all of it could be read" } else { "" };
    let silent = if silent { "; the fleet's store did not answer" } else { "" };
    format!("{figures} in {days} days{content}{silent}")
}

fn figures(standing: &Standing) -> String {
    let plural = |number: u64| if number == 1 { "" } else { "s" };
    let Standing { count, agents, .. } = *standing;
    match standing.scope {
        Scope::Host if count == 1 => "the first such event on this host".to_owned(),
        Scope::Host => format!("{count} such events on this host"),
        Scope::Fleet => format!("{count} such event{} on {agents} agent{} of the fleet", plural(count), plural(agents)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::{assess, samples},
        model::{FileAction, FileChange, Kind, Subject, samples as model},
    };

    const FIRST: Standing =
        Standing { scope: Scope::Host, count: 1, agents: 1, first_s: 1, seen_before: false, in_baseline: false };

    fn is_rare(kind: Kind, standing: Standing) -> bool {
        judge(Answer::Known(standing), &Threshold::of(kind), Some(2), false)
    }

    #[test]
    fn the_first_of_a_group_on_few_agents_is_rare() {
        for kind in [Kind::File, Kind::Module] {
            assert!(is_rare(kind, FIRST));
            assert!(is_rare(kind, Standing { agents: 3, count: 900, scope: Scope::Fleet, ..FIRST }));
            assert!(!is_rare(kind, Standing { agents: 4, count: 4, scope: Scope::Fleet, ..FIRST }));
            assert!(!is_rare(kind, Standing { seen_before: true, count: 2, ..FIRST }));
            assert!(!is_rare(kind, Standing { in_baseline: true, ..FIRST }));
        }
    }

    #[test]
    fn a_run_is_rare_once_and_with_few_arguments() {
        assert!(is_rare(Kind::Tool, FIRST));
        assert!(!is_rare(Kind::Tool, Standing { count: 2, agents: 2, scope: Scope::Fleet, ..FIRST }));
        assert!(!is_rare(Kind::Tool, Standing { count: 2, seen_before: true, ..FIRST }));
        assert!(is_rare(Kind::Tool, Standing { count: 2, ..FIRST }), "the first one was not told");
        let threshold = Threshold::of(Kind::Tool);
        assert!(judge(Answer::Known(FIRST), &threshold, Some(3), false));
        assert!(!judge(Answer::Known(FIRST), &threshold, Some(4), false));
        assert!(!judge(Answer::Unknown, &threshold, Some(4), false));
    }

    #[test]
    fn what_is_not_known_is_rare() {
        let threshold = Threshold::of(Kind::File);
        let common = Standing { seen_before: true, agents: 60, count: 60, ..FIRST };
        assert!(judge(Answer::Unknown, &threshold, None, false));
        assert!(judge(Answer::Known(common), &threshold, None, true), "unknown bytes");
        assert!(!judge(Answer::FleetSilent(common), &threshold, None, false));
    }

    fn weighed(observation: &Observation, kind: Kind, rarity: Rarity) -> Vec<(u16, Severity, String)> {
        let (host, accounts) = (model::host(), model::accounts());
        let context = Context { host: &host, accounts: &accounts };
        let verdict = assess(observation, &context);
        let weighed = weigh_rarity(verdict, observation, rarity, &Threshold::of(kind), &context);
        assert_eq!(weighed.rarity, Some(rarity));
        weighed.findings.into_iter().map(|found| (found.rule.code, found.severity, found.reason)).collect()
    }

    fn rarity(rare: bool, standing: Standing) -> Rarity {
        Rarity { rare, answer: Answer::Known(standing), window_days: 30, not_all_known: false, settles: None }
    }

    fn created(action: FileAction, path: &str) -> Observation {
        let change = FileChange { action, path: samples::path(path), ..model::file_change() };
        Observation::File(Box::new(samples::report(Subject::Module, change)))
    }

    #[test]
    fn a_file_alerts_where_it_is_rare() {
        let file = created(FileAction::Created, "/tmp/x.ko");
        let found = weighed(&file, Kind::File, rarity(true, FIRST));
        assert_eq!((found.len(), found[0].0, found[0].1), (1, 301, Severity::Medium));
        assert!(
            found[0].2.ends_with("outside /lib/modules; the first such event on this host in 30 days"),
            "{}",
            found[0].2
        );
        assert_eq!(weighed(&file, Kind::File, rarity(false, FIRST)), []);
        let mounted = created(FileAction::MountedOver, "/usr/lib/modules/6.1.0/kernel/foo.ko");
        assert_eq!(weighed(&mounted, Kind::File, rarity(false, FIRST)).len(), 1, "grave by itself");
        let modified = created(FileAction::Written, "/tmp/x.ko");
        assert_eq!(weighed(&modified, Kind::File, rarity(false, FIRST)).len(), 1, "another rule");
    }

    #[test]
    fn a_load_and_a_run_alert_where_they_are_rare() {
        let load = Observation::Call(Box::new(samples::load()));
        assert_eq!(weighed(&load, Kind::Module, rarity(false, FIRST)), []);
        let fleet = Standing { scope: Scope::Fleet, count: 5, agents: 2, ..FIRST };
        let found = weighed(&load, Kind::Module, rarity(true, fleet));
        assert_eq!((found[0].0, found[0].1), (140, Severity::Low));
        assert!(found[0].2.ends_with("; 5 such events on 2 agents of the fleet in 30 days"), "{}", found[0].2);
        let run = Observation::Tool(Box::new(model::tool_run()));
        let silent = Rarity { answer: Answer::FleetSilent(FIRST), ..rarity(true, FIRST) };
        let found = weighed(&run, Kind::Tool, silent);
        assert_eq!(found[0].0, 502);
        assert!(found[0].2.starts_with("`modprobe -n foo` was run: /usr/bin/kmod run by root"), "{}", found[0].2);
        assert!(
            found[0].2.ends_with("; the first such event on this host in 30 days; the fleet's store did not answer"),
            "{}",
            found[0].2
        );
    }

    #[test]
    fn graver_findings_lead() {
        let load = Observation::Call(Box::new(samples::load_from("/tmp/foo.ko")));
        let codes: Vec<_> =
            weighed(&load, Kind::Module, rarity(true, FIRST)).into_iter().map(|found| found.0).collect();
        assert_eq!(codes, [104, 140]);
    }

    #[test]
    fn a_rule_can_have_another_severity() {
        let (host, accounts) = (model::host(), model::accounts());
        let context = Context { host: &host, accounts: &accounts };
        let threshold = Threshold { severity: Some(Severity::Critical), ..Threshold::of(Kind::File) };
        let file = created(FileAction::Created, "/tmp/x.ko");
        let weighed = weigh_rarity(assess(&file, &context), &file, rarity(true, FIRST), &threshold, &context);
        assert_eq!(weighed.findings[0].severity, Severity::Critical);
    }
}
