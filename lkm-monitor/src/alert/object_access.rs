//! Other processes at the sensor's own objects.

use super::{
    json::{Value, json, long, merge},
    process,
    scene::Scene,
};
use crate::model::{AccessOutcome, ObjectAccess, OwnObject, errno_name, text::readable};

/// The document of an access. Every one is an alert by rule.
pub(super) fn render<'a>(access: &'a ObjectAccess, scene: &Scene<'a>) -> Value<'a> {
    let (action, kind) = match access.operation.is_change() {
        true => ("changed-sensor-object", "change"),
        false => ("opened-sensor-object", "access"),
    };
    let mut document = json!({
        "message": "Kernel module sensor's programs or maps accessed",
        "event": {
            "kind": "event",
            "category": ["configuration"],
            "type": [kind],
            "action": action,
            "outcome": match access.outcome {
                AccessOutcome::Succeeded => "success",
                AccessOutcome::Unknown => "unknown",
                AccessOutcome::Refused(_) => "failure",
            },
            "duration": access.last_boot_ns.checked_sub(access.boot_ns).map(long),
            "provider": "kernel",
        },
        "lkm_monitor": {
            "object": {
                "operation": access.operation.name(),
                "count": long(access.count),
                "errno": match access.outcome {
                    AccessOutcome::Refused(errno) => Some(errno_name(errno)),
                    _ => None,
                },
                "objects": access.objects.iter().map(object).collect::<Vec<_>>(),
            },
        },
    });
    merge(&mut document, process::render(&access.process, scene));
    document
}

fn object(object: &OwnObject) -> Value<'_> {
    json!({
        "kind": object.kind.name(),
        "id": (object.id != 0).then_some(object.id),
        "name": object.name.as_ref().map(|name| readable(name.as_bytes())),
    })
}
