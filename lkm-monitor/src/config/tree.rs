//! Settings as they are written, before anybody knows what they mean: values by key, each with its place.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    key::{Key, Origin, Step, name, quoted},
    problem::Problem,
};

/// A value, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date, or a number that no setting can be.
    Other(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Default for Node {
    /// Nothing is set.
    fn default() -> Self {
        Self { value: Value::Table(BTreeMap::new()), origin: Origin::Default }
    }
}

impl Node {
    /// What a TOML text sets; or all mistakes in how it is written. `path` is what the places in it are called by; what comes from no file
    /// is a default.
    pub(super) fn parse(text: &str, path: Option<&Path>) -> Result<Self, Vec<Problem>> {
        let places = Places::of(text, path);
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(places.table(table.get_ref(), 0));
        }
        let problem = |error: toml::de::Error| {
            Problem::of_line(places.at(error.span().map_or(0, |span| span.start)), error.message())
        };
        Err(errors.into_iter().map(problem).collect())
    }

    /// Takes in what a later file sets. Tables merge, and lists of tables are continued; everything else replaces what was there, as does
    /// an empty list.
    pub(super) fn merge(&mut self, later: Self) {
        match (&mut self.value, later.value) {
            (Value::Table(ours), Value::Table(theirs)) => {
                for (key, node) in theirs {
                    match ours.get_mut(&key) {
                        Some(own) => own.merge(node),
                        None => drop(ours.insert(key, node)),
                    }
                }
            }
            (Value::List(ours), Value::List(theirs))
                if are_tables(ours) && are_tables(&theirs) && !theirs.is_empty() =>
            {
                ours.extend(theirs);
            }
            (own, value) => {
                *own = value;
                self.origin = later.origin;
            }
        }
    }

    /// What stands there, or else the nearest thing above it; and its whole key.
    pub(super) fn nearest(&self, key: &Key) -> (&Self, Key) {
        let mut found = (self, Key::default());
        for step in &key.0 {
            let below = match (&found.0.value, step) {
                (Value::Table(table), Step::Key(name)) => table.get(name),
                (Value::List(list), Step::Item(number)) => list.get(*number),
                _ => None,
            };
            let Some(below) = below else { break };
            found.0 = below;
            found.1.0.push(step.clone());
        }
        found
    }

    pub(super) const fn is_table(&self) -> bool {
        matches!(self.value, Value::Table(_))
    }

    /// Takes out what stands there. Whether there was something.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some((last, above)) = key.0.split_last() else { return false };
        let Some(node) = self.at_mut(above) else { return false };
        match (&mut node.value, last) {
            (Value::Table(table), Step::Key(name)) => table.remove(name).is_some(),
            (Value::List(list), Step::Item(number)) if *number < list.len() => {
                list.remove(*number);
                true
            }
            _ => false,
        }
    }

    pub(super) fn at_mut(&mut self, steps: &[Step]) -> Option<&mut Self> {
        let Some((first, rest)) = steps.split_first() else { return Some(self) };
        let below = match (&mut self.value, first) {
            (Value::Table(table), Step::Key(name)) => table.get_mut(name),
            (Value::List(list), Step::Item(number)) => list.get_mut(*number),
            _ => None,
        };
        below?.at_mut(rest)
    }

    /// The values by their keys, lists as one value.
    pub(super) fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        self.collect(&Key::default(), &mut values);
        values
    }

    fn collect(&self, key: &Key, values: &mut BTreeMap<String, String>) {
        match &self.value {
            Value::Table(table) if !table.is_empty() || *key == Key::default() => {
                table.iter().for_each(|(name, node)| node.collect(&key.key(name), values));
            }
            // A table without keys, too: that it is there can be all that is said of a sink.
            value => drop(values.insert(key.to_string(), value.inline())),
        }
    }

    /// The text of a file that sets the same. Behind each value stands where it comes from.
    pub(super) fn to_toml(&self) -> String {
        let mut text = String::new();
        if let Value::Table(table) = &self.value {
            write_table(&mut text, table, &Key::default());
        }
        text
    }
}

/// Values first: behind the name of a table every value is one of its own.
fn write_table(text: &mut String, table: &BTreeMap<String, Node>, at: &Key) {
    let is_section = |node: &Node| match &node.value {
        Value::Table(_) => true,
        Value::List(list) => !list.is_empty() && are_tables(list),
        _ => false,
    };
    for (key, node) in table.iter().filter(|(_, node)| !is_section(node)) {
        text.push_str(&format!("{} = {} # {}\n", name(key), node.value.inline(), node.origin));
    }
    for (key, node) in table.iter().filter(|(_, node)| is_section(node)) {
        let key = at.key(key);
        match &node.value {
            Value::Table(table) => {
                // One that holds tables alone needs no name of its own.
                if table.is_empty() || table.values().any(|node| !is_section(node)) {
                    text.push_str(&format!("\n[{key}]\n"));
                }
                write_table(text, table, &key);
            }
            Value::List(list) => {
                for item in list {
                    text.push_str(&format!("\n[[{key}]] # {}\n", item.origin));
                    if let Value::Table(table) = &item.value {
                        write_table(text, table, &key);
                    }
                }
            }
            _ => {}
        }
    }
}

