//! What the daemon wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::host::wait_for;

pub(crate) const FOLDER: &str = "/var/log/lkm-monitor";

/// All documents of the default sink, in order. It has each at least once: what comes again is known by its id.
pub(crate) fn all() -> Vec<Value> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    // Files that were renamed have the time in their names, and the one that is written to has none: it is the last.
    files.sort_by_key(|path| (path.ends_with("events.ndjson"), path.clone()));
    let mut ids = BTreeSet::new();
    let is_new = |document: &Value| ids.insert(document["event"]["id"].to_string());
    files.iter().flat_map(|path| of_file(path)).filter(is_new).collect()
}

/// The documents of one file, without its header.
pub(crate) fn of_file(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut lines = whole.lines().map(parse);
    let header = lines.next();
    assert!(header.is_none_or(|header| action(&header) == "log-file-started"), "{} has no header", path.display());
    lines.collect()
}

pub(crate) fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The first document that `is_wanted`, when it has come.
pub(crate) fn wait_for_one(what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || all().into_iter().find(&is_wanted))
}

pub(crate) fn action(document: &Value) -> &str {
    document["event"]["action"].as_str().unwrap_or_default()
}

/// The module of an alert on a load.
pub(crate) fn loaded_module(document: &Value) -> Option<&str> {
    (action(document) == "loaded-kernel-module").then(|| document["lkm_monitor"]["module"]["name"].as_str()).flatten()
}

/// Ids of the rules that an alert names.
pub(crate) fn findings(document: &Value) -> Vec<&str> {
    let findings = document["lkm_monitor"]["findings"].as_array().map_or(&[][..], Vec::as_slice);
    findings.iter().filter_map(|finding| finding["id"].as_str()).collect()
}

/// Documents by run, in the order in which the runs began.
fn runs(documents: &[Value]) -> Vec<Vec<&Value>> {
    let mut places = BTreeMap::new();
    let mut runs: Vec<Vec<&Value>> = Vec::new();
    for document in documents {
        let run = document["agent"]["ephemeral_id"].as_str().expect("each document names its run");
        let place = *places.entry(run).or_insert(runs.len());
        if place == runs.len() {
            runs.push(Vec::new());
        }
        runs[place].push(document);
    }
    runs
}

fn number(document: &Value) -> u64 {
    document["event"]["sequence"].as_u64().expect("each document has a number")
}

/// Whether documents came in the order of their numbers, each once. What lay in the spool's file when that could no more be written comes
/// when it can be again.
fn is_in_order(run: &[&Value]) -> bool {
    let failed = run.iter().find(|document| action(document) == "spool-failed").map_or(0, |failed| number(failed));
    let mut highest = 0;
    let (in_time, late): (Vec<u64>, Vec<u64>) = run.iter().map(|document| number(document)).partition(|number| {
        let is_in_time = *number >= highest;
        highest = highest.max(*number);
        is_in_time
    });
    let is_ascending = |numbers: &[u64]| numbers.is_sorted_by(|before, after| before < after);
    is_ascending(&in_time)
        && is_ascending(&late)
        && late.iter().all(|number| *number < failed && !in_time.contains(number))
}

/// Runs that are not in order, or lack more documents than the losses come to that they tell of. What a run had not yet made durable when
/// it was killed is missing at its end, and is no gap. What was given up is told once for each sink that missed it: losses may come to
/// more.
pub(crate) fn gaps(documents: &[Value]) -> Vec<String> {
    let mut gaps = Vec::new();
    for run in runs(documents) {
        let numbers: Vec<u64> = run.iter().map(|document| number(document)).collect();
        let is_in_order = is_in_order(&run);
        let highest = numbers.iter().max().copied().unwrap_or_default();
        let missing = highest.saturating_sub(numbers.len() as u64);
        let explained: u64 = run.iter().map(|document| lost_documents(document)).sum();
        if !is_in_order || missing > explained {
            let name = &run[0]["agent"]["ephemeral_id"];
            gaps.push(format!("run {name}: {missing} missing, {explained} told as lost: {numbers:?}"));
        }
    }
    gaps
}

