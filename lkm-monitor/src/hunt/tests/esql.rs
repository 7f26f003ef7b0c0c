//! The hunts in ES|QL (`dist/elastic/queries`) against ours: the same figures, and the same rows.
//!
//! ES|QL and SQL agree on nulls, so that the queries can be asked of SQLite once their words are put into SQL.

use std::collections::HashMap;

use proptest::prelude::*;
use rusqlite::{Connection, functions::FunctionFlags, types::Value as Cell};

use super::{super::record::ENDINGS, *};
use crate::{
    model::{rarity::WINDOW_DAYS, tool_run::TOOL_NAMES},
    select::Exclusions,
};

const FILES: &str = include_str!("../../../../dist/elastic/queries/rare-module-files.esql");
const TOOLS: &str = include_str!("../../../../dist/elastic/queries/rare-module-tool-runs.esql");
const MODULES: &str = include_str!("../../../../dist/elastic/queries/rare-modules.esql");

fn hunts() -> [(&'static str, Query); 3] {
    let query = |subject| Query::new(subject, Timestamp::from_second(NOW).unwrap());
    [(FILES, query(Subject::Files)), (TOOLS, query(Subject::Tools)), (MODULES, query(Subject::Modules))]
}

/// The commands of a query, without comments.
fn stages(query: &str) -> Vec<String> {
    let lines: Vec<_> = query.lines().filter(|line| !line.starts_with("//")).collect();
    lines.join("\n").split("\n| ").map(|stage| stage.trim().to_owned()).collect()
}

#[test]
fn figures_are_the_hunts() {
    for (text, query) in hunts() {
        let stages = stages(text);
        let has = |stage: String| assert!(stages.contains(&stage), "{stage} is not in\n{text}");
        has(format!("WHERE @timestamp >= NOW() - {} days", WINDOW_DAYS));
        has(format!("LIMIT {}", query.limit));
        match query.max_count {
            Some(count) => has(format!("WHERE count <= {count} AND agents <= {}", query.max_agents)),
            None => has(format!("WHERE agents <= {}", query.max_agents)),
        }
        if let Some(most) = query.max_args {
            has(format!("WHERE process.args_count <= {most}"));
        }
    }
}

#[test]
fn names_are_the_hunts() {
    let quoted = |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    assert!(TOOLS.contains(&format!("process.name IN ({})", quoted(&TOOL_NAMES))));
    let endings: Vec<_> = ENDINGS.iter().map(|ending| format!("file.path LIKE \"*{ending}\"")).collect();
    let mut expected = vec![format!("WHERE {}", endings.join(" OR "))];
    expected.extend(Exclusions::defaults().map(|exclusion| format!("WHERE file.path NOT LIKE \"{}\"", exclusion.path)));
    let found: Vec<_> = stages(FILES).into_iter().filter(|stage| stage.contains(" LIKE ")).collect();
    assert_eq!(found, expected);
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(String),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    let part_of_word = |letter: &char| letter.is_alphanumeric() || "_.@".contains(*letter);
    while let Some(letter) = rest.next() {
        if letter == '"' {
            let mut text = String::new();
            while let Some(letter) = rest.next().filter(|letter| *letter != '"') {
                text.push(match letter {
                    '\\' => match rest.next() {
                        Some('n') => '\n',
                        other => panic!("\\{other:?}"),
                    },
                    plain => plain,
                });
            }
            tokens.push(Token::Text(text));
        } else if part_of_word(&letter) {
            let mut word = letter.to_string();
            while let Some(letter) = rest.next_if(part_of_word) {
                word.push(letter);
            }
            tokens.push(Token::Word(word));
        } else if !letter.is_whitespace() {
            let mut sign = letter.to_string();
            if "=!<>".contains(letter) {
                sign.extend(rest.next_if_eq(&'='));
            }
            tokens.push(Token::Sign(sign));
        }
    }
    tokens
}

/// An expression, or several with commas between them, in SQL.
fn sql(expression: &[Token]) -> String {
    let mut sql = String::new();
    for (at, token) in expression.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| expression.get(before));
        let translated = match token {
            Token::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Token::Sign(sign) if sign == "==" => "=".to_owned(),
            Token::Sign(sign) if sign == "(" && before == Some(&Token::Word("COUNT_DISTINCT".to_owned())) => {
                "(DISTINCT".to_owned()
            }
            Token::Sign(sign) => sign.clone(),
            Token::Word(word) if word == "COUNT_DISTINCT" => "COUNT".to_owned(),
            Token::Word(word) if word == "REPLACE" => "REPLACED".to_owned(),
            Token::Word(word) if word == "LIKE" => "GLOB".to_owned(),
            Token::Word(word) if word == "days" => format!("* {DAY}"),
            Token::Word(word) if ["true", "false"].contains(&word.as_str()) => word.clone(),
            Token::Word(word) if word.chars().all(|letter| letter.is_uppercase() || letter == '_') && word != "_" => {
                word.clone()
            }
            Token::Word(word) if word.chars().all(char::is_numeric) => word.clone(),
            Token::Word(field) => format!("\"{field}\""),
        };
        sql.push_str(&translated);
        sql.push(' ');
    }
    sql
}

