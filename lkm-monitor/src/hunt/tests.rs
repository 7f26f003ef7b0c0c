//! Every hunt against the same question, asked of SQLite.

mod esql;
mod reported;

use std::io::Write as _;

use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{scan::Keep, source::Line, *};
use crate::model::GroupKey;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

/// What the documents of one test say, from few values, so that they meet.
#[derive(Clone, Debug)]
struct Said {
    id: Option<u8>,
    age_s: i64,
    agent: u8,
    subject: u8,
    of: usize,
    by: usize,
    args_count: u64,
    odd: u8,
    /// Of the file that a load came from, in [`PATHS`].
    from: usize,
    /// Of the file; 0 is none.
    hash: u8,
    /// Of what the kernel took in; 0 is none.
    image: u8,
    process: reported::SaidProcess,
}

/// Paths, and what they are the same as.
const PATHS: [[&str; 2]; 6] = [
    ["/tmp/a.ko", "/tmp/a.ko"],
    ["/lib/modules/6.1.0/kernel/b.ko.xz", "/lib/modules/*/kernel/b.ko.xz"],
    ["/lib/modules/6.2.0/kernel/b.ko.xz", "/lib/modules/*/kernel/b.ko.xz"],
    ["/usr/lib/modules/6.1.0/c.ko.zst", "/usr/lib/modules/*/c.ko.zst"],
    ["/run/initramfs/d.ko", ""],
    ["/tmp/e.kop", ""],
];
const PROGRAMS: [&str; 2] = ["/usr/bin/cp", "/usr/bin/dpkg"];
const ARGS: [&[&str]; 4] = [&["modprobe", "a"], &["modprobe", "b"], &["rmmod", "-f", "a"], &["insmod"]];

fn said() -> impl Strategy<Value = Said> {
    let age = prop_oneof![0..40 * DAY, Just(30 * DAY), Just(30 * DAY + 1)];
    let id = proptest::option::weighted(0.7, 0..40_u8);
    let group = (id, age, 0..6_u8, 0..3_u8, 0..6_usize, 0..2_usize, 0..6_u64, 0..12_u8);
    (group, 0..6_usize, 0..3_u8, 0..3_u8, reported::said_process()).prop_map(|(group, from, hash, image, process)| {
        let (id, age_s, agent, subject, of, by, args_count, odd) = group;
        Said { id, age_s, agent, subject, of, by, args_count, odd, from, hash, image, process }
    })
}

fn time(said: &Said) -> Timestamp {
    Timestamp::from_second(NOW - said.age_s).unwrap()
}

fn document(said: &Said) -> Value {
    let mut document = json!({
        "@timestamp": time(said).to_string(),
        "agent": { "id": format!("agent-{}", said.agent) },
        "event": {},
        "host": { "os": { "type": if said.odd == 1 { "windows" } else { "linux" } } },
        "lkm_monitor": {},
        "a field": { "of others": [1, null, { "x": "y" }] },
    });
    if let Some(id) = said.id {
        document["event"]["id"] = json!(format!("event-{id}"));
    }
    match said.subject {
        0 => {
            document["event"]["action"] = json!("created-kernel-module-file");
            document["event"]["type"] = if said.odd == 2 { json!("creation") } else { json!(["creation"]) };
            document["file"] = json!({ "path": PATHS[said.of][0] });
            document["process"] = json!({ "executable": PROGRAMS[said.by] });
        }
        1 => {
            document["event"]["type"] = json!(["start"]);
            document["event"]["action"] = if said.odd == 2 { json!(["exec"]) } else { json!("ran-module-tool") };
            let args = ARGS[said.of % ARGS.len()];
            document["process"] = json!({ "name": "modprobe", "args": args, "args_count": said.args_count });
            said.process.put(&mut document);
        }
        _ => {
            document["event"]["action"] = json!("loaded-kernel-module");
            document["event"]["type"] = json!(["start"]);
            document["lkm_monitor"]["module"] = json!({ "name": format!("m{}", said.of) });
            document["file"] = json!({ "path": PATHS[said.from][0] });
            if said.image > 0 {
                document["lkm_monitor"]["image"] = json!({ "sha256": said.image.to_string(), "size": 4096 });
            }
            said.process.put(&mut document);
        }
    }
    if said.hash > 0 && said.subject != 1 {
        document["file"]["hash"] = json!({ "sha256": said.hash.to_string() });
    }
    match said.odd {
        3 => document["event"]["outcome"] = json!("failure"),
        4 => document["lkm_monitor"]["late"] = json!(true),
        5 => document["lkm_monitor"]["tool"] = json!({ "effect": "nothing" }),
        6 => return json!({ "_index": "logs", "_source": document }),
        _ => {}
    }
    document
}

