//! Which groups are rare, and in which order they are shown.

use jiff::{SignedDuration, Timestamp};

use super::{Group, Groups, Record, record::KeyParts};
use crate::{
    model::{
        GroupKey,
        rarity::{RARE_AGENTS, RARE_ARGS, WINDOW_DAYS},
    },
    select::Exclusions,
};

/// What a hunt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Files with the name of a kernel module that appeared.
    Files,
    /// Runs of module tools.
    Tools,
    /// Modules that were loaded.
    Modules,
}

/// One hunt. A group is rare when it is within all bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub subject: Subject,
    /// Earlier events do not count.
    pub since: Timestamp,
    pub max_count: Option<u64>,
    pub max_agents: u64,
    /// Of `process.args_count`.
    pub max_args: Option<u64>,
    /// Paths of files that do not count: a star stands for any bytes, slashes too.
    pub exclude: Vec<glob::Pattern>,
    /// Rows that are shown.
    pub limit: usize,
}

/// Rows that a hunt shows.
pub const LIMIT: usize = 100;

impl Query {
    /// The hunt as it is where nothing else is said.
    pub fn new(subject: Subject, now: Timestamp) -> Self {
        let is_tools = subject == Subject::Tools;
        // The daemon's own.
        let exclude = Exclusions::defaults().filter_map(|exclusion| glob::Pattern::new(&exclusion.path).ok()).collect();
        Self {
            subject,
            since: now
                .saturating_sub(SignedDuration::from_hours(24 * i64::from(WINDOW_DAYS)))
                .unwrap_or(Timestamp::MIN),
            max_count: is_tools.then_some(1),
            max_agents: if is_tools { 1 } else { RARE_AGENTS },
            max_args: is_tools.then_some(RARE_ARGS),
            exclude,
            limit: LIMIT,
        }
    }

    /// Whether a record counts.
    pub fn counts(&self, record: &Record<'_>) -> bool {
        let excluded = match &record.key {
            KeyParts::File { path, .. } => self.excludes_path(path),
            KeyParts::Tool { .. } | KeyParts::Module { .. } => false,
        };
        record.time >= self.since && !excluded
    }

    /// Whether a group of files does not count.
    pub fn excludes(&self, key: &GroupKey) -> bool {
        matches!(key, GroupKey::File { path, .. } if self.excludes_path(path))
    }

    fn excludes_path(&self, path: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether a group is within all bounds.
    pub fn is_rare(&self, key: &GroupKey, group: &Group) -> bool {
        let few_args = match key {
            GroupKey::Tool { args_count, .. } => self.max_args.is_none_or(|most| *args_count <= most),
            GroupKey::File { .. } | GroupKey::Module { .. } => true,
        };
        few_args && self.max_count.is_none_or(|most| group.count <= most) && group.agents() <= self.max_agents
    }

    /// The rare groups, rarest first: by count, agents, and what they are of.
    pub fn rows<'a>(&self, groups: &'a Groups) -> Vec<(&'a GroupKey, &'a Group)> {
        let mut rows: Vec<_> = groups.iter().filter(|(key, group)| self.is_rare(key, group)).collect();
        rows.sort_by(|(key, group), (other_key, other)| {
            (group.count, group.agents(), key).cmp(&(other.count, other.agents(), other_key))
        });
        rows.truncate(self.limit);
        rows
    }
}
