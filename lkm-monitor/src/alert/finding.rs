//! The alert's part of a document: rule, severity, ATT&CK.

use super::{
    json::{Value, digits, json, merge},
    rarity,
};
use crate::model::{Finding, Technique, Verdict, verdict::ATTACK_VERSION};

const ATTACK: &str = "https://attack.mitre.org";

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
            "reference": lead.rule.techniques.first().map(technique_url),
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
    let tactics = techniques.iter().map(|technique| {
        let url = format!("{ATTACK}/tactics/{}/", technique.tactic_id);
        (technique.tactic_id, technique.tactic_name, url)
    });
    let whole = techniques.iter().map(|technique| (technique.id, technique.name, url_of(technique.id)));
    let parts = techniques.iter().filter_map(|technique| technique.subtechnique);
    let parts = parts.map(|(id, name)| (id, name, url_of(id)));

    let mut technique = columns(whole);
    merge(&mut technique, json!({ "subtechnique": columns(parts) }));
    json!({ "framework": "MITRE ATT&CK", "tactic": columns(tactics), "technique": technique })
}

/// Rows of id, name and reference as three arrays, every id once.
fn columns(rows: impl Iterator<Item = (&'static str, &'static str, String)>) -> Value<'static> {
    let (mut ids, mut names, mut references) = (Vec::new(), Vec::new(), Vec::new());
    for (id, name, reference) in rows {
        if !ids.contains(&id) {
            ids.push(id);
            names.push(name);
            references.push(reference);
        }
    }
    json!({ "id": ids, "name": names, "reference": references })
}

fn technique_url(technique: &Technique) -> String {
    url_of(technique.subtechnique.map_or(technique.id, |(id, _)| id))
}

fn url_of(id: &str) -> String {
    format!("{ATTACK}/techniques/{}/", id.replace('.', "/"))
}