fn are_tables(list: &[Node]) -> bool {
    list.iter().all(Node::is_table)
}

impl Value {
    /// In one line.
    fn inline(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => toml::Value::Float(*number).to_string(),
            Self::Boolean(flag) => flag.to_string(),
            Self::Other(text) => text.clone(),
            Self::List(list) => {
                let items: Vec<_> = list.iter().map(|node| node.value.inline()).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(table) if table.is_empty() => "{}".to_owned(),
            Self::Table(table) => {
                let members: Vec<_> =
                    table.iter().map(|(key, node)| format!("{} = {}", name(key), node.value.inline())).collect();
                format!("{{ {} }}", members.join(", "))
            }
        }
    }
}

/// Finds lines.
struct Places {
    path: Option<Arc<Path>>,
    /// Where lines begin, in bytes.
    lines: Vec<usize>,
}

impl Places {
    fn of(text: &str, path: Option<&Path>) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { path: path.map(Arc::from), lines: [0].into_iter().chain(starts).collect() }
    }

    fn at(&self, byte: usize) -> Origin {
        match &self.path {
            Some(path) => {
                Origin::File { path: Arc::clone(path), line: self.lines.partition_point(|start| *start <= byte) }
            }
            None => Origin::Default,
        }
    }

    fn table(&self, table: &DeTable<'_>, at: usize) -> Node {
        let entries = table.iter().map(|(key, value)| {
            // The key says better where a value stands than the value, which may have many lines.
            (key.get_ref().to_string(), self.node(value, key.span().start))
        });
        Node { value: Value::Table(entries.collect()), origin: self.at(at) }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>, at: usize) -> Node {
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Other(number.to_string()),
            },
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(list) => Value::List(list.iter().map(|item| self.node(item, item.span().start)).collect()),
            DeValue::Table(table) => return self.table(table, at),
        };
        Node { value, origin: self.at(at) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Node {
        Node::parse(text, Some(Path::new("a.toml"))).unwrap()
    }

    #[test]
    fn tables_merge_and_lists_of_tables_go_on() {
        let mut tree = parse("a = 1\n[t]\nx = 1\ny = [1, 2]\n[[t.l]]\nn = 1\n");
        tree.merge(parse("[t]\ny = [3]\nz = 4\n[[t.l]]\nn = 2\n"));
        let values: Vec<_> = tree.values().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(values, ["a=1", "t.l=[{ n = 1 }, { n = 2 }]", "t.x=1", "t.y=[3]", "t.z=4"]);
        tree.merge(parse("t.l = []\n"));
        assert_eq!(tree.values()["t.l"], "[]");
    }

    #[test]
    fn places_are_those_of_keys() {
        let tree = parse("[a]\n\nb = \"\"\"\nlong\n\"\"\"\n[[c]]\nx = 1\n[[c]]\nx = 2\n");
        let line = |key: &Key| tree.nearest(key).0.origin.to_string();
        assert_eq!(line(&Key::from("a.b")), "a.toml:3");
        assert_eq!(line(&Key::from("c").item(1).key("x")), "a.toml:9");
        assert_eq!(line(&Key::from("c").item(1).key("none")), "a.toml:8");
    }

    #[test]
    fn all_mistakes_of_a_text_are_found() {
        let problems = Node::parse("a = \nb = 1\nb = 2\nc = 'x\n", Some(Path::new("a.toml"))).unwrap_err();
        let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
        for line in ["a.toml:1: ", "a.toml:3: duplicate key", "a.toml:4: "] {
            assert!(problems.iter().any(|problem| problem.starts_with(line)), "{line} is not in {problems:#?}");
        }
    }

    #[test]
    fn what_was_taken_out_is_gone() {
        let mut tree = parse("[[a]]\nb = 1\n[[a]]\nb = 2\n");
        assert!(tree.remove(&Key::from("a").item(0)));
        assert_eq!(tree.values()["a"], "[{ b = 2 }]");
        assert!(!tree.remove(&Key::from("a").item(1)));
        assert!(!tree.remove(&Key::default()));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::Text),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            (-1e9..1e9f64).prop_map(Value::Float),
        ];
        let node = |value| Node { value, origin: Origin::Default };
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let inner = inner.prop_map(node);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(Value::Table),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(table in prop::collection::btree_map(any::<String>(), values(), 0..6)) {
            let table = table.into_iter().map(|(key, value)| (key, Node { value, origin: Origin::Default }));
            let tree = Node { value: Value::Table(table.collect()), origin: Origin::Default };
            prop_assert_eq!(Node::parse(&tree.to_toml(), None).unwrap(), tree);
        }

        #[test]
        fn any_text_is_settings_or_mistakes(text in any::<String>()) {
            if let Err(problems) = Node::parse(&text, None) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}
