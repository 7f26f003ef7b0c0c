//! What is another in other settings, and whether the daemon can follow while it runs.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::load::Effective;
use crate::model::SettingChange;

/// What holds in a run, by key: what it was started with, and what was read anew since and could be followed.
#[derive(Clone, Debug)]
pub struct InForce(BTreeMap<String, String>);

impl InForce {
    /// What a run is started with.
    pub fn of(started: &Effective) -> Self {
        Self(started.values())
    }

    /// Takes in what holds as soon as it is read anew. All else stays as it was started, and is a change again at the next reload. Gives
    /// everything that is another in what was `read`.
    pub fn follow(&mut self, read: &Effective) -> Vec<SettingChange> {
        let changes = changes(&self.0, read.values());
        for SettingChange { key, after, .. } in changes.iter().filter(|change| change.in_place) {
            match after {
                Some(after) => drop(self.0.insert(key.clone(), after.clone())),
                None => drop(self.0.remove(key)),
            }
        }
        changes
    }

    /// The sha256 of all keys and values, whatever files they come from, in hexadecimal digits. Of secrets the names of their files count.
    pub fn sha256(&self) -> String {
        let lines: String = self.0.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
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

/// What is another, by key.
fn changes(before: &BTreeMap<String, String>, mut after: BTreeMap<String, String>) -> Vec<SettingChange> {
    let mut changes = Vec::new();
    for (key, before) in before {
        let after = after.remove(key);
        if after.as_ref() != Some(before) {
            changes.push(change(key.clone(), Some(before.clone()), after));
        }
    }
    changes.extend(after.into_iter().map(|(key, after)| change(key, None, Some(after))));
    changes.sort_by(|one, other| one.key.cmp(&other.key));
    changes
}

fn change(key: String, before: Option<String>, after: Option<String>) -> SettingChange {
    SettingChange { in_place: is_in_place(&key), key, before, after }
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
