//! This host's own store as a source: what the daemon has counted, by days.

use std::path::Path;

use jiff::Timestamp;

use super::{Groups, Query, Subject, detail::Day, groups::Counted};
use crate::{
    model::{GroupKey, KeyPart, Kind},
    prevalence::{
        groups::{ARGUMENT_END, KeyNames},
        name::GroupName,
        store::{self, StoreError},
        tally::{DAY_S, Tally},
    },
};

/// Counts what a store has for all `queries`, while a daemon may be writing it. Days count whole: the store knows no times of single
/// events but the first and the last.
pub fn groups(path: &Path, queries: &[Query]) -> Result<Vec<Groups>, StoreError> {
    let mut all: Vec<_> = queries.iter().map(|query| Groups::new(query.max_agents)).collect();
    store::read_all(path, |names, name, tally| {
        let Some(key) = key(&name, names) else { return };
        for (query, groups) in queries.iter().zip(&mut all).filter(|(query, _)| is_of(query.subject, &key)) {
            if let Some(counted) = counted(&tally, query).filter(|_| !query.excludes(&key)) {
                groups.put(key.clone(), counted);
            }
        }
    })?;
    Ok(all)
}

const fn is_of(subject: Subject, key: &GroupKey) -> bool {
    matches!(
        (subject, key),
        (Subject::Files, GroupKey::File { .. })
            | (Subject::Tools, GroupKey::Tool { .. })
            | (Subject::Modules, GroupKey::Module { .. })
    )
}

/// What happened since the query's first day.
fn counted(tally: &Tally, query: &Query) -> Option<Counted> {
    let first_day = Day::of(query.since).0;
    let days: Vec<_> = tally
        .days
        .iter()
        .map(|bucket| (Day(bucket.day.into()), bucket.count))
        .filter(|(day, _)| day.0 >= first_day)
        .collect();
    let (earliest, _) = days.first()?;
    let at = |seconds: u64| Timestamp::from_second(i64::try_from(seconds).ok()?).ok();
    let begin_s = u64::try_from(earliest.0).ok()? * DAY_S;
    Some(Counted { first: at(tally.first_s.max(begin_s))?, last: at(tally.last_s)?, days })
}

/// The group of the hunt that a group of the store belongs to: of files, whatever they held.
fn key(name: &GroupName, names: &KeyNames) -> Option<GroupKey> {
    let (kind, parts) = (name.kind()?, name.parts());
    let keys = names.of(kind);
    let part = |wanted: KeyPart| {
        let at = keys.iter().position(|key| *key == wanted);
        at.and_then(|at| parts.get(at)).cloned().unwrap_or_default()
    };
    Some(match kind {
        Kind::File => GroupKey::File { path: part(KeyPart::Path), executable: part(KeyPart::Executable) },
        Kind::Tool => {
            let args: Vec<_> = part(KeyPart::Args).split(ARGUMENT_END).map(str::to_owned).collect();
            let args_count = part(KeyPart::ArgsCount).parse().unwrap_or(args.len() as u64);
            GroupKey::Tool { args, args_count }
        }
        Kind::Module => GroupKey::Module { name: part(KeyPart::Name), sha256: part(KeyPart::Sha256) },
    })
}
