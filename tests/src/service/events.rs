//! What the daemon wrote.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::host::wait_for;

pub(crate) const FILE: &str = "/var/log/lkm-monitor/events.ndjson";

/// All documents, in order. Another kind of line, such as the file's header, has no `event`.
pub(crate) fn all() -> Vec<Value> {
    let text = fs::read_to_string(FILE).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.lines().map(parse).filter(|document: &Value| document["event"].is_object()).collect()
}

/// The first document that `is_wanted`, when it has come.
pub(crate) fn wait_for_one(what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || all().into_iter().find(&is_wanted))
}

/// The alert on a load of this module.
pub(crate) fn is_load_of(document: &Value, module: &str) -> bool {
    document["event"]["action"] == "loaded-kernel-module" && document["lkm_monitor"]["module"]["name"] == module
}

/// Ids of the rules that an alert names.
pub(crate) fn findings(document: &Value) -> Vec<&str> {
    let findings = document["lkm_monitor"]["findings"].as_array().map_or(&[][..], Vec::as_slice);
    findings.iter().filter_map(|finding| finding["id"].as_str()).collect()
}

/// Numbers that are missing between the documents of each run, and are not explained by a loss that the run tells of.
pub(crate) fn gaps(documents: &[Value]) -> Vec<String> {
    let mut runs: BTreeMap<&str, (Vec<u64>, bool)> = BTreeMap::new();
    for document in documents {
        let run = document["agent"]["ephemeral_id"].as_str().expect("each document names its run");
        let (numbers, lost) = runs.entry(run).or_default();
        numbers.push(document["event"]["sequence"].as_u64().expect("each document has a number"));
        *lost |= document["event"]["action"] == "lost-events";
    }
    let unexplained = runs.into_iter().filter(|(_, (numbers, lost))| {
        let follow = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        !(numbers[0] == 1 && follow) && !lost
    });
    unexplained.map(|(run, (numbers, _))| format!("run {run}: {numbers:?}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(run: &str, number: u64, action: &str) -> Value {
        json!({ "agent": { "ephemeral_id": run }, "event": { "sequence": number, "action": action } })
    }

    #[test]
    fn a_gap_is_found_unless_a_loss_explains_it() {
        let whole = [document("a", 1, "x"), document("b", 1, "x"), document("a", 2, "x")];
        assert!(gaps(&whole).is_empty());
        assert_eq!(gaps(&[document("a", 1, "x"), document("a", 3, "x")]).len(), 1);
        assert_eq!(gaps(&[document("a", 2, "x")]).len(), 1, "the first one is missing");
        assert_eq!(gaps(&[document("a", 2, "x"), document("a", 1, "x")]).len(), 1, "order");
        assert!(gaps(&[document("a", 1, "x"), document("a", 3, "lost-events")]).is_empty());
    }
}
