//! What is another in other settings, and whether the daemon can follow while it runs.

use super::load::Effective;
use crate::model::SettingChange;

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
pub fn changes(before: &Effective, after: &Effective) -> Vec<SettingChange> {
    let (before, mut after) = (before.values(), after.values());
    let mut changes = Vec::new();
    for (key, before) in before {
        let after = after.remove(&key);
        if after.as_ref() != Some(&before) {
            changes.push(change(key, Some(before), after));
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
        assert_eq!(super::changes(&before, &before), []);
    }

    #[test]
    fn a_sink_without_keys_is_a_change() {
        let changes = changes(&effective(""), &effective("[sinks.a.journald]\n"));
        let said: Vec<_> = changes.iter().map(|change| (change.key.as_str(), change.after.as_deref())).collect();
        assert_eq!(said, [("sinks.a.journald", Some("{}"))]);
    }

    #[test]
    fn the_hash_is_that_of_what_holds() {
        let said_twice = effective("[rarity]\nwindow_days = 30\n");
        assert_eq!(said_twice.sha256(), Effective::of(Node::default()).sha256());
        assert_ne!(said_twice.sha256(), effective("[rarity]\nwindow_days = 31\n").sha256());
    }
}