/// The same facts in a table, each in a column of its own, with a view `once` of what counts since `?`.
fn database(all: &[Said], since: Timestamp) -> Connection {
    let database = Connection::open_in_memory().unwrap();
    database
        .execute_batch(&format!(
            "CREATE TABLE said (id TEXT, at INTEGER, agent TEXT, subject INTEGER, key TEXT, args INTEGER, odd INTEGER,
                                entity TEXT, started TEXT, path TEXT, hash TEXT);
             CREATE VIEW once AS SELECT * FROM (
                 SELECT *, ROW_NUMBER() OVER (PARTITION BY subject, key, id ORDER BY rowid) AS number
                 FROM said
                 WHERE key IS NOT NULL AND at >= {} AND odd NOT IN (1, 4)
                   AND NOT (odd = 3 AND subject <> 1) AND NOT (odd = 5 AND subject = 1)
             ) WHERE number = 1",
            since.as_second()
        ))
        .unwrap();
    for (at, said) in all.iter().enumerate() {
        let id = said.id.map_or_else(|| format!("own {at}"), |id| id.to_string());
        let hash = (said.hash > 0).then(|| said.hash.to_string());
        let image = (said.image > 0).then(|| said.image.to_string());
        let key = match said.subject {
            0 if PATHS[said.of][1].is_empty() => None,
            0 => Some(format!("{}\u{1}{}", PATHS[said.of][1], PROGRAMS[said.by])),
            1 => Some(format!("{}\u{1}{}", ARGS[said.of % ARGS.len()].join("\u{2}"), said.args_count)),
            _ => Some(format!("m{}\u{1}{}", said.of, image.or(hash.clone()).unwrap_or_default())),
        };
        let path = PATHS[if said.subject == 0 { said.of } else { said.from }][0];
        let (entity, started) = said.process.columns();
        database
            .execute(
                "INSERT INTO said VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    id,
                    NOW - said.age_s,
                    said.agent.to_string(),
                    said.subject,
                    key,
                    said.args_count,
                    said.odd,
                    entity,
                    started,
                    path,
                    hash
                ],
            )
            .unwrap();
    }
    database
}