/// Parts between commas that stand in no parentheses.
fn parts(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    tokens
        .split(|token| {
            let is = |sign: &str| *token == Token::Sign(sign.to_owned());
            depth += i32::from(is("(")) - i32::from(is(")"));
            depth == 0 && is(",")
        })
        .collect()
}

/// `name = expression`, as SQL names it.
fn named(part: &[Token]) -> String {
    let [Token::Word(name), Token::Sign(sign), expression @ ..] = part else { panic!("{part:?}") };
    assert_eq!(sign, "=");
    format!("{} AS \"{name}\"", sql(expression))
}

fn in_sql(query: &str) -> String {
    let mut whole = String::new();
    for stage in stages(query) {
        let (command, rest) = stage.split_once(' ').unwrap();
        let tokens = tokens(rest);
        let all = |of: &[Token]| parts(of).into_iter().map(named).collect::<Vec<_>>().join(", ");
        whole = match command {
            "FROM" => {
                assert_eq!(rest, "logs-lkm_monitor.events-* METADATA _id");
                "SELECT * FROM events".to_owned()
            }
            "WHERE" => format!("SELECT * FROM ({whole}) WHERE {}", sql(&tokens)),
            "EVAL" => format!("SELECT *, {} FROM ({whole})", all(&tokens)),
            "STATS" => {
                let by = tokens.iter().position(|token| *token == Token::Word("BY".to_owned())).unwrap();
                let keys = sql(&tokens[by + 1..]);
                format!("SELECT {}, {keys} FROM ({whole}) GROUP BY {keys}", all(&tokens[..by]))
            }
            "SORT" => format!("SELECT * FROM ({whole}) ORDER BY {}", sql(&tokens)),
            "LIMIT" => format!("SELECT * FROM ({whole}) LIMIT {rest}"),
            "KEEP" => format!("SELECT {} FROM ({whole})", sql(&tokens)),
            other => panic!("{other}"),
        };
    }
    whole
}

/// REPLACE for the patterns that the queries have: a text, or one at the beginning and what follows up to a slash.
fn replaced(text: &str, pattern: &str, with: &str) -> String {
    let Some(beginning) = pattern.strip_prefix('^') else { return text.replace(pattern, with) };
    let beginning = beginning.strip_suffix("[^/]*/").unwrap();
    let rest = text.strip_prefix(beginning).and_then(|rest| rest.split_once('/'));
    rest.map_or_else(|| text.to_owned(), |(_, rest)| format!("{with}{rest}"))
}

