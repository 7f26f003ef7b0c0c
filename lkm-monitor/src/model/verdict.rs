//! What the rules say of an observation.

use super::Rarity;

/// The version of MITRE ATT&CK that the technique and tactic ids are of. In version 19 Defense Evasion became Stealth
/// (TA0005) and Defense Impairment (TA0112), and Impair Defenses (T1562) became Disable or Modify Tools (T1685).
pub const ATTACK_VERSION: &str = "19";

/// The four severities that ECS consumers map (`event.severity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Low = 21,
    Medium = 47,
    High = 73,
    Critical = 99,
}

impl Severity {
    /// The number in documents.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The severity with this number.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|severity| u64::from(severity.number()) == number)
    }

    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub rule: &'static Rule,
    /// Often the rule's own; the circumstances may lower or raise it.
    pub severity: Severity,
    /// Why, in one sentence without a final stop.
    pub reason: String,
}

/// A detection. The table is in `assess::rules`.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// Number, stable for ever: `event.code`.
    pub code: u16,
    /// Stable name: `rule.id`.
    pub id: &'static str,
    /// Title: `rule.name`, and `message` of the alert.
    pub name: &'static str,
    pub description: &'static str,
    /// Grows whenever the rule begins to match something else: `rule.version`.
    pub version: u16,
    /// The usual severity.
    pub severity: Severity,
    pub techniques: &'static [Technique],
}

/// An ATT&CK technique or sub-technique with one of its tactics.
#[derive(Debug, PartialEq)]
pub struct Technique {
    pub tactic: AttackEntry,
    pub technique: AttackEntry,
    pub subtechnique: Option<AttackEntry>,
}

/// A tactic, a technique or a sub-technique.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttackEntry {
    pub id: &'static str,
    pub name: &'static str,
    /// Its page.
    pub reference: &'static str,
}

/// All findings of one observation, the most severe first. Empty: telemetry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    /// Of what is counted, where counting is on.
    pub rarity: Option<Rarity>,
}

impl Verdict {
    /// The finding that names the alert.
    pub fn lead(&self) -> Option<&Finding> {
        self.findings.first()
    }
}