/// The hunt in SQL.
fn by_sqlite(all: &[Said], subject: u8, query: &Query) -> Vec<(String, u64, u64, i64, i64)> {
    let database = database(all, query.since);
    let mut statement = database
        .prepare(
            "SELECT key, COUNT(*) AS count, COUNT(DISTINCT agent) AS agents, MIN(at), MAX(at)
             FROM once WHERE subject = ?1
             GROUP BY key
             HAVING agents <= ?2 AND (?3 IS NULL OR count <= ?3) AND (?4 IS NULL OR MAX(args) <= ?4)
             ORDER BY count, agents, key LIMIT ?5",
        )
        .unwrap();
    let bounds =
        params![subject, query.max_agents, query.max_count, query.max_args, i64::try_from(query.limit).unwrap(),];
    let rows = statement
        .query_map(bounds, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn text(key: &GroupKey) -> String {
    match key {
        GroupKey::File { path, executable } => format!("{path}\u{1}{executable}"),
        GroupKey::Tool { args, args_count } => format!("{}\u{1}{args_count}", args.join("\u{2}")),
        GroupKey::Module { name, sha256 } => format!("{name}\u{1}{sha256}"),
    }
}

/// What a scan of two inputs finds, with lines that no hunt takes.
fn scanned(all: &[Said], queries: &[Query], keep: Keep) -> Vec<Groups> {
    let lines = |said: &[Said]| said.iter().map(|said| format!("{}\n\n{{}}\n", document(said))).collect::<String>();
    let (first, second) = all.split_at(all.len() / 3);
    let input = |said: &[Said]| {
        let text = lines(said).into_bytes();
        ("input".to_owned(), move || Ok(std::io::Cursor::new(text)))
    };
    let (groups, totals) = scan::scan(vec![input(first), input(second)], queries, keep).unwrap();
    assert_eq!((totals.lines, totals.malformed), (2 * all.len() as u64, 0));
    groups
}

fn by_us(all: &[Said], query: &Query) -> Vec<(String, u64, u64, i64, i64)> {
    let groups = scanned(all, std::slice::from_ref(query), Keep::Figures);
    rows(query, &groups[0])
}

fn rows(query: &Query, groups: &Groups) -> Vec<(String, u64, u64, i64, i64)> {
    let row = |(key, group): (&GroupKey, &Group)| {
        (text(key), group.count, group.agents(), group.first.as_second(), group.last.as_second())
    };
    query.rows(groups).into_iter().map(row).collect()
}

/// A document that comes twice says the same twice.
fn twice_the_same(said: Vec<Said>) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    for mut one in said {
        if let Some(first) = all.iter().find(|other| one.id.is_some() && other.id == one.id) {
            one = first.clone();
        }
        all.push(one);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_hunt_finds_what_sql_finds(
        said in proptest::collection::vec(said(), 0..120),
        max_agents in 0..6_u64,
        max_count in proptest::option::of(0..4_u64),
        limit in 0..20_usize,
    ) {
        let all = twice_the_same(said);
        for (number, subject) in [(0, Subject::Files), (1, Subject::Tools), (2, Subject::Modules)] {
            let standard = Query::new(subject, Timestamp::from_second(NOW).unwrap());
            prop_assert_eq!(by_us(&all, &standard), by_sqlite(&all, number, &standard));
            let query = Query { max_agents, max_count, limit, ..standard };
            prop_assert_eq!(by_us(&all, &query), by_sqlite(&all, number, &query));
        }
    }

    #[test]
    fn no_line_makes_it_panic(line in any::<Vec<u8>>()) {
        let _ = record::parse(&line, Subject::Files);
    }

    #[test]
    fn packed_lines_are_the_same_lines(
        texts in proptest::collection::vec("[a-z{}\"]{1,40}", 0..40),
        cut in 0..40_usize,
    ) {
        let (first, second) = texts.split_at(cut.min(texts.len()));
        let part = |texts: &[String]| texts.iter().map(|text| format!("{text}\n")).collect::<String>().into_bytes();
        let gzip = |bytes: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
        let [first, second] = [part(first), part(second)];
        for packed in [
            [first.clone(), second.clone()].concat(),
            [gzip(&first), gzip(&second)].concat(),
            [zstd(&first), zstd(&second)].concat(),
        ] {
            let read = lines(source::unpacked(std::io::Cursor::new(packed)).unwrap());
            let numbered = (1..).zip(&texts).map(|(number, text)| (number, Some(text.clone())));
            prop_assert_eq!(read, numbered.collect::<Vec<_>>());
        }
    }
}

/// All lines with their numbers; `None` for those that are too long.
fn lines(reader: impl std::io::BufRead) -> Vec<(u64, Option<String>)> {
    let mut read = Vec::new();
    source::blocks(
        reader,
        || None,
        |block| {
            read.extend(block.lines().map(|(number, line)| match line {
                Line::Whole(line) => (number, Some(String::from_utf8(line.trim_ascii().to_vec()).unwrap())),
                Line::TooLong => (number, None),
            }));
            true
        },
    )
    .unwrap();
    read
}

#[test]
fn malformed_lines_are_counted_and_named() {
    let text = b"{}\nnonsense\n{\"event\":{\"type\":[\"creation\"]},\"file\":{\"path\":\"/x.ko\"}}\n";
    let query = Query::new(Subject::Files, Timestamp::from_second(NOW).unwrap());
    let input = ("a file".to_owned(), || Ok(&text[..]));
    let (_, totals) = scan::scan(vec![input], &[query], Keep::Figures).unwrap();
    assert_eq!((totals.lines, totals.malformed), (3, 2));
    assert_eq!(totals.named.iter().map(|malformed| malformed.line).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((totals.named[1].input.as_str(), totals.named[1].error.as_str()), ("a file", "it has no @timestamp"));
}

#[test]
fn an_input_that_cannot_be_read_is_named() {
    let query = Query::new(Subject::Files, Timestamp::from_second(NOW).unwrap());
    let open = || Err::<&[u8], _>(std::io::Error::other("broken"));
    let error = scan::scan(vec![("a file".to_owned(), open)], &[query], Keep::Figures).unwrap_err();
    assert_eq!(error.to_string(), "a file: broken");
}

#[test]
fn a_long_line_is_one_line() {
    let input = [vec![b'x'; 3 << 20], b"\n{}\n\n{}".to_vec()].concat();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(lines(&input[..]), [(1, None), (2, some("{}")), (4, some("{}"))]);
    let long = ["y".repeat(1 << 20).as_str(), "\n"].concat();
    let input = [b"{}\n", long.as_bytes(), b"{}\n"].concat();
    assert_eq!(lines(&input[..]), [(1, some("{}")), (2, None), (3, some("{}"))]);
}

#[test]
fn folders_are_read_by_the_names_of_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    for name in ["z.ndjson", "a.json.zst", "b/x.log.gz", "notes.txt"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    std::os::unix::fs::symlink(folder.path(), folder.path().join("b/loop.ndjson")).unwrap();
    let found = source::files(&[folder.path().to_owned(), "/dev/null".into()]).unwrap();
    let names: Vec<_> = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap_or(path)).collect();
    assert_eq!(names, ["a.json.zst", "b/x.log.gz", "z.ndjson", "/dev/null"].map(std::path::Path::new));
}

#[test]
fn lines_without_time_are_no_events() {
    let line = br#"{"event":{"type":["creation"]},"file":{"path":"/tmp/x.ko"}}"#;
    assert!(matches!(record::parse(line, Subject::Files), Err(RecordError::NoTime)));
    assert!(record::parse(line, Subject::Tools).unwrap().is_none(), "of no interest");
    let time = br#"{"@timestamp":"yesterday","event":{"type":["creation"]},"file":{"path":"/tmp/x.ko"}}"#;
    assert!(matches!(record::parse(time, Subject::Files), Err(RecordError::Time(_))));
}

/// The store of a host, asked by the hunt, says what its documents say.
#[test]
fn a_store_says_what_documents_say() {
    use crate::{
        model::Kind,
        prevalence::{
            groups::KeyNames,
            name::GroupName,
            store::{Expiry, Limits, Store},
            tally::Window,
        },
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = Store::open(&path, Limits { window: Window { days: 30 }, max_groups: 10_000 }).unwrap();
    store.name_keys(&KeyNames::default()).unwrap();
    let file = |path: &str, hash: &str| GroupName::new(Kind::File, [path, "/usr/bin/cp", hash]);
    let tool = |args: &str, count: &str| GroupName::new(Kind::Tool, [args, count]);
    let now = NOW as u64;
    let mut at = |days_ago: u64, names: &[GroupName]| {
        let events: Vec<_> = names.iter().map(|name| (name.clone(), true)).collect();
        store.count(&events, now - days_ago * DAY as u64).unwrap();
    };
    at(40, &[file("/tmp/old.ko", "a")]);
    at(9, &[file("/tmp/a.ko", "a"), file("/run/initramfs/x.ko", "a"), tool("insmod\u{1f}a", "2")]);
    at(8, &[file("/tmp/a.ko", "b"), file("/lib/modules/*/b.ko", "c"), tool("insmod\u{1f}b", "2")]);
    at(7, &[tool("insmod\u{1f}b", "2"), tool("insmod\u{1f}a\u{1f}b\u{1f}c", "4")]);
    at(6, &[GroupName::new(Kind::Module, ["dummy", "abc"])]);
    store.write(now, Expiry::Doubtful).unwrap();
    let found = |subject, since_days: i64| {
        let mut query = Query::new(subject, Timestamp::from_second(NOW).unwrap());
        query.since = Timestamp::from_second(NOW - since_days * DAY).unwrap();
        let groups = own::groups(&path, std::slice::from_ref(&query)).unwrap();
        let rows = rows(&query, &groups[0]);
        rows.into_iter()
            .map(|(key, count, agents, first, last)| (key, count, agents, (NOW - first) / DAY, (NOW - last) / DAY))
            .collect::<Vec<_>>()
    };
    let row = |key: &str, count: u64, first: i64, last: i64| (key.to_owned(), count, 1, first, last);
    let b = "/lib/modules/*/b.ko\u{1}/usr/bin/cp";
    assert_eq!(found(Subject::Files, 30), [row(b, 1, 8, 8), row("/tmp/a.ko\u{1}/usr/bin/cp", 2, 9, 8)]);
    assert_eq!(found(Subject::Tools, 30), [row("insmod\u{2}a\u{1}2", 1, 9, 9)], "once, with few arguments");
    assert_eq!(found(Subject::Modules, 30), [row("dummy\u{1}abc", 1, 6, 6)]);
    assert_eq!(found(Subject::Files, 8).len(), 2);
    assert_eq!(found(Subject::Files, 8)[1].1, 1, "whole days count");
    assert!(own::groups(&folder.path().join("none"), &[]).is_err());
}
