//! What became of new settings.

use super::json::{Value, json};
use crate::model::{Reload, ReloadOutcome, SettingChange, text::readable};

/// The document of settings that were read anew.
pub(super) fn render(reload: &Reload) -> Value<'_> {
    let Reload { sha256_before, outcome, .. } = reload;
    let (message, kind, success, configuration) = match outcome {
        ReloadOutcome::Reloaded { sha256, changes } => {
            let restart = changes.iter().filter(|change| !change.in_place).map(|change| &change.key);
            let configuration = json!({
                "sha256_before": sha256_before,
                "sha256": sha256,
                "changes": changes.iter().map(change).collect::<Vec<_>>(),
                "restart_needed": restart.map(|key| readable(key.as_bytes())).collect::<Vec<_>>(),
            });
            ("Configuration reloaded", "change", "success", configuration)
        }
        ReloadOutcome::Rejected { problems } => {
            let configuration = json!({
                "sha256": sha256_before,
                "problems": problems.iter().map(|problem| readable(problem.as_bytes())).collect::<Vec<_>>(),
            });
            ("Configuration rejected", "info", "failure", configuration)
        }
    };
    json!({
        "message": message,
        "event": {
            "kind": "state",
            "category": ["configuration"],
            "type": [kind],
            "action": outcome.action(),
            "outcome": success,
            "provider": "lkm-monitor",
        },
        "lkm_monitor": { "configuration": configuration },
    })
}

fn change<'a>(SettingChange { key, before, after, in_place }: &'a SettingChange) -> Value<'a> {
    let shown = |value: &'a Option<String>| value.as_ref().map(|value| readable(value.as_bytes()));
    json!({
        "key": readable(key.as_bytes()),
        "before": shown(before),
        "after": shown(after),
        "in_place": *in_place,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rendered(outcome: ReloadOutcome) -> Value {
        let mut json = Vec::new();
        render(&Reload { boot_ns: 1, sha256_before: "a".to_owned(), outcome }).write(&mut json);
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let change = |key: &str, in_place| SettingChange {
            key: key.to_owned(),
            before: None,
            after: Some("[\"\u{1b}\"]".to_owned()),
            in_place,
        };
        let changes = vec![change("files.exclude", true), change("rarity.path", false)];
        let document = rendered(ReloadOutcome::Reloaded { sha256: "b".to_owned(), changes });
        let configuration = &document["lkm_monitor"]["configuration"];
        assert_eq!(configuration["restart_needed"], json!(["rarity.path"]));
        assert_eq!((&configuration["sha256_before"], &configuration["sha256"]), (&json!("a"), &json!("b")));
        assert_eq!(configuration["changes"][0]["after"], "[\"\\x1b\"]");
        assert_eq!(document["event"]["outcome"], "success");
    }

    #[test]
    fn settings_that_are_rejected_leave_the_old_ones() {
        let document = rendered(ReloadOutcome::Rejected { problems: vec!["a.toml:1: wrong".to_owned()] });
        let configuration = &document["lkm_monitor"]["configuration"];
        assert_eq!(*configuration, json!({ "sha256": "a", "problems": ["a.toml:1: wrong"] }));
        assert_eq!(
            (&document["event"]["action"], &document["event"]["outcome"]),
            (&json!("configuration-rejected"), &json!("failure"))
        );
    }
}
