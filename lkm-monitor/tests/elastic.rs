//! The files in `dist/elastic` fit each other, the Elastic Common Schema, and the daemon.
//!
//! The bundle of saved objects is made here: `WRITE_BUNDLE=1 cargo test -p lkm-monitor --test elastic` writes it anew from the queries.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use lkm_monitor::{alert::DATASET, model::rarity::WINDOW_DAYS};
use serde_json::{Value, json};

const INDEX: &str = "logs-lkm_monitor.events-*";
const PIPELINE: &str = "lkm_monitor-events";
const ECS: &str = "component-template-ecs.json";
const OWN: &str = "component-template-own.json";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dist/elastic")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn parsed(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Types by field, of one component template or of both.
fn mapping(names: &[&str]) -> BTreeMap<String, String> {
    fn collect(path: &str, mapping: &Value, types: &mut BTreeMap<String, String>) {
        if let Some(kind) = mapping["type"].as_str() {
            types.insert(path.to_owned(), kind.to_owned());
        }
        for (name, member) in mapping["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            collect(&path, member, types);
        }
    }
    let mut types = BTreeMap::new();
    for name in names {
        collect("", &parsed(name)["template"]["mappings"], &mut types);
    }
    types
}

/// Types of the fields of ECS that a document may hold.
fn ecs() -> BTreeMap<&'static str, &'static str> {
    let lines = include_str!("../../tests/data/ecs-fields.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, rest)| (name, rest.split('\t').next().unwrap()))
        .collect()
}

fn queries() -> BTreeMap<String, String> {
    let names = fs::read_dir(folder().join("queries")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.map(|name| (name.strip_suffix(".esql").unwrap().to_owned(), text(&format!("queries/{name}")))).collect()
}

/// The commands of a query, without comments and without what stands in quotes.
fn commands(query: &str) -> String {
    let lines = query.lines().filter(|line| !line.starts_with("//"));
    lines.flat_map(|line| line.split('"').step_by(2)).collect::<Vec<_>>().join(" ")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_alphanumeric() || "_.@?".contains(letter))).filter(|word| !word.is_empty())
}

