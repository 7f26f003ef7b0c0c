//! Counting.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

use jiff::Timestamp;

use super::{Record, record::Key};

/// Event ids that are remembered of a group. Whether an event of a group with more of them was there before is not asked: it is
/// not rare.
const REMEMBERED_IDS: usize = 64;

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

/// All groups.
#[derive(Debug)]
pub struct Groups {
    groups: HashMap<Key, Group>,
    max_agents: usize,
    hasher: RandomState,
}

impl Groups {
    /// Counts up to `max_agents` agents of a group, and whether there are more.
    pub fn new(max_agents: u64) -> Self {
        let max_agents = usize::try_from(max_agents).unwrap_or(usize::MAX).saturating_add(1);
        Self { groups: HashMap::new(), max_agents, hasher: RandomState::new() }
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
            let id = self.hasher.hash_one(&id);
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

    /// All groups, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Group)> {
        self.groups.iter()
    }
}
