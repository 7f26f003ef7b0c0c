//! Counting.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use jiff::Timestamp;

use super::{Record, record::Key};

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
}

impl Group {
    /// Distinct agents; one more than the bound of [`Groups::new`] where there are more.
    pub fn agents(&self) -> u64 {
        self.agents.len() as u64
    }
}

impl Group {
    fn merge(&mut self, other: Self, max_agents: usize) {
        let twice = other.ids.intersection(&self.ids).count() as u64;
        self.count += other.count - twice;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
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

/// All groups.
#[derive(Debug)]
pub struct Groups {
    groups: HashMap<Key, Group>,
    max_agents: usize,
}

impl Groups {
    /// Counts up to `max_agents` agents of a group, and whether there are more.
    pub fn new(max_agents: u64) -> Self {
        let max_agents = usize::try_from(max_agents).unwrap_or(usize::MAX).saturating_add(1);
        Self { groups: HashMap::new(), max_agents }
    }

    /// Counts an event, unless the group remembers it.
    pub fn add(&mut self, record: Record) {
        let Record { time, agent, id, key } = record;
        let group = self.groups.entry(key).or_insert_with(|| Group {
            count: 0,
            first: time,
            last: time,
            agents: HashSet::new(),
            ids: HashSet::new(),
        });
        if !id.is_empty() {
            let id = id_hash(&id);
            if group.ids.contains(&id) {
                return;
            }
            if group.ids.len() < REMEMBERED_IDS {
                group.ids.insert(id);
            }
        }
        group.count += 1;
        group.first = group.first.min(time);
        group.last = group.last.max(time);
        if group.agents.len() < self.max_agents {
            group.agents.insert(agent.into());
        }
    }

    /// Adds what was counted elsewhere. An event that both remember counts once.
    pub fn merge(&mut self, other: Self) {
        for (key, group) in other.groups {
            match self.groups.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(group)),
                Entry::Occupied(mut entry) => entry.get_mut().merge(group, self.max_agents),
            }
        }
    }

    /// All groups, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Group)> {
        self.groups.iter()
    }
}
