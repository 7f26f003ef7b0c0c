//! What a document needs besides the observation.

use std::{borrow::Cow, collections::HashMap};

use super::json::{Value, digits, json};
use crate::model::{Accounts, Clock, Host, text::readable};
use jiff::{Timestamp, fmt::temporal::DateTimePrinter};

/// Host, time and names around an observation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) host: &'a Host,
    pub(super) clock: Clock,
    pub(super) accounts: &'a Accounts,
}

impl<'a> Scene<'a> {
    /// Wall time of a time since boot; `None` for 0, which means not known.
    pub(super) fn time(&self, boot_ns: u64) -> Option<String> {
        (boot_ns != 0).then(|| timestamp(self.clock, boot_ns))
    }

    pub(super) fn user_name(&self, uid: u32) -> Option<Cow<'a, str>> {
        self.accounts.users.get(&uid).map(|name| readable(name))
    }

    pub(super) fn group_name(&self, gid: u32) -> Option<Cow<'a, str>> {
        self.accounts.groups.get(&gid).map(|name| readable(name))
    }

    /// A user in the form of ECS, where ids are strings.
    pub(super) fn user(&self, uid: u32) -> Value<'a> {
        account(&self.accounts.users, uid)
    }

    /// A group in the form of ECS.
    pub(super) fn group(&self, gid: u32) -> Value<'a> {
        account(&self.accounts.groups, gid)
    }
}

fn account(names: &HashMap<u32, Vec<u8>>, id: u32) -> Value<'_> {
    json!({ "id": digits(id), "name": names.get(&id).map(|name| readable(name)) })
}

/// RFC 3339 in UTC, with microseconds.
pub(super) fn timestamp(clock: Clock, boot_ns: u64) -> String {
    microseconds(Timestamp::from_nanosecond(clock.realtime_ns(boot_ns)).unwrap_or_default())
}

/// The same of milliseconds since 1970.
pub(super) fn unix_time(unix_ms: i64) -> String {
    microseconds(Timestamp::from_millisecond(unix_ms).unwrap_or_default())
}

/// The same of any time.
pub(super) fn microseconds(time: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    PRINTER.timestamp_to_string(&time)
}

/// Where documents name users.
const USER_NAMES: [&str; 9] = [
    "process.user.name",
    "process.real_user.name",
    "process.saved_user.name",
    "process.parent.user.name",
    "process.parent.real_user.name",
    "process.parent.saved_user.name",
    "file.owner",
    "lkm_monitor.audit.login_user",
    "lkm_monitor.request.process.user",
];

/// Names of all users in a document, each once, in their order: `related.user`.
pub(super) fn user_names<'a>(document: &Value<'a>) -> Vec<Cow<'a, str>> {
    let mut names: Vec<_> = USER_NAMES.iter().filter_map(|field| document.field(field)?.as_text().cloned()).collect();
    names.sort_unstable();
    names.dedup();
    names
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