#[test]
fn templates_belong_together() {
    let template = parsed("index-template.json");
    assert_eq!(template["index_patterns"], json!([INDEX]));
    assert_eq!(INDEX, format!("logs-{DATASET}-*"));
    // Templates for logs in general have 100.
    assert!(template["priority"].as_u64().unwrap() > 100);
    let names = |field: &str| -> BTreeSet<String> {
        let names = template[field].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let may_be_missing = names("ignore_missing_component_templates");
    assert!(may_be_missing.is_subset(&names("composed_of")));
    for name in names("composed_of").difference(&may_be_missing) {
        let part = name.strip_prefix("lkm_monitor-").unwrap();
        parsed(&format!("component-template-{part}.json"));
        assert!(text("README.md").contains(&format!("_component_template/{name}")), "{name}");
    }
    assert_eq!(template["template"]["settings"]["index"]["default_pipeline"], PIPELINE);
    assert!(text("README.md").contains(&format!("_ingest/pipeline/{PIPELINE}")));
    let retention = template["template"]["lifecycle"]["data_retention"].as_str().unwrap();
    let days: i64 = retention.strip_suffix('d').unwrap().parse().unwrap();
    assert!(days > i64::from(WINDOW_DAYS));
    assert_eq!(parsed(OWN)["template"]["mappings"]["properties"]["lkm_monitor"]["dynamic"], false);
}

#[test]
fn fields_of_ecs_have_its_types() {
    let (ecs, mapping) = (ecs(), mapping(&[ECS]));
    // As a constant, the first document's namespace would refuse all others; no document of the daemon has an error.
    let exempt = ["data_stream.namespace", "error.message"];
    for (field, kind) in mapping.iter().filter(|(field, _)| !exempt.contains(&field.as_str())) {
        assert_eq!(ecs.get(field.as_str()), Some(&kind.as_str()), "{field}");
    }
}

#[test]
fn queries_name_fields_that_are_there() {
    let mapping = mapping(&[ECS, OWN]);
    let queries = queries();
    assert!(queries.len() >= 8);
    for (name, query) in &queries {
        let commands = commands(query);
        assert!(commands.starts_with(&format!("FROM {INDEX}")), "{name}");
        let rest = commands.replacen(INDEX, "", 1);
        let fields: Vec<_> = words(&rest).filter(|word| word.contains(['.', '@'])).collect();
        assert!(fields.len() > 3, "{name}");
        for field in fields {
            assert!(mapping.contains_key(field), "{name}: {field} is not mapped");
        }
        let minimum = "// Elasticsearch 8.19, or 9.1 and later.";
        assert!(query.lines().nth(1).is_some_and(|line| line.starts_with(minimum)), "{name}");
    }
}

/// Commands and functions that Elasticsearch 8.19 has.
const KNOWN: &str = "AND ASC BY COALESCE COUNT_DISTINCT DATE_DIFF DESC EVAL FROM IN IS KEEP LIKE LIMIT LOCATE MAX METADATA MIN \
                     MV_CONCAT NOT NOW NULL OR REPLACE SORT STATS SUM TO_DATETIME WHERE";

#[test]
fn queries_use_what_there_is() {
    let known: BTreeSet<_> = KNOWN.split_whitespace().collect();
    for (name, query) in queries() {
        let commands = commands(&query);
        for word in words(&commands).filter(|word| word.starts_with(char::is_uppercase)) {
            assert!(known.contains(word), "{name}: {word}");
        }
        for parameter in words(&commands).filter(|word| word.starts_with('?')) {
            assert!(query.lines().nth(1).unwrap().contains(parameter), "{name}: {parameter} is not explained");
        }
    }
}

#[test]
fn the_pipeline_is_sound() {
    let pipeline = parsed("ingest-pipeline.json");
    let mut fields: Vec<String> = mapping(&[ECS, OWN]).into_keys().collect();
    // What shippers have, and what is no field.
    fields.extend(["log", "file", "_id"].map(str::to_owned));
    let has = |field: &str| fields.iter().any(|known| known == field);
    let mut tags = BTreeSet::new();
    let mut written = Vec::new();
    for list in ["processors", "on_failure"] {
        for processor in pipeline[list].as_array().unwrap() {
            let [(kind, options)] = processor.as_object().unwrap().iter().collect::<Vec<_>>()[..] else {
                panic!("{processor}")
            };
            assert!(["set", "rename", "remove", "json", "join", "pipeline"].contains(&kind.as_str()), "{kind}");
            assert!(tags.insert(options["tag"].as_str().unwrap()), "{options}");
            for option in ["field", "target_field", "copy_from"] {
                assert!(options[option].as_str().is_none_or(has), "{options}");
            }
            let target = options["target_field"].as_str().or(options["field"].as_str());
            written.extend(target.map(|field| (list, field, options)));
            for path in words(options["if"].as_str().unwrap_or_default()).filter_map(|word| word.strip_prefix("ctx.")) {
                let path = path.replace('?', "").replace(".startsWith", "");
                let known = has(&path) || fields.iter().any(|field| field.starts_with(&format!("{path}.")));
                assert!(known, "{path} in {options}");
            }
        }
    }
    let of = |list: &str, field: &str| {
        let found: Vec<_> = written.iter().filter(|(of, named, _)| *of == list && *named == field).collect();
        let [(_, _, options)] = found[..] else { panic!("{field} in {list}") };
        (*options).clone()
    };
    assert!(written.iter().all(|(_, field, _)| *field != "event.id"), "it is the sensor's");
    for list in ["processors", "on_failure"] {
        let ingested = of(list, "event.ingested");
        assert_eq!(ingested["value"], "{{{_ingest.timestamp}}}");
        assert_eq!((ingested.get("if"), ingested.get("override")), (None, None));
    }
    let id = of("processors", "_id");
    assert_eq!(id["copy_from"], "event.id");
    assert!(id["if"].as_str().unwrap().starts_with("ctx._id == null && "), "the sender's own stays");
    assert!(of("on_failure", "error.message")["value"].as_str().unwrap().contains("_ingest.on_failure_message"));
    // An alert stays an alert, at its time.
    for field in ["event.kind", "@timestamp"] {
        assert_eq!(of("on_failure", field)["override"], false);
    }
    // Run again, it finds nothing left to unwrap.
    for processor in pipeline["processors"].as_array().unwrap() {
        for kind in ["rename", "remove", "json"] {
            let condition = processor[kind]["if"].as_str();
            assert!(processor.get(kind).is_none() || condition.unwrap().starts_with("ctx.event?.id == null && "));
        }
    }
}

/// Query, title, and place on the dashboard: left, top, width, height, of a width of 48.
const PANELS: [(&str, &str, [u32; 4]); 5] = [
    ("alerts-by-severity", "Alerts by severity", [0, 0, 24, 12]),
    ("losses-by-host", "Losses by host", [24, 0, 24, 12]),
    ("rare-module-files", "Rare module files", [0, 12, 48, 15]),
    ("rare-module-tool-runs", "Rare module tool runs", [0, 27, 48, 15]),
    ("rare-modules", "Rare modules", [0, 42, 48, 15]),
];

/// One line of the bundle. Kibana brings older versions up to date when it imports, and refuses those that are newer than its own.
fn saved(kind: &str, version: &str, id: &str, attributes: &Value, references: &[Value]) -> String {
    let object = json!({
        "type": kind,
        "id": format!("lkm-monitor-{id}"),
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": version,
        "managed": false,
    });
    format!("{object}\n")
}

fn session(name: &str, title: &str) -> String {
    let source = json!({
        "query": { "esql": text(&format!("queries/{name}.esql")).trim_end() },
        "index": {
            "title": INDEX,
            "name": INDEX,
            "timeFieldName": "@timestamp",
            "type": "esql",
            "sourceFilters": [],
            "fieldFormats": {},
            "runtimeFieldMap": {},
            "allowNoIndex": false,
            "allowHidden": false,
        },
        "filter": [],
    });
    let attributes = json!({
        "title": format!("lkm-monitor: {title}"),
        "description": "",
        "columns": [],
        "sort": [],
        "grid": {},
        "hideChart": true,
        "isTextBasedQuery": true,
        "usesAdHocDataView": true,
        "timeRestore": true,
        "timeRange": { "from": format!("now-{WINDOW_DAYS}d"), "to": "now" },
        "kibanaSavedObjectMeta": { "searchSourceJSON": source.to_string() },
    });
    saved("search", "10.2.0", name, &attributes, &[])
}

fn dashboard() -> String {
    let panel = |(number, (_, title, [x, y, w, h])): (usize, &(&str, &str, [u32; 4]))| {
        let index = number.to_string();
        json!({
            "type": "search",
            "title": title,
            "panelIndex": index,
            "panelRefName": format!("panel_{index}"),
            "gridData": { "x": x, "y": y, "w": w, "h": h, "i": index },
            "embeddableConfig": {},
        })
    };
    let reference = |(number, (name, ..)): (usize, &(&str, &str, [u32; 4]))| json!({ "name": format!("{number}:panel_{number}"), "type": "search", "id": format!("lkm-monitor-{name}") });
    let panels: Vec<_> = PANELS.iter().enumerate().map(panel).collect();
    let references: Vec<_> = PANELS.iter().enumerate().map(reference).collect();
    let attributes = json!({
        "title": "lkm-monitor",
        "description": "What is rare among the kernel modules of all hosts, the alerts, and what was lost.",
        "panelsJSON": json!(panels).to_string(),
        "optionsJSON": json!({ "useMargins": true, "hidePanelTitles": false }).to_string(),
        "timeRestore": true,
        "timeFrom": format!("now-{WINDOW_DAYS}d"),
        "timeTo": "now",
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json!({ "query": { "query": "", "language": "kuery" }, "filter": [] }).to_string(),
        },
    });
    saved("dashboard", "10.2.0", "dashboard", &attributes, &references)
}

fn bundle() -> String {
    let view = json!({ "title": INDEX, "name": "lkm-monitor", "timeFieldName": "@timestamp" });
    let mut bundle = saved("index-pattern", "8.0.0", "events", &view, &[]);
    PANELS.iter().for_each(|(name, title, _)| bundle.push_str(&session(name, title)));
    bundle + &dashboard()
}

#[test]
fn the_bundle_holds_the_queries_as_they_are() {
    let path = folder().join("saved-objects.ndjson");
    if std::env::var_os("WRITE_BUNDLE").is_some() {
        fs::write(&path, bundle()).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == bundle(), "the queries have changed: write the bundle anew");
}
