//! What a report shows, against the same questions asked of SQLite.

use std::collections::BTreeSet;

use super::*;
use crate::hunt::{
    detail::REMEMBERED_TRACES,
    relations::{NAMED_COUNTERPARTS, Standing, findings},
};

/// What a document says of its process. Documents of one entity and two starts are strange, and tell which of them counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct SaidProcess {
    entity: Option<u8>,
    start: Option<u8>,
}

pub(super) fn said_process() -> impl Strategy<Value = SaidProcess> {
    let part = || proptest::option::of(0..4_u8);
    (part(), part()).prop_map(|(entity, start)| SaidProcess { entity, start })
}

impl SaidProcess {
    pub(super) fn put(self, document: &mut Value) {
        if let Some(entity) = self.entity {
            document["process"]["entity_id"] = json!(format!("process {entity}"));
        }
        if let Some(start) = self.start {
            // Two pids of one start, and two starts of one pid.
            document["process"]["pid"] = json!(start / 2);
            document["process"]["start"] = json!(format!("2026-01-31T00:00:0{}Z", start % 2));
        }
    }

    pub(super) const fn columns(self) -> (Option<u8>, Option<u8>) {
        (self.entity, self.start)
    }
}

/// Events by day of all groups.
fn days_by_sqlite(database: &Connection, subject: u8) -> BTreeSet<(String, i64, u64)> {
    let mut statement = database
        .prepare("SELECT key, at / 86400, COUNT(*) FROM once WHERE subject = ? GROUP BY key, at / 86400")
        .unwrap();
    let rows = statement.query_map([subject], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Pairs of a group of one hunt and a group of another.
fn links_by_sqlite(database: &Connection, from: u8, to: u8) -> BTreeSet<(String, String)> {
    let tie = if from.min(to) == 0 {
        "one.path = two.path AND (one.hash IS NULL OR two.hash IS NULL OR one.hash = two.hash)"
    } else {
        "CASE WHEN one.entity IS NOT NULL AND two.entity IS NOT NULL THEN one.entity = two.entity
              ELSE one.started = two.started END"
    };
    let text = format!(
        "SELECT DISTINCT one.key, two.key FROM once AS one JOIN once AS two ON one.agent = two.agent AND {tie}
         WHERE one.subject = ? AND two.subject = ?"
    );
    let mut statement = database.prepare(&text).unwrap();
    let rows = statement.query_map([from, to], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

const fn number(subject: Subject) -> u8 {
    match subject {
        Subject::Files => 0,
        Subject::Tools => 1,
        Subject::Modules => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_report_shows_what_sql_finds(
        said in proptest::collection::vec(said(), 0..120),
        max_agents in 1..6_u64,
        limit in 0..20_usize,
    ) {
        let all = twice_the_same(said);
        let queries = [Subject::Files, Subject::Tools, Subject::Modules]
            .map(|subject| Query::new(subject, Timestamp::from_second(NOW).unwrap()))
            .map(|standard| Query { max_agents, limit, max_count: None, ..standard });
        let database = database(&all, queries[0].since);
        let groups = scanned(&all, &queries, Keep::Details);
        let hunts: Vec<_> = queries.into_iter().zip(groups).collect();
        let findings = findings(&hunts);
        for ((query, groups), finding) in hunts.iter().zip(&findings) {
            let from = number(query.subject);
            prop_assert_eq!(rows(query, groups), by_sqlite(&all, from, query));
            prop_assert_eq!(finding.rows.len(), by_sqlite(&all, from, query).len());
            prop_assert_eq!(finding.rare, by_sqlite(&all, from, &Query { limit: 1000, ..query.clone() }).len());
            let days = |(key, group): (&GroupKey, &Group)| {
                let days: Vec<_> = group.detail().unwrap().days().collect();
                days.into_iter().map(|(day, count)| (text(key), day.0, count)).collect::<Vec<_>>()
            };
            prop_assert_eq!(groups.iter().flat_map(days).collect::<BTreeSet<_>>(), days_by_sqlite(&database, from));
            // Modules are tied to both others.
            for (other, _) in hunts.iter().filter(|(other, _)| (from == 2) != (number(other.subject) == 2)) {
                let to = number(other.subject);
                let links = links_by_sqlite(&database, from, to);
                let shown = by_sqlite(&all, to, other);
                let rare = by_sqlite(&all, to, &Query { limit: 1000, ..other.clone() });
                let standing = |key: &String| match shown.iter().position(|row| row.0 == *key) {
                    Some(place) => Standing::Shown(place),
                    None if rare.iter().any(|row| row.0 == *key) => Standing::Rare,
                    None => Standing::NotRare,
                };
                for row in &finding.rows {
                    let linked = links.iter().filter(|(key, _)| *key == text(row.key));
                    let mut linked: Vec<_> = linked.map(|(_, other)| (standing(other), other.clone())).collect();
                    linked.sort();
                    linked.truncate(NAMED_COUNTERPARTS);
                    let found = row.counterparts.iter().filter(|found| found.subject == other.subject);
                    let found: Vec<_> = found.map(|found| (found.standing, text(found.key))).collect();
                    prop_assert_eq!(found, linked);
                }
            }
        }
    }
}

fn event(agent: usize, action: &str, module: &str) -> String {
    let document = json!({
        "@timestamp": "2026-01-31T00:00:00Z",
        "agent": { "id": format!("agent-{agent}") },
        "event": { "action": action, "type": "start" },
        "lkm_monitor": { "module": { "name": module } },
        "process": { "entity_id": "p" },
    });
    format!("{document}\n")
}

fn counted(lines: String) -> Vec<(Query, Groups)> {
    let input = ("input".to_owned(), move || Ok(std::io::Cursor::new(lines.into_bytes())));
    let queries = [Subject::Tools, Subject::Modules]
        .map(|subject| Query { since: Timestamp::MIN, ..Query::new(subject, Timestamp::now()) });
    let (groups, _) = scan::scan(vec![input], &queries, Keep::Details).unwrap();
    queries.into_iter().zip(groups).collect()
}

#[test]
fn a_group_remembers_a_bounded_number_of_traces() {
    for (processes, more) in [(REMEMBERED_TRACES, false), (3 * REMEMBERED_TRACES, true)] {
        let hunts = counted((0..processes).map(|agent| event(agent, "loaded-kernel-module", "m")).collect());
        let (_, group) = hunts[1].1.iter().next().unwrap();
        let detail = group.detail().unwrap();
        assert_eq!((group.count, detail.traces().count()), (processes as u64, REMEMBERED_TRACES));
        assert_eq!(detail.has_more_traces(), more);
    }
}

#[test]
fn a_row_names_a_bounded_number_of_counterparts() {
    let modules = NAMED_COUNTERPARTS + 5;
    let loads = (0..modules).map(|number| event(0, "loaded-kernel-module", &format!("m{number:02}")));
    let hunts = counted(loads.chain([event(0, "ran-module-tool", "")]).collect());
    let findings = findings(&hunts);
    let run = &findings[0].rows[0];
    assert_eq!((run.counterparts.len(), run.more_counterparts), (NAMED_COUNTERPARTS, 5));
    let shown: Vec<_> = run.counterparts.iter().map(|counterpart| counterpart.standing).collect();
    assert_eq!(shown, (0..NAMED_COUNTERPARTS).map(Standing::Shown).collect::<Vec<_>>(), "the first rows");
}
