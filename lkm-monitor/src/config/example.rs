//! The configuration file with every setting and its default.
//!
//! What is said of a setting is said there, and in `config default`. Tests hold it to the structs.

use super::tree::Node;

/// See the module. A line that begins with `#` and a key is a setting with its default; one with three spaces between is an example.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// The defaults by their keys. What has no default is not among them.
pub(super) fn defaults() -> Node {
    // A test shows that it can be read.
    Node::parse(&uncommented(&[]), None).unwrap_or_default()
}

/// The sink that there is where none is set, as [`super::Config::plans`] makes it.
pub(super) fn default_sink() -> Node {
    // A test shows that it can be read.
    Node::parse("[sinks.file.file]\n", None).unwrap_or_default()
}

/// The file with its settings in force; and its lines that begin so, too.
fn uncommented(more: &[&str]) -> String {
    let line = |line: &'static str| {
        let setting =
            || line.strip_prefix('#').filter(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()));
        let example = || more.iter().find_map(|start| line.strip_prefix(start));
        setting().or_else(example).unwrap_or(line)
    };
    DEFAULT_FILE.lines().map(|text| line(text).to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Deserialize as _;

    use super::*;
    use crate::{
        config::{Config, RarityConfig, key::Key, tree::Value},
        prevalence::Thresholds,
    };

    const EXAMPLES: [&str; 1] = ["#   "];

    fn config(text: &str) -> Config {
        Config::deserialize(&Node::parse(text, None).unwrap()).unwrap()
    }

    #[test]
    fn the_documentation_has_all_of_it() {
        let documentation = include_str!("../../../docs/configuration.md");
        let block = format!("```toml\n{DEFAULT_FILE}```\n");
        assert!(documentation.contains(&block), "copy the output of `config default` to docs/configuration.md");
    }

    #[test]
    fn as_it_is_it_sets_nothing() {
        assert_eq!(config(DEFAULT_FILE), Config::default());
        let values = Node::parse(DEFAULT_FILE, None).unwrap().values();
        assert!(values.values().all(|value| value == "{}"), "sections alone: {values:?}");
    }

    #[test]
    fn every_line_in_force_gives_the_defaults() {
        let config = config(&uncommented(&[]));
        config.check().unwrap();
        assert_eq!(config.rarity.thresholds().unwrap(), Thresholds::default());
        // What a rule has by itself is not set.
        let RarityConfig { files, tools, modules, .. } = RarityConfig::default();
        let rarity = RarityConfig { files, tools, modules, ..config.rarity };
        assert_eq!(Config { rarity, ..config }, Config::default());
    }

    /// Those that the structs have at this place: a key that nobody can have is refused with them, unless every name is allowed.
    fn known_keys(at: &Key, table: &BTreeMap<String, Node>) -> Option<BTreeSet<String>> {
        let mut whole = Node::parse(&uncommented(&EXAMPLES), None).unwrap();
        let here = whole.at_mut(&at.0).unwrap();
        let mut table = table.clone();
        table.insert("?".to_owned(), Node::default());
        here.value = Value::Table(table);
        let error = Config::deserialize(&whole).err().filter(|error| error.key() == at.key("?"))?;
        let mut known: BTreeSet<_> = error.to_string().split('`').skip(1).step_by(2).map(str::to_owned).collect();
        if *at != Key::from("rarity.tools") {
            // The three rules have one struct, and this is of runs alone.
            known.remove("max_args");
        }
        Some(known)
    }

    fn assert_complete(at: &Key, node: &Node) {
        match &node.value {
            Value::Table(table) => {
                if let Some(known) = known_keys(at, table) {
                    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), known, "[{at}]");
                }
                table.iter().for_each(|(key, node)| assert_complete(&at.key(key), node));
            }
            Value::List(list) => list.iter().enumerate().for_each(|(at_item, node)| {
                assert_complete(&at.item(at_item), node);
            }),
            _ => {}
        }
    }

    /// Where `EXAMPLES` are in force, too, every key of the structs is there, and what the examples show is allowed.
    #[test]
    fn no_key_is_missing() {
        let tree = Node::parse(&uncommented(&EXAMPLES), None).unwrap();
        assert_complete(&Key::default(), &tree);
    }
}
