//! Counting.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use jiff::Timestamp;

use super::{Day, Detail, Record, evidence::Trace, record::KeyParts};
use crate::model::GroupKey;

/// Event ids that are remembered of a group. Whether an event of a group with more of them was there before is not asked: it is
/// not rare.
const REMEMBERED_IDS: usize = 64;

/// The same in all threads. Who could choose ids that meet could as well choose the same ones.
fn id_hash(id: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(id)
}

/// What was counted of one group.
#[derive(Clone, Debug)]
pub struct Group {
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    agents: HashSet<Box<str>>,
    ids: HashSet<u64>,
    /// For a report.
    detail: Option<Box<Detail>>,
}

impl Group {
    /// Distinct agents; one more than the bound of [`Groups::new`] where there are more.
    pub fn agents(&self) -> u64 {
        self.agents.len() as u64
    }

    /// The agents that are counted, in no order.
    pub fn agent_names(&self) -> impl Iterator<Item = &str> {
        self.agents.iter().map(AsRef::as_ref)
    }

    /// Where events were added [with traces](Groups::add_traced).
    pub fn detail(&self) -> Option<&Detail> {
        self.detail.as_deref()
    }

    fn merge(&mut self, other: Self, max_agents: usize) {
        let twice = other.ids.intersection(&self.ids).count() as u64;
        self.count += other.count - twice;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        match (&mut self.detail, other.detail) {
            (Some(detail), Some(other)) => detail.merge(*other),
            (detail @ None, other) => *detail = other,
            (Some(_), None) => {}
        }
        for id in other.ids {
            if self.ids.len() < REMEMBERED_IDS {
                self.ids.insert(id);
            }
        }
        for agent in other.agents {
            if self.agents.len() < max_agents {
                self.agents.insert(agent);
            }
        }
    }
}

/// What somebody else has counted of one group, all on this host.
#[derive(Debug)]
pub struct Counted {
    pub first: Timestamp,
    pub last: Timestamp,
    /// Events by day.
    pub days: Vec<(Day, u64)>,
}

/// All groups.
#[derive(Clone, Debug)]
pub struct Groups {
    /// By the encoded key.
    groups: HashMap<Box<[u8]>, (GroupKey, Group)>,
    max_agents: usize,
    /// Of the key at hand.
    encoded: Vec<u8>,
}

impl Groups {
    /// Counts up to `max_agents` agents of a group, and whether there are more.
    pub fn new(max_agents: u64) -> Self {
        let max_agents = usize::try_from(max_agents).unwrap_or(usize::MAX).saturating_add(1);
        Self { groups: HashMap::new(), max_agents, encoded: Vec::new() }
    }

    /// Counts an event, unless the group remembers it.
    pub fn add(&mut self, record: &Record<'_>) {
        self.count(record);
    }

    /// The same, with what a report asks for.
    pub fn add_traced(&mut self, record: &Record<'_>, trace: impl FnOnce() -> Trace) {
        let Some(group) = self.count(record) else { return };
        let id = Some(id_hash(&record.id)).filter(|id| group.ids.contains(id));
        group.detail.get_or_insert_default().add(record.time, id, trace);
    }

    /// The group, if the event counts.
    fn count(&mut self, record: &Record<'_>) -> Option<&mut Group> {
        let Record { time, agent, id, key } = record;
        key.encode(&mut self.encoded);
        if !self.groups.contains_key(self.encoded.as_slice()) {
            let group = Group {
                count: 0,
                first: *time,
                last: *time,
                agents: HashSet::new(),
                ids: HashSet::new(),
                detail: None,
            };
            self.groups.insert(self.encoded.as_slice().into(), (key.key(), group));
        }
        let (_, group) = self.groups.get_mut(self.encoded.as_slice())?;
        if !id.is_empty() && group.ids.len() < REMEMBERED_IDS && !group.ids.insert(id_hash(id)) {
            return None;
        }
        group.count += 1;
        group.first = group.first.min(*time);
        group.last = group.last.max(*time);
        if group.agents.len() < self.max_agents && !group.agents.contains(agent.as_ref()) {
            group.agents.insert(agent.as_ref().into());
        }
        Some(group)
    }

    /// Adds what this host has counted by itself.
    pub fn put(&mut self, key: GroupKey, counted: Counted) {
        let parts = KeyParts::of(&key);
        parts.encode(&mut self.encoded);
        let Counted { first, last, days } = counted;
        let group = Group {
            count: days.iter().map(|(_, count)| count).sum(),
            first,
            last,
            agents: HashSet::from([Box::from("this host")]),
            ids: HashSet::new(),
            detail: Some(Box::new(Detail::of_days(days))),
        };
        match self.groups.entry(self.encoded.as_slice().into()) {
            Entry::Vacant(entry) => drop(entry.insert((key, group))),
            Entry::Occupied(mut entry) => entry.get_mut().1.merge(group, self.max_agents),
        }
    }

    /// Adds what was counted elsewhere. An event that both remember counts once.
    pub fn merge(&mut self, other: Self) {
        for (encoded, (key, group)) in other.groups {
            match self.groups.entry(encoded) {
                Entry::Vacant(entry) => drop(entry.insert((key, group))),
                Entry::Occupied(mut entry) => entry.get_mut().1.merge(group, self.max_agents),
            }
        }
    }

    /// Agents that are counted of each group.
    pub fn most_agents(&self) -> u64 {
        self.max_agents as u64 - 1
    }

    /// All groups, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupKey, &Group)> {
        self.groups.values().map(|(key, group)| (key, group))
    }
}