/// How many documents this one tells of that had a number and did not come. Other losses are of events that never became documents; a loss
/// by damage has no number, and explains none.
fn lost_documents(document: &Value) -> u64 {
    const OF_DOCUMENTS: [&str; 4] = ["output_full", "spool_evicted", "spool_error", "dead_lettered"];
    let loss = &document["lkm_monitor"]["loss"];
    let is_of_documents = loss["reason"].as_str().is_some_and(|reason| OF_DOCUMENTS.contains(&reason));
    loss["count"].as_u64().filter(|_| is_of_documents).unwrap_or_default()
}

/// How many runs there were, and how many of them did not tell their end.
pub(crate) fn runs_and_killed_ones(documents: &[Value]) -> (usize, usize) {
    let runs = runs(documents);
    let told = |run: &&Vec<&Value>| run.last().is_some_and(|last| action(last) == "sensor-stopped");
    let whole = runs.iter().filter(told).count();
    (runs.len(), runs.len() - whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(run: &str, number: u64, action: &str) -> Value {
        json!({ "agent": { "ephemeral_id": run }, "event": { "sequence": number, "action": action } })
    }

    fn loss(run: &str, number: u64, reason: &str, count: u64) -> Value {
        let mut document = document(run, number, "lost-events");
        document["lkm_monitor"] = json!({ "loss": { "reason": reason, "count": count } });
        document
    }

    #[test]
    fn runs_are_in_order_and_begin_with_one() {
        let whole = [document("a", 1, "x"), document("b", 1, "x"), document("a", 2, "x")];
        assert!(gaps(&whole).is_empty());
        assert_eq!(gaps(&[document("a", 1, "x"), document("a", 3, "x")]).len(), 1);
        assert_eq!(gaps(&[document("a", 2, "x")]).len(), 1, "the first one is missing");
        let lost = |number| loss("a", number, "output_full", 9);
        assert_eq!(gaps(&[lost(2), document("a", 1, "x")]).len(), 1, "order");
        assert_eq!(gaps(&[lost(1), document("a", 1, "x")]).len(), 1, "twice");
    }

    #[test]
    fn what_lay_in_the_file_of_a_spool_that_failed_may_come_late() {
        let late = |number| [document("a", 1, "x"), document("a", 3, "spool-failed"), document("a", number, "x")];
        assert!(gaps(&late(2)).is_empty());
        assert_eq!(gaps(&late(1)).len(), 1, "twice");
        let after = [document("a", 5, "x"), document("a", 4, "x")];
        assert_eq!(gaps(&[late(2).as_slice(), &after].concat()).len(), 1, "it was not there before the spool failed");
    }

    #[test]
    fn a_gap_is_found_unless_losses_of_its_run_explain_all_of_it() {
        let with = |losses: &[Value]| gaps(&[&[document("a", 1, "x"), document("a", 4, "x")], losses].concat()).len();
        assert_eq!(with(&[loss("a", 5, "spool_evicted", 1)]), 1, "one of two");
        assert_eq!(with(&[loss("a", 5, "spool_evicted", 1), loss("a", 6, "dead_lettered", 1)]), 0);
        assert_eq!(with(&[loss("a", 5, "spool_error", 2)]), 0);
        assert_eq!(with(&[loss("b", 1, "output_full", 2)]), 1, "of another run");
        assert_eq!(with(&[loss("a", 5, "ring_full", 2)]), 1, "of events that were no documents");
        let mut damage = loss("a", 5, "torn_record", 0);
        damage["lkm_monitor"]["loss"]["count"].take();
        assert_eq!(with(&[damage]), 1, "nobody knows how many");
    }

    #[test]
    fn a_run_that_was_killed_tells_no_end() {
        let documents = [document("a", 1, "x"), document("a", 2, "sensor-stopped"), document("b", 1, "x")];
        assert_eq!(runs_and_killed_ones(&documents), (2, 1));
    }
}
