//! The alert's part of a document: rule, severity, ATT&CK.

use super::{
    json::{Value, digits, json, merge},
    rarity,
};
use crate::model::{AttackEntry, Finding, Technique, Verdict, verdict::ATTACK_VERSION};

/// What the rules say, and how often, and where, things like it happened.
pub(super) fn render(verdict: &Verdict) -> Value<'_> {
    let mut document = alert(verdict);
    if let Some(rarity) = &verdict.rarity {
        merge(&mut document, json!({ "lkm_monitor": { "rarity": rarity::render(rarity) } }));
    }
    document
}

/// Empty without findings.
fn alert(verdict: &Verdict) -> Value<'_> {
    let Some(lead) = verdict.lead() else { return json!({}) };
    let techniques: Vec<_> = verdict.findings.iter().flat_map(|finding| finding.rule.techniques).collect();
    json!({
        "message": lead.rule.name,
        "event": {
            "kind": "alert",
            "code": digits(lead.rule.code),
            "severity": lead.severity.number(),
            "risk_score": lead.severity.number(),
            "reason": &lead.reason,
        },
        "rule": {
            "id": lead.rule.id,
            "name": lead.rule.name,
            "description": lead.rule.description,
            "version": digits(lead.rule.version),
            "reference": lead.rule.techniques.first().map(|first| first.subtechnique.unwrap_or(first.technique).reference),
            "ruleset": "lkm-monitor",
        },
        "threat": threat(&techniques),
        "lkm_monitor": {
            "attack_version": ATTACK_VERSION,
            "findings": verdict.findings.iter().map(finding).collect::<Vec<_>>(),
        },
    })
}

fn finding(finding: &Finding) -> Value<'_> {
    json!({
        "code": digits(finding.rule.code),
        "id": finding.rule.id,
        "name": finding.rule.name,
        "severity": finding.severity.number(),
        "reason": &finding.reason,
    })
}

/// The techniques of all findings, each once, those of the leading one first. Id, name and reference of one technique have
/// the same place in their arrays.
fn threat(techniques: &[&Technique]) -> Value<'static> {
    let mut technique = columns(techniques.iter().map(|technique| technique.technique));
    let parts = columns(techniques.iter().filter_map(|technique| technique.subtechnique));
    merge(&mut technique, json!({ "subtechnique": parts }));
    let tactic = columns(techniques.iter().map(|technique| technique.tactic));
    json!({ "framework": "MITRE ATT&CK", "tactic": tactic, "technique": technique })
}

/// Ids, names and references as three arrays, every id once.
fn columns(entries: impl Iterator<Item = AttackEntry>) -> Value<'static> {
    let (mut ids, mut names, mut references) = (Vec::new(), Vec::new(), Vec::new());
    for AttackEntry { id, name, reference } in entries {
        if !ids.contains(&id) {
            ids.push(id);
            names.push(name);
            references.push(reference);
        }
    }
    json!({ "id": ids, "name": names, "reference": references })
}
