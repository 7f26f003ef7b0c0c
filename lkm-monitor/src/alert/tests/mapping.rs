//! Whether Elasticsearch finds in documents what they say: the component templates in `dist/elastic` against what is rendered.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::Value;

const TEMPLATES: [&str; 2] = [
    include_str!("../../../../dist/elastic/component-template-ecs.json"),
    include_str!("../../../../dist/elastic/component-template-own.json"),
];

/// Types by field.
static MAPPING: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut types = HashMap::new();
    for template in TEMPLATES {
        let template: Value = serde_json::from_str(template).unwrap();
        collect("", &template["template"]["mappings"], &mut types);
    }
    types
});

fn collect(path: &str, mapping: &Value, types: &mut HashMap<String, String>) {
    if let Some(kind) = mapping["type"].as_str() {
        types.insert(path.to_owned(), kind.to_owned());
    }
    for (name, member) in mapping["properties"].as_object().into_iter().flatten() {
        collect(&below(path, name), member, types);
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Every value is mapped, as a type that takes it.
pub(super) fn assert_mapped(document: &Value) {
    assert_part("", document);
}

fn assert_part(path: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            assert!(!MAPPING.contains_key(path), "{path} is mapped as one value and holds an object");
            members.iter().for_each(|(name, member)| assert_part(&below(path, name), member));
        }
        Value::Array(elements) => elements.iter().for_each(|element| assert_part(path, element)),
        leaf => {
            let kind = MAPPING.get(path).unwrap_or_else(|| panic!("{path} is not mapped: {leaf}"));
            let fits = match kind.as_str() {
                "long" => leaf.is_i64(),
                "float" => leaf.is_number(),
                "boolean" => leaf.is_boolean(),
                "date" => leaf.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                "keyword" | "wildcard" | "match_only_text" | "constant_keyword" => leaf.is_string(),
                other => panic!("{path} is of type {other}"),
            };
            assert!(fits, "{path} is mapped as {kind}, and holds {leaf}");
        }
    }
}

#[test]
fn the_daemons_counters_are_mapped() {
    let names = crate::sensor::report::counters(&Default::default()).into_iter().map(|(name, _)| name);
    for name in names {
        assert_part(&format!("lkm_monitor.sensor.counters.{name}"), &7.into());
    }
}
