//! What keeps alerts from being durable.

use super::attack;
use crate::model::{Finding, Rule, Severity, SpoolChange, Verdict};

pub(super) static FAILED: Rule = Rule {
    code: 209,
    id: "sensor-spool-failed",
    name: "Kernel module sensor cannot keep its alerts",
    description: "The file in which alerts wait for their receivers cannot be written: they are kept in memory, and lost when the sensor \
                  ends before they are sent. A full or failing disk does that, and whoever wants to hide something.",
    version: 1,
    severity: Severity::Medium,
    techniques: attack::GUARD_UNLOADING,
};

/// The alert of a spool that cannot be written; nothing of one that can be again.
pub fn assess_spool(change: &SpoolChange) -> Verdict {
    let finding = |reason: &String| Finding { rule: &FAILED, severity: FAILED.severity, reason: reason.clone() };
    Verdict { findings: change.reason.iter().map(finding).collect(), ..Verdict::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failure_alerts() {
        let failed = assess_spool(&SpoolChange { boot_ns: 1, reason: Some("no space".to_owned()) });
        assert_eq!((failed.findings[0].rule.code, failed.findings[0].reason.as_str()), (209, "no space"));
        assert!(assess_spool(&SpoolChange { boot_ns: 1, reason: None }).findings.is_empty());
    }
}