fn flatten(path: &str, value: &Value, fields: &mut HashMap<String, Cell>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, member, fields);
            }
        }
        Value::Array(elements) if elements.len() == 1 => flatten(path, &elements[0], fields),
        Value::String(text) if path == "@timestamp" => {
            let time: Timestamp = text.parse().unwrap();
            fields.insert(path.to_owned(), Cell::Integer(time.as_second()));
        }
        Value::String(text) => drop(fields.insert(path.to_owned(), Cell::Text(text.clone()))),
        Value::Number(number) => drop(fields.insert(path.to_owned(), Cell::Integer(number.as_i64().unwrap()))),
        Value::Bool(flag) => drop(fields.insert(path.to_owned(), Cell::Integer((*flag).into()))),
        Value::Null | Value::Array(_) => {}
    }
}

/// A document as it is found after the ingest pipeline.
fn indexed(at: usize, said: &Said) -> HashMap<String, Cell> {
    let mut document = document(said);
    if let Some(hit) = document.get_mut("_source") {
        document = hit.take();
    }
    let mut fields = HashMap::new();
    flatten("", &document, &mut fields);
    let id = fields.get("event.id").cloned().unwrap_or(Cell::Text(format!("own {at}")));
    fields.insert("_id".to_owned(), id);
    if let Some(args) = document["process"]["args"].as_array() {
        let args: Vec<_> = args.iter().filter_map(Value::as_str).collect();
        let is_ours = document["event"]["action"] == "ran-module-tool";
        let (field, between) =
            if is_ours { ("lkm_monitor.tool.arguments", "\n") } else { ("process.command_line", " ") };
        fields.insert(field.to_owned(), Cell::Text(args.join(between)));
    }
    fields
}

fn by_esql(all: &[Said], query: &str) -> Vec<(String, u64, u64, i64, i64)> {
    let database = Connection::open_in_memory().unwrap();
    let flags = FunctionFlags::SQLITE_UTF8;
    database.create_scalar_function("NOW", 0, flags, |_| Ok(NOW)).unwrap();
    database
        .create_scalar_function("REPLACED", 3, flags, |arguments| {
            let text: Option<String> = arguments.get(0)?;
            let (pattern, with): (String, String) = (arguments.get(1)?, arguments.get(2)?);
            Ok(text.map(|text| replaced(&text, &pattern, &with)))
        })
        .unwrap();
    let words = stages(query)[1..].iter().flat_map(|stage| tokens(stage)).collect::<Vec<_>>();
    let mut fields: Vec<String> = words
        .into_iter()
        .filter_map(|token| match token {
            Token::Word(word) if word == "_id" || word.contains(['.', '@']) => Some(word),
            _ => None,
        })
        .collect();
    fields.sort();
    fields.dedup();
    let columns = fields.iter().map(|field| format!("\"{field}\"")).collect::<Vec<_>>().join(", ");
    database.execute_batch(&format!("CREATE TABLE events ({columns})")).unwrap();
    let places = vec!["?"; fields.len()].join(", ");
    for (at, said) in all.iter().enumerate() {
        let mut cells = indexed(at, said);
        let cells = fields.iter().map(|field| cells.remove(field).unwrap_or(Cell::Null));
        database.execute(&format!("INSERT INTO events VALUES ({places})"), rusqlite::params_from_iter(cells)).unwrap();
    }
    let mut statement = database.prepare(&in_sql(query)).unwrap();
    let rows = statement
        .query_map([], |row| {
            let shown = |at: usize| -> rusqlite::Result<String> {
                Ok(match row.get(at)? {
                    Cell::Text(text) => text,
                    Cell::Integer(number) => number.to_string(),
                    other => panic!("{other:?}"),
                })
            };
            let key = format!("{}\u{1}{}", shown(0)?, shown(1)?);
            Ok((key, row.get("count")?, row.get("agents")?, row.get("first_seen")?, row.get("last_seen")?))
        })
        .unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_hunt_in_esql_finds_what_we_find(said in proptest::collection::vec(said(), 0..120)) {
        let all = twice_the_same(said);
        for (text, query) in hunts() {
            let ours = by_us(&all, &query).into_iter().map(|(key, count, agents, first, last)| {
                (key.replace('\u{2}', " "), count, agents, first, last)
            });
            prop_assert_eq!(by_esql(&all, text), ours.collect::<Vec<_>>());
        }
    }
}
