//! From files to settings, or to everything that is wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize as _;

use super::{
    Config, example,
    key::{Key, Step},
    problem::{Invalid, Invalids, MAX_TOLD, Problem, Problems},
    sinks::hide_paths,
    source::{DEFAULT_PATH, Sources},
    tree::Node,
};

/// Settings that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub effective: Effective,
    /// What is no reason not to use them.
    pub warnings: Vec<Problem>,
}

/// What holds, key by key, defaults included. Of secrets it has the names of their files alone, and paths of addresses, which are not
/// shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective(Node);

impl Effective {
    /// What is set, and the defaults of all else. The sink that there is without any other is one of them: it ends when another is set.
    pub(super) fn of(set: Node) -> Self {
        let mut effective = example::defaults();
        effective.merge(set);
        if !effective.values().keys().any(|key| key.starts_with("sinks.")) {
            effective.merge(example::default_sink());
        }
        Self(effective)
    }

    /// A configuration file that sets all of it, but for paths of sinks' addresses. Behind each value stands where it comes from.
    pub fn to_toml(&self) -> String {
        self.shown().to_toml()
    }

    /// The values as TOML, by their keys: as they are, to be compared.
    pub(super) fn values(&self) -> BTreeMap<String, String> {
        self.0.values()
    }

    /// The same to be shown.
    pub(super) fn shown_values(&self) -> BTreeMap<String, String> {
        self.shown().values()
    }

    fn shown(&self) -> Node {
        let mut shown = self.0.clone();
        hide_paths(&mut shown);
        shown
    }
}

/// Reads the file that is named and no other, or else `/etc/lkm-monitor/config.toml` and `/etc/lkm-monitor/conf.d/*.toml`, of which none
/// needs to exist. Also reads the files that settings name, so that a problem with these is found here.
pub fn load(named: Option<&Path>) -> Result<Loaded, Problems> {
    settle(match named {
        Some(path) => Sources::of_file(path),
        None => Sources::around(Path::new(DEFAULT_PATH)),
    })
}

pub(super) fn settle(sources: Sources) -> Result<Loaded, Problems> {
    let Sources { files, problems, warnings } = sources;
    let mut problems: BTreeSet<_> = problems.into_iter().collect();
    let mut tree = Node::default();
    for (path, text) in &files {
        match Node::parse(text, Some(path)) {
            Ok(node) => {
                // What a later file overrides is wrong all the same.
                sift(&mut node.clone(), false, &mut problems);
                tree.merge(node);
            }
            Err(errors) => problems.extend(errors),
        }
    }
    let config = sift(&mut tree.clone(), true, &mut problems);
    if problems.is_empty() {
        return Ok(Loaded { config, effective: Effective::of(tree), warnings });
    }
    Err(Problems::of(problems))
}

/// Finds everything that is wrong. One problem hides no other: what is wrong is taken out, and the rest is looked at again. Of one file among
/// several only the types count, not what may become of it together with the others. Each look may find one problem only, so it ends when
/// there are more than are told.
fn sift(tree: &mut Node, whole: bool, problems: &mut BTreeSet<Problem>) -> Config {
    // Where something was taken out, it is missed, which is no other problem.
    let mut holes = BTreeSet::new();
    while problems.len() <= MAX_TOLD {
        let (invalids, fits) = match Config::deserialize(&*tree) {
            Ok(config) if !whole => return config,
            Ok(config) => match config.check() {
                Ok(()) => return config,
                Err(Invalids(invalids)) => (invalids, true),
            },
            Err(misfit) if misfit.is_missing => {
                let key = misfit.key();
                let origin = tree.nearest(&key).0.origin.clone();
                if whole && !holes.contains(&origin) {
                    problems.insert(Problem::of_key(origin, &key, &misfit));
                }
                if !tree.remove(&key) {
                    return Config::default();
                }
                continue;
            }
            Err(misfit) => (vec![Invalid { key: misfit.key(), problem: misfit.to_string() }], false),
        };
        let mut wrong = BTreeSet::new();
        for Invalid { key, problem } in &invalids {
            let (node, place) = tree.nearest(key);
            if !(node.is_table() && holes.contains(&node.origin)) {
                problems.insert(Problem::of_key(node.origin.clone(), key, problem));
            }
            wrong.insert(if fits { taken_out(place) } else { place });
        }
        for place in &wrong {
            holes.extend(place.above().map(|above| tree.nearest(&above).0.origin.clone()));
            if !tree.remove(place) {
                return Config::default();
            }
        }
    }
    Config::default()
}

/// What goes with a value that is wrong: of a sink everything has been told at once, and what would be left of it is another sink.
fn taken_out(place: Key) -> Key {
    match place.0.as_slice() {
        [Step::Key(section), name, _, ..] if section == "sinks" => Key::from("sinks").step(name.clone()),
        _ => place,
    }
}
