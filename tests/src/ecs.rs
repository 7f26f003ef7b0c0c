//! Checks documents against the Elastic Common Schema, with the fields that `data/ecs-fields.tsv` lists.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::Value;

/// What ECS has no field for stands below this name.
const OWN_FIELDS: &str = "lkm_monitor";

/// Fields that every document has.
const REQUIRED: [&str; 21] = [
    "@timestamp",
    "message",
    "ecs.version",
    "event.kind",
    "event.category",
    "event.type",
    "event.action",
    "event.id",
    "event.sequence",
    "event.dataset",
    "event.module",
    "event.provider",
    "data_stream.type",
    "data_stream.dataset",
    "data_stream.namespace",
    "host.hostname",
    "host.boot.id",
    "host.os.type",
    "host.os.kernel",
    "agent.id",
    "agent.ephemeral_id",
];

/// Fields that every alert has, besides.
const REQUIRED_OF_ALERTS: [&str; 9] = [
    "event.code",
    "event.severity",
    "event.risk_score",
    "event.reason",
    "rule.id",
    "rule.name",
    "rule.version",
    "threat.framework",
    "lkm_monitor.findings",
];

/// Objects in an array, each by itself.
const NESTED: &str = "nested";

/// The severities that Elastic Security maps.
const SEVERITIES: [u64; 4] = [21, 47, 73, 99];

/// Type of a field, and whether it holds an array.
type Field = (&'static str, bool);

static FIELDS: LazyLock<HashMap<&'static str, Field>> = LazyLock::new(|| {
    let lines = include_str!("../data/ecs-fields.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?, (columns.next()?, columns.next()? == "array")))
        })
        .collect()
});

/// Every way in which `document` is not as ECS and this project want it; empty when it is sound.
pub fn check(document: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    if !document.is_object() {
        return vec!["not a JSON object".to_owned()];
    }
    walk("", document, &mut violations);
    let alert = at(document, "event.kind").is_some_and(|kind| kind == "alert");
    let required = REQUIRED.into_iter().chain(REQUIRED_OF_ALERTS.into_iter().filter(|_| alert));
    violations.extend(required.filter(|field| at(document, field).is_none()).map(|field| format!("{field}: missing")));
    if let Some(severity) = at(document, "event.severity")
        && !severity.as_u64().is_some_and(|number| SEVERITIES.contains(&number))
    {
        violations.push(format!("event.severity: {severity} is none of {SEVERITIES:?}"));
    }
    violations
}

/// The value of a field, given with dots.
fn at<'a>(document: &'a Value, field: &str) -> Option<&'a Value> {
    field.split('.').try_fold(document, |value, name| value.get(name))
}

fn walk(path: &str, value: &Value, violations: &mut Vec<String>) {
    if is_empty(value) {
        violations.push(format!("{path}: empty"));
        return;
    }
    let own = path == OWN_FIELDS || path.strip_prefix(OWN_FIELDS).is_some_and(|rest| rest.starts_with('.'));
    match (FIELDS.get(path), value) {
        (Some(&(NESTED, true)), Value::Array(elements)) => {
            let members = elements.iter().filter_map(Value::as_object).flatten();
            members.for_each(|(name, member)| walk(&format!("{path}.{name}"), member, violations));
            let others = elements.iter().filter(|element| !element.is_object());
            violations.extend(others.map(|element| format!("{path}: {element} is no object")));
        }
        (Some(&field), _) => check_field(path, field, value, violations),
        (None, Value::Object(members)) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(&path, member, violations);
            }
        }
        (None, Value::Array(elements)) if own => {
            let objects = elements.iter().filter(|element| element.is_object());
            objects.for_each(|element| walk(path, element, violations));
        }
        (None, Value::Number(number)) if own => {
            if !number.is_i64() {
                violations.push(format!("{path}: {number} does not fit a long"));
            }
        }
        (None, _) if own => {}
        (None, _) => violations.push(format!("{path}: not a field of ECS")),
    }
}

fn check_field(path: &str, (kind, array): Field, value: &Value, violations: &mut Vec<String>) {
    let values = match value {
        Value::Array(elements) if array => elements.iter().collect(),
        Value::Array(_) => {
            violations.push(format!("{path}: an array, where ECS has one value"));
            return;
        }
        single if array => {
            violations.push(format!("{path}: one value, where ECS has an array"));
            vec![single]
        }
        single => vec![single],
    };
    for value in values.into_iter().filter(|value| !has_type(value, kind)) {
        violations.push(format!("{path}: {value} is no {kind}"));
    }
}

