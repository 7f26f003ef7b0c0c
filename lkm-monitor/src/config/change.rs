//! What is another in other settings, and whether the daemon can follow while it runs.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::load::Effective;
use crate::model::SettingChange;

/// What holds in a run, by key: what it was started with, and what was read anew since and could be followed.
#[derive(Clone, Debug)]
pub struct InForce(BTreeMap<String, Value>);

/// Of a sink's address the path is not shown, and is compared all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    is: String,
    shown: String,
}

impl InForce {
    /// What a run is started with.
    pub fn of(started: &Effective) -> Self {
        let mut shown = started.shown_values();
        let both = |(key, is)| {
            let shown = shown.remove(&key).unwrap_or_default();
            (key, Value { is, shown })
        };
        Self(started.values().into_iter().map(both).collect())
    }

    /// Takes in what holds as soon as it is read anew. All else stays as it was started, and is a change again at the next reload. Gives
    /// everything that is another in what was `read`.
    pub fn follow(&mut self, read: &Effective) -> Vec<SettingChange> {
        let Self(mut new) = Self::of(read);
        let keys: BTreeSet<String> = self.0.keys().chain(new.keys()).cloned().collect();
        let mut changes = Vec::new();
        for key in keys {
            let (before, after) = (self.0.get(&key), new.remove(&key));
            if before == after.as_ref() {
                continue;
            }
            let shown = |value: Option<&Value>| value.map(|value| value.shown.clone());
            let (before, in_place) = (shown(before), is_in_place(&key));
            changes.push(SettingChange { key: key.clone(), before, after: shown(after.as_ref()), in_place });
            match after {
                Some(after) if in_place => drop(self.0.insert(key, after)),
                None if in_place => drop(self.0.remove(&key)),
                _ => {}
            }
        }
        changes
    }

    /// The sha256 of all keys and values, whatever files they come from, in hexadecimal digits. Of secrets the names of their files count.
    pub fn sha256(&self) -> String {
        let lines: String = self.0.iter().map(|(key, value)| format!("{key} = {}\n", value.is)).collect();
        Sha256::digest(lines).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What holds as soon as it is read anew: all of `[files]` and of the sinks, the spool's bounds, and what makes a group rare, whatever it is
/// made of.
fn is_in_place(key: &str) -> bool {
    let threshold = || {
        let (kind, name) = key.strip_prefix("rarity.")?.split_once('.')?;
        Some(["files", "tools", "modules"].contains(&kind) && name != "keys")
    };
    let is_way_out = key.starts_with("sinks.") || (key.starts_with("spool.") && key != "spool.path");
    key.starts_with("files.") || is_way_out || threshold().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::Node;

    fn effective(text: &str) -> Effective {
        Effective::of(Node::parse(text, None).unwrap())
    }

    fn changes(before: &Effective, after: &Effective) -> Vec<SettingChange> {
        InForce::of(before).follow(after)
    }

    #[test]
    fn keys_that_changed_are_named_and_no_others() {
        let before =
            effective("[files]\nwatch_defaults = false\n[rarity]\nwindow_days = 7\n[rarity.tools]\nmax_count = 2\n");
        let after = effective(
            "[[files.watch]]\npath = \"/a/b\"\nkind = \"pam\"\n[rarity]\nwindow_days = 8\n[rarity.tools]\nmax_count = 2\n\
             keys = [\"args\"]\n[sensor]\nsyscall_hooks = \"auto\"\n",
        );
        let changes = changes(&before, &after);
        let said: Vec<_> = changes
            .iter()
            .map(|SettingChange { key, before, after, in_place }| {
                format!("{key} {} {} {in_place}", before.as_deref().unwrap_or("-"), after.as_deref().unwrap_or("-"))
            })
            .collect();
        assert_eq!(
            said,
            [
                "files.watch - [{ kind = \"pam\", path = \"/a/b\" }] true",
                "files.watch_defaults false true true",
                "rarity.tools.keys [\"args\", \"args_count\"] [\"args\"] false",
                "rarity.window_days 7 8 false",
            ]
        );
        assert_eq!(self::changes(&before, &before), []);
    }

    #[test]
    fn a_sink_without_keys_is_a_change_and_ends_the_default_one() {
        let changes = changes(&effective(""), &effective("[sinks.a.journald]\n"));
        let said: Vec<_> = changes
            .iter()
            .map(|change| (change.key.as_str(), change.before.as_deref(), change.after.as_deref(), change.in_place))
            .collect();
        assert_eq!(said, [("sinks.a.journald", None, Some("{}"), true), ("sinks.file.file", Some("{}"), None, true)]);
    }

    #[test]
    fn the_documentation_says_of_every_section_when_it_holds() {
        let page = include_str!("../../../docs/configuration.md");
        let (_, reload) = page.split_once("\n## Reload\n").unwrap();
        let (reload, _) = reload.split_once("\n## ").unwrap();
        for key in effective("").values().keys() {
            let section = key.split_once('.').map_or(key.as_str(), |(section, _)| section);
            assert!(reload.contains(&format!("`{section}.")), "{section}");
        }
    }

    #[test]
    fn the_path_of_an_address_is_a_change_that_is_not_shown() {
        let with = |path: &str| {
            effective(&format!(
                "[sinks.a.webhook]\nurl = \"https://a/{path}\"\n[sinks.b.splunk]\nendpoints = [\"https://b:1/{path}\"]\n"
            ))
        };
        let (before, after) = (with("hush"), with("husher"));
        let changes = changes(&before, &after);
        let shown = |change: &SettingChange| (change.key.clone(), change.after.clone().unwrap());
        assert_eq!(
            changes.iter().map(shown).collect::<Vec<_>>(),
            [
                ("sinks.a.webhook.url".to_owned(), "\"https://a/...\"".to_owned()),
                ("sinks.b.splunk.endpoints".to_owned(), "[\"https://b:1/...\"]".to_owned()),
            ]
        );
        assert!(!format!("{changes:?}{}", after.to_toml()).contains("hush"));
        assert_ne!(InForce::of(&before).sha256(), InForce::of(&after).sha256());
    }

    #[test]
    fn the_hash_is_that_of_what_holds() {
        let sha256 = |text| InForce::of(&effective(text)).sha256();
        let said_twice = sha256("[rarity]\nwindow_days = 30\n");
        assert_eq!(said_twice, sha256(""));
        assert_ne!(said_twice, sha256("[rarity]\nwindow_days = 31\n"));
        assert_eq!(said_twice.len(), 64);
    }

    /// The daemon goes on with what it was started with: the next reload must not take that for the file's.
    #[test]
    fn what_needs_a_restart_stays_a_change_until_then() {
        let started = effective("");
        let edited = effective("[files]\nwatch_defaults = false\n[heartbeat]\ninterval_s = 7\n");
        let mut in_force = InForce::of(&started);
        let keys = |changes: Vec<SettingChange>| changes.into_iter().map(|change| change.key).collect::<Vec<_>>();
        assert_eq!(keys(in_force.follow(&edited)), ["files.watch_defaults", "heartbeat.interval_s"]);
        assert_eq!(in_force.sha256(), InForce::of(&effective("[files]\nwatch_defaults = false\n")).sha256());
        assert_eq!(keys(in_force.follow(&edited)), ["heartbeat.interval_s"], "it still does not hold");
        assert_eq!(keys(in_force.follow(&started)), ["files.watch_defaults"], "it never did");
        assert_eq!(in_force.sha256(), InForce::of(&started).sha256());
    }
}
