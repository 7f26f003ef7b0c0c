//! JSON values as documents need them.

use serde_json::Value;

/// A number that fits the type `long` of Elasticsearch, which refuses a whole document for one that does not. Sizes and
/// lengths can be anything that a caller claims.
pub(super) fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Puts the members of `added` into `into`, level by level; what both have, `added` replaces.
pub(super) fn merge(into: &mut Value, added: Value) {
    match (into, added) {
        (Value::Object(into), Value::Object(added)) => {
            for (key, value) in added {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, added) => *into = added,
    }
}

/// Removes members that are null or empty, since ECS knows no empty values. Elements of arrays stay: an empty argument is
/// an argument.
pub(super) fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !is_empty(member));
        }
        Value::Array(elements) => elements.iter_mut().for_each(prune),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_levels() {
        let mut value = json!({ "event": { "id": "1", "kind": "event" } });
        merge(&mut value, json!({ "event": { "kind": "alert" }, "rule": { "id": "x" } }));
        assert_eq!(value, json!({ "event": { "id": "1", "kind": "alert" }, "rule": { "id": "x" } }));
    }

    #[test]
    fn prunes_empty_members_but_not_elements() {
        let mut value = json!({ "a": null, "b": { "c": "", "d": { "e": [] } }, "args": ["x", ""], "f": false, "g": 0 });
        prune(&mut value);
        assert_eq!(value, json!({ "args": ["x", ""], "f": false, "g": 0 }));
    }

    #[test]
    fn longs_fit() {
        assert_eq!(long(7), 7);
        assert_eq!(long(u64::MAX), i64::MAX);
    }
}
