//! What is said of metrics elsewhere: the documentation, alerts for Prometheus, the dashboard for Grafana.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::*;

/// What Prometheus adds to what it fetches.
const ADDED: [&str; 2] = ["job", "instance"];

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// A metric in a query, with what its labels must be.
#[derive(Debug, PartialEq, Eq)]
struct Selector {
    name: String,
    /// Label and value; of a regular expression each of its alternatives.
    labels: Vec<(String, String)>,
}

/// All metrics in an expression of PromQL: names with an underscore or braces, and `up`, as far as these files make use of the language.
fn selectors(query: &str) -> Vec<Selector> {
    let mut selectors = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic() || "\"$".contains(letter)) {
        rest = &rest[start..];
        if let Some(variable) = rest.strip_prefix('$') {
            rest = variable.trim_start_matches(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
            continue;
        }
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end.max(1));
        rest = after;
        let matchers = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        if matchers.is_none() && (!name.starts_with("lkm_monitor_") && !name.starts_with("process_")) {
            continue;
        }
        let (matchers, after) = matchers.unwrap_or(("", after));
        rest = after;
        let labels = matchers.split(',').filter(|matcher| !matcher.is_empty()).flat_map(|matcher| {
            let (label, value) = matcher.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim_matches('"');
            value.split('|').map(|value| (label.to_owned(), value.to_owned())).collect::<Vec<_>>()
        });
        selectors.push(Selector { name: name.to_owned(), labels: labels.collect() });
    }
    selectors
}

/// The labels by which an expression sums up.
fn grouped_by(query: &str) -> BTreeSet<&str> {
    let groups = query.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
    groups.flat_map(|(labels, _)| labels.split(',').map(str::trim)).collect()
}

/// Panics where a query asks for what the daemon does not serve. The labels that its result may have.
fn assert_served(page: &Exposition, query: &str) -> BTreeSet<String> {
    let selectors = selectors(query);
    assert!(!selectors.is_empty(), "no metric in {query}");
    let mut known: BTreeSet<String> = ADDED.map(str::to_owned).into();
    for Selector { name, labels } in selectors.iter().filter(|selector| selector.name != "up") {
        assert!(page.names().contains(name.as_str()), "{name} in {query} is not served");
        known.extend(page.labels(name).into_iter().map(str::to_owned));
        for (label, value) in labels.iter().filter(|(label, _)| !ADDED.contains(&label.as_str())) {
            let is_served = page.rows(name).keys().any(|labels| labels.get(label) == Some(value));
            assert!(is_served, "{name} has no {label}={value}: {query}");
        }
    }
    let groups = grouped_by(query);
    assert!(groups.iter().all(|label| known.contains(*label)), "{groups:?} of {query} are not served: {known:?}");
    if groups.is_empty() { known } else { groups.into_iter().map(str::to_owned).collect() }
}

fn page() -> Exposition {
    read(snapshot("do_init_module", "siem"), Format::OpenMetrics)
}

#[test]
fn what_is_asked_for_is_found_in_queries() {
    let found = selectors(
        "sum by (a) (rate(lkm_monitor_x_total{a=~\"b|c\",job=\"d\"}[$__rate_interval])) / lkm_monitor_y > 0.8",
    );
    let labels = [("a", "b"), ("a", "c"), ("job", "d")].map(|(label, value)| (label.to_owned(), value.to_owned()));
    let x = Selector { name: "lkm_monitor_x_total".to_owned(), labels: labels.into() };
    assert_eq!(found, [x, Selector { name: "lkm_monitor_y".to_owned(), labels: Vec::new() }]);
    assert_eq!(grouped_by("sum by (a, b) (c)"), ["a", "b"].into());
}

#[test]
fn alerts_ask_for_what_is_served() {
    let (page, rules) = (page(), text("dist/prometheus/alerts.yml"));
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 5, "{rules}");
    for alert in alerts {
        let line = |key: &str| {
            alert.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_else(|| panic!("{key} {alert}"))
        };
        let labels = assert_served(&page, line("expr: "));
        for used in alert.split("$labels.").skip(1) {
            let used = used.split(' ').next().unwrap();
            assert!(labels.contains(used), "{used} is not known of {alert}");
        }
    }
}

/// All values of a key, wherever it is.
fn all<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            if name == key {
                found.push(value);
            }
            all(value, key, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_is_served() {
    let page = page();
    let dashboard: Value = serde_json::from_str(&text("dist/grafana/lkm-monitor.json")).unwrap();
    let mut queries = Vec::new();
    all(&dashboard, "targets", &mut queries);
    let targets: Vec<_> = queries.into_iter().flat_map(|targets| targets.as_array().unwrap()).collect();
    assert!(targets.len() >= 20);
    for target in targets {
        let labels = assert_served(&page, target["expr"].as_str().unwrap());
        for used in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
            let used = used.split("}}").next().unwrap();
            assert!(labels.contains(used), "{used} is not known of {target}");
        }
    }
    let mut ids: Vec<_> = dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each panel has its number");
    let mut annotations = Vec::new();
    all(&dashboard["annotations"], "expr", &mut annotations);
    annotations.iter().for_each(|query| drop(assert_served(&page, query.as_str().unwrap())));
    let variable = dashboard.pointer("/templating/list/1/query/query").and_then(Value::as_str).unwrap();
    assert_served(&page, variable);
}

#[test]
fn the_documentation_lists_all_with_their_labels() {
    let documentation = text("docs/operations.md");
    let marked = |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').collect();
        let names = marked(cells.get(1)?);
        let is_metric = names.iter().any(|name| name.starts_with("lkm_monitor_") || name.starts_with("process_"));
        is_metric.then(|| names.into_iter().map(|name| (name, marked(cells[2]))).collect::<Vec<_>>())
    };
    let listed: BTreeMap<_, _> = documentation.lines().filter_map(row).flatten().collect();
    let page = page();
    let family =
        |name: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end).map(str::to_owned));
    let served: BTreeMap<_, BTreeSet<_>> = page
        .names()
        .into_iter()
        .map(|name| {
            let labels = page.labels(name).into_iter().filter(|label| *label != "le").map(str::to_owned);
            (family(name).unwrap_or_else(|| name.to_owned()), labels.collect())
        })
        .collect();
    assert_eq!(listed, served);
    // What documents become, by name.
    for labels in page.rows("lkm_monitor_documents_total").keys() {
        let row = documentation.lines().find(|line| {
            line.starts_with(&format!("| {}: ", labels["stage"]))
                && line.split([' ', ',', ';']).any(|word| word == labels["reason"])
        });
        assert!(row.is_some(), "{labels:?}");
    }
}
