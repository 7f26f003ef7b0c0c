//! Other processes at the sensor's own programs, maps and links.

use super::{Context, Detection, Match, attack, phrase::process};
use crate::model::{AccessOutcome, ObjectAccess, ObjectOperation, Rule, Severity, errno_name, text::brief};

pub(super) static DETECTIONS: &[Detection<ObjectAccess>] = &[
    Detection {
        rule: Rule {
            code: 202,
            id: "sensor-object-opened",
            name: "Kernel module sensor's programs or maps opened",
            description: "A process got hold of the sensor's own programs, maps or links in the kernel. With a descriptor of a map it can \
                          change what the sensor sees.",
            version: 1,
            severity: Severity::Low,
            techniques: attack::GUARD_UNLOADING,
        },
        matches: opened,
    },
    Detection {
        rule: Rule {
            code: 203,
            id: "sensor-object-changed",
            name: "Kernel module sensor's programs or maps changed",
            description: "A process changed the content of the sensor's maps, loaded a program that can, ran its programs, or detached or \
                          replaced them. Nothing but an attack on the sensor does that.",
            version: 2,
            severity: Severity::Critical,
            techniques: attack::GUARD_UNLOADING,
        },
        matches: changed,
    },
];

fn opened(access: &ObjectAccess, context: &Context<'_>) -> Option<Match> {
    let severity = match access.operation {
        // Administrators list programs.
        ObjectOperation::Open => Severity::Low,
        // They do not keep the sensor's alive, nor take descriptors out of the daemon.
        ObjectOperation::Pin => Severity::Medium,
        ObjectOperation::TakeDescriptor => Severity::High,
        _ => return None,
    };
    Some(Match { severity, reason: sentence(access, context) })
}

fn changed(access: &ObjectAccess, context: &Context<'_>) -> Option<Match> {
    let severity = match access.outcome {
        AccessOutcome::Refused(_) => Severity::High,
        // What the program does with it is seen by what the map holds then (211).
        _ if access.operation == ObjectOperation::UseMap => Severity::High,
        AccessOutcome::Unknown | AccessOutcome::Succeeded => Severity::Critical,
    };
    access.operation.is_change().then(|| Match { severity, reason: sentence(access, context) })
}

/// `2 objects of the sensor (map COUNTERS, program d_move) were opened by /usr/sbin/bpftool run by root`.
fn sentence(access: &ObjectAccess, context: &Context<'_>) -> String {
    const NAMED: usize = 4;
    let name = |object: &crate::model::OwnObject| match &object.name {
        Some(name) => format!("{} {}", object.kind.name(), brief(name.as_bytes())),
        None => format!("{} {}", object.kind.name(), object.id),
    };
    let mut named: Vec<_> = access.objects.iter().take(NAMED).map(name).collect();
    if access.objects.len() > NAMED {
        named.push("others".to_owned());
    }
    let (of, verb) = match access.objects.len() {
        1 => ("an object", "was"),
        _ => ("objects", "were"),
    };
    let (to_be, ending) = match access.outcome {
        AccessOutcome::Succeeded => ("", String::new()),
        AccessOutcome::Unknown => (" perhaps", "; how that ended was not seen".to_owned()),
        AccessOutcome::Refused(errno) => (" to be", format!("; the kernel refused it with {}", errno_name(errno))),
    };
    let by = process(&access.process.caller, context);
    let done = access.operation.participle();
    format!("{of} of the sensor's ({}) {verb}{to_be} {done} by {by}{ending}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::samples::assess,
        model::{Observation, samples::object_access},
    };

    fn found(operation: ObjectOperation, outcome: AccessOutcome) -> (u16, Severity, String) {
        let access = ObjectAccess { operation, outcome, ..object_access() };
        let verdict = assess(&Observation::Object(Box::new(access)));
        assert_eq!(verdict.findings.len(), 1);
        let finding = &verdict.findings[0];
        (finding.rule.code, finding.severity, finding.reason.clone())
    }

    #[test]
    fn who_looks_is_low_and_who_changes_is_critical() {
        let (code, severity, reason) = found(ObjectOperation::Open, AccessOutcome::Succeeded);
        assert_eq!((code, severity), (202, Severity::Low));
        assert!(reason.starts_with("objects of the sensor's (map COUNTERS, link 9) were opened by "), "{reason}");
        let (code, severity, _) = found(ObjectOperation::TakeDescriptor, AccessOutcome::Succeeded);
        assert_eq!((code, severity), (202, Severity::High));
        let changes = [
            ObjectOperation::UpdateMap,
            ObjectOperation::UpdateLink,
            ObjectOperation::RunProgram,
            ObjectOperation::ExtendProgram,
        ];
        for operation in changes {
            for outcome in [AccessOutcome::Succeeded, AccessOutcome::Unknown] {
                let (code, severity, _) = found(operation, outcome);
                assert_eq!((code, severity), (203, Severity::Critical), "{operation:?}");
            }
        }
    }

    #[test]
    fn who_can_change_a_map_without_a_call_is_high() {
        let (code, severity, reason) = found(ObjectOperation::UseMap, AccessOutcome::Succeeded);
        assert_eq!((code, severity), (203, Severity::High));
        assert!(reason.contains("were put within reach of a program of others by "), "{reason}");
    }

    #[test]
    fn what_the_kernel_refuses_was_still_tried() {
        let (code, severity, reason) = found(ObjectOperation::DetachLink, AccessOutcome::Refused(libc::EOPNOTSUPP));
        assert_eq!((code, severity), (203, Severity::High));
        assert!(
            reason.contains("were to be detached by") && reason.ends_with("refused it with EOPNOTSUPP"),
            "{reason}"
        );
    }
}
