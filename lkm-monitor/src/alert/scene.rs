//! What a document needs besides the observation.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::{Accounts, Clock, Host, text::text};

/// Host, time and names around an observation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) host: &'a Host,
    pub(super) clock: Clock,
    pub(super) accounts: &'a Accounts,
}

impl Scene<'_> {
    /// Wall time of a time since boot; `None` for 0, which means not known.
    pub(super) fn time(&self, boot_ns: u64) -> Option<String> {
        (boot_ns != 0).then(|| timestamp(self.clock, boot_ns))
    }

    pub(super) fn user_name(&self, uid: u32) -> Option<String> {
        self.accounts.users.get(&uid).map(|name| text(name))
    }

    pub(super) fn group_name(&self, gid: u32) -> Option<String> {
        self.accounts.groups.get(&gid).map(|name| text(name))
    }

    /// A user in the form of ECS, where ids are strings.
    pub(super) fn user(&self, uid: u32) -> Value {
        account(&self.accounts.users, uid)
    }

    /// A group in the form of ECS.
    pub(super) fn group(&self, gid: u32) -> Value {
        account(&self.accounts.groups, gid)
    }
}

fn account(names: &HashMap<u32, Vec<u8>>, id: u32) -> Value {
    json!({ "id": id.to_string(), "name": names.get(&id).map(|name| text(name)) })
}

/// RFC 3339 in UTC, with microseconds.
pub(super) fn timestamp(clock: Clock, boot_ns: u64) -> String {
    let time = Timestamp::from_nanosecond(clock.realtime_ns(boot_ns)).unwrap_or_default();
    format!("{time:.6}")
}

/// The same of milliseconds since 1970.
pub(super) fn unix_time(unix_ms: i64) -> String {
    let time = Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    format!("{time:.6}")
}

/// Names of all users in a document: `related.user`.
pub(super) fn user_names(document: &Value) -> BTreeSet<&str> {
    let of_processes = ["/process", "/process/parent"]
        .into_iter()
        .flat_map(|process| ["user", "real_user", "saved_user"].map(|user| format!("{process}/{user}/name")));
    let others = ["/file/owner", "/lkm_monitor/audit/login_user", "/lkm_monitor/request/process/user"];
    of_processes.chain(others.map(str::to_owned)).filter_map(|pointer| document.pointer(&pointer)?.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let clock = Clock { realtime_offset_ns: 1_700_000_000_000_000_000 };
        assert_eq!(timestamp(clock, 1_234_567), "2023-11-14T22:13:20.001234Z");
        assert_eq!(timestamp(clock, 0), "2023-11-14T22:13:20.000000Z");
        // Far beyond the calendar, but no panic.
        assert_eq!(timestamp(Clock { realtime_offset_ns: i64::MIN }, 0).len(), 27);
        timestamp(Clock { realtime_offset_ns: i64::MAX }, u64::MAX);
    }
}