fn has_type(value: &Value, kind: &str) -> bool {
    match kind {
        "long" | "integer" | "short" | "byte" => value.is_i64(),
        "float" | "double" | "half_float" | "scaled_float" => value.is_number(),
        "boolean" => value.is_boolean(),
        "date" => value.as_str().is_some_and(is_date),
        _ => value.is_string(),
    }
}

/// RFC 3339 in UTC: `2026-01-31T23:59:59.000000Z`, the fraction of any length or absent.
fn is_date(text: &str) -> bool {
    let Some((whole, fraction)) = text.strip_suffix('Z').map(|time| time.split_once('.').unwrap_or((time, "0"))) else {
        return false;
    };
    let shape = b"0000-00-00T00:00:00";
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    whole.len() == shape.len()
        && whole.bytes().zip(shape).all(|(byte, &like)| if like == b'0' { byte.is_ascii_digit() } else { byte == like })
        && digits(fraction)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty() || elements.iter().any(Value::is_null),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn telemetry() -> Value {
        json!({
            "@timestamp": "2023-11-14T22:30:00.000000Z",
            "message": "Kernel module dummy loaded",
            "ecs": { "version": "9.4.0" },
            "event": {
                "kind": "event",
                "category": ["driver"],
                "type": ["start"],
                "action": "loaded-kernel-module",
                "id": "00",
                "sequence": 1,
                "dataset": "lkm_monitor.events",
                "module": "lkm_monitor",
                "provider": "kernel",
            },
            "data_stream": { "type": "logs", "dataset": "lkm_monitor.events", "namespace": "default" },
            "host": { "hostname": "h", "boot": { "id": "b" }, "os": { "type": "linux", "kernel": "6.1.0" } },
            "agent": { "id": "a", "ephemeral_id": "e" },
            "process": { "args": ["insmod", ""], "pid": 7, "thread": { "capabilities": { "effective": ["CAP_BPF"] } } },
            "lkm_monitor": { "ancestors": [{ "pid": 1, "args": ["x"] }], "late": true },
        })
    }

    /// The violations after one field, given as a JSON pointer, got another value.
    fn changed(pointer: &str, value: Value) -> Vec<String> {
        let mut document = telemetry();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = value;
        check(&document)
    }

    #[test]
    fn sound_document() {
        assert_eq!(check(&telemetry()), Vec::<String>::new());
    }

    #[test]
    fn unknown_fields() {
        assert_eq!(changed("/process/colour", json!("red")), ["process.colour: not a field of ECS"]);
        assert_eq!(changed("/lkm_monitor_x", json!(1)), ["lkm_monitor_x: not a field of ECS"]);
        assert!(changed("/lkm_monitor/anything", json!(["x"])).is_empty());
    }

    #[test]
    fn types() {
        assert_eq!(changed("/process/pid", json!("7")), ["process.pid: \"7\" is no long"]);
        assert_eq!(changed("/process/pid", json!(u64::MAX)), [format!("process.pid: {} is no long", u64::MAX)]);
        assert_eq!(changed("/process/name", json!(7)), ["process.name: 7 is no keyword"]);
        assert_eq!(changed("/process/pid", json!({ "x": 1 })), ["process.pid: {\"x\":1} is no long"]);
        assert_eq!(changed("/@timestamp", json!("yesterday")), ["@timestamp: \"yesterday\" is no date"]);
        assert_eq!(changed("/lkm_monitor/size", json!(u64::MAX)).len(), 1);
    }

    #[test]
    fn arrays() {
        assert_eq!(changed("/process/args", json!("x")), ["process.args: one value, where ECS has an array"]);
        assert_eq!(changed("/process/pid", json!([7])), ["process.pid: an array, where ECS has one value"]);
    }

    #[test]
    fn empty_values() {
        for empty in [json!(null), json!(""), json!([]), json!({})] {
            assert_eq!(changed("/process/name", empty.clone()), ["process.name: empty"]);
            assert_eq!(changed("/lkm_monitor/x", empty.clone()), ["lkm_monitor.x: empty"]);
            assert_eq!(changed("/lkm_monitor/ancestors/0/x", empty), ["lkm_monitor.ancestors.x: empty"]);
        }
    }

    #[test]
    fn required_fields_and_severities() {
        let mut document = telemetry();
        document["event"]["kind"] = json!("alert");
        document["event"]["severity"] = json!(50);
        let violations = check(&document);
        assert!(violations.contains(&"rule.id: missing".to_owned()), "{violations:?}");
        assert!(violations.contains(&"event.severity: 50 is none of [21, 47, 73, 99]".to_owned()), "{violations:?}");
        assert!(check(&json!({})).len() >= REQUIRED.len());
        assert_eq!(check(&json!([])), ["not a JSON object"]);
    }
}
