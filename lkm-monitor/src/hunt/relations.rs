//! Links between rows: a run of a tool and the modules that its process loaded, a load and the file that it came from.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroU64,
};

use super::{
    Group, Groups, Query, Subject,
    evidence::{Tie, Trace},
};
use crate::model::GroupKey;

/// Counterparts that are named of one row, those with rows of their own first; of others it is said how many there are.
pub const NAMED_COUNTERPARTS: usize = 16;

/// One hunt and what it found.
#[derive(Debug)]
pub struct Finding<'a> {
    pub query: &'a Query,
    /// Groups that were counted.
    pub groups: usize,
    /// Rare groups, also those that have no row.
    pub rare: usize,
    pub rows: Vec<Row<'a>>,
}

/// A rare group that is shown.
#[derive(Debug)]
pub struct Row<'a> {
    pub key: &'a GroupKey,
    pub group: &'a Group,
    /// In the order of the hunts, and of their rows.
    pub counterparts: Vec<Counterpart<'a>>,
    /// Counterparts besides.
    pub more_counterparts: usize,
}

/// A group that a row is tied to.
#[derive(Clone, Copy, Debug)]
pub struct Counterpart<'a> {
    pub subject: Subject,
    pub key: &'a GroupKey,
    pub group: &'a Group,
    /// Whether it is on more agents than were counted.
    pub more_agents: bool,
    pub standing: Standing,
}

/// Whether a counterpart has a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its index among the rows of its hunt.
    Shown(usize),
    /// Behind the last row.
    Rare,
    NotRare,
}

/// Which hunts are tied, and by what.
const TIES: [(Subject, Subject, Tie); 2] =
    [(Subject::Tools, Subject::Modules, Tie::Process), (Subject::Modules, Subject::Files, Tie::File)];

/// The rows of all hunts, linked by the details that a scan kept.
pub fn findings<'a>(hunts: &'a [(Query, Groups)]) -> Vec<Finding<'a>> {
    let mut findings: Vec<Finding<'a>> = hunts.iter().map(|(query, groups)| unlinked(query, groups)).collect();
    let index = |subject| hunts.iter().position(|(query, _)| query.subject == subject);
    for (one, two, tie) in TIES {
        let Some((one, two)) = index(one).zip(index(two)) else { continue };
        for (from, to) in [(one, two), (two, one)] {
            let links = links(&findings[from].rows, &findings[to].rows, &hunts[to], tie);
            for (row, (counterparts, more)) in findings[from].rows.iter_mut().zip(links) {
                row.counterparts.extend(counterparts);
                row.more_counterparts += more;
            }
        }
    }
    findings
}

fn unlinked<'a>(query: &'a Query, groups: &'a Groups) -> Finding<'a> {
    let row = |(key, group)| Row { key, group, counterparts: Vec::new(), more_counterparts: 0 };
    Finding {
        query,
        groups: groups.iter().count(),
        rare: groups.iter().filter(|(key, group)| query.is_rare(key, group)).count(),
        rows: query.rows(groups).into_iter().map(row).collect(),
    }
}

/// For each of `rows` the groups of the other hunt that it is tied to, and how many there are besides.
fn links<'a>(
    rows: &[Row<'a>],
    other_rows: &[Row<'a>],
    (query, groups): &'a (Query, Groups),
    tie: Tie,
) -> Vec<(Vec<Counterpart<'a>>, usize)> {
    let places: HashMap<&GroupKey, usize> = other_rows.iter().map(|row| row.key).zip(0..).collect();
    // Rows are few and groups are many: only the rows' traces are put in order.
    let mut rows_by_handle: HashMap<NonZeroU64, Vec<(usize, &Trace)>> = HashMap::new();
    for (number, trace) in
        rows.iter().enumerate().flat_map(|(number, row)| traces(row.group).map(move |it| (number, it)))
    {
        trace.handles(tie).for_each(|handle| rows_by_handle.entry(handle).or_default().push((number, trace)));
    }
    let mut linked = vec![Linked::default(); rows.len()];
    for (key, group) in groups.iter() {
        let mut tied = HashSet::new();
        for trace in traces(group) {
            let candidates = trace.handles(tie).filter_map(|handle| rows_by_handle.get(&handle)).flatten();
            tied.extend(candidates.filter(|(_, other)| trace.meets(other, tie)).map(|(number, _)| *number));
        }
        if tied.is_empty() {
            continue;
        }
        let standing = match places.get(key) {
            Some(place) => Standing::Shown(*place),
            None if query.is_rare(key, group) => Standing::Rare,
            None => Standing::NotRare,
        };
        for number in tied {
            linked[number].add(standing, key, group);
        }
    }
    let counterpart = |((standing, key), group): ((Standing, &'a GroupKey), &'a Group)| Counterpart {
        subject: query.subject,
        key,
        group,
        more_agents: group.agents() > groups.most_agents(),
        standing,
    };
    linked.into_iter().map(|Linked { named, more }| (named.into_iter().map(counterpart).collect(), more)).collect()
}

/// The first counterparts of a row, whatever the order in which groups come, and the number of those behind them.
#[derive(Clone, Debug, Default)]
struct Linked<'a> {
    named: BTreeMap<(Standing, &'a GroupKey), &'a Group>,
    more: usize,
}

impl<'a> Linked<'a> {
    fn add(&mut self, standing: Standing, key: &'a GroupKey, group: &'a Group) {
        self.named.insert((standing, key), group);
        if self.named.len() > NAMED_COUNTERPARTS {
            self.named.pop_last();
            self.more += 1;
        }
    }
}

fn traces(group: &Group) -> impl Iterator<Item = &Trace> {
    group.detail().into_iter().flat_map(|detail| detail.traces())
}
