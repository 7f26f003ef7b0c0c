//! Rows of a hunt, as a table, JSON or CSV.

use serde_json::{Value, json};

use crate::{
    cli::rows,
    hunt::{Group, Subject},
    model::GroupKey,
};

type Row<'a> = (&'a GroupKey, &'a Group);

/// What a row is of: the names of the columns in front of the figures.
const fn columns(subject: Subject) -> [&'static str; 2] {
    match subject {
        Subject::Files => ["file.path", "process.executable"],
        Subject::Tools => ["process.args", "process.args_count"],
        Subject::Modules => ["module.name", "module.sha256"],
    }
}

const FIGURES: [&str; 4] = ["count", "agents", "first", "last"];

fn cells((key, group): &Row<'_>) -> [String; 6] {
    let [of, by] = match key {
        GroupKey::File { path, executable } => [path.clone(), executable.clone()],
        GroupKey::Tool { args, args_count } => [args.join(" "), args_count.to_string()],
        GroupKey::Module { name, sha256 } => [name.clone(), sha256.clone()],
    };
    [of, by, group.count.to_string(), group.agents().to_string(), group.first.to_string(), group.last.to_string()]
}

/// For people.
pub(super) fn table(subject: Subject, rows: &[Row<'_>]) -> String {
    rows::table(header(subject), rows.iter().map(|row| cells(row).into()))
}

/// One object a line, its arguments apart.
pub(super) fn json(rows: &[Row<'_>]) -> String {
    let object = |(key, group): &Row<'_>| -> Value {
        let mut row = match key {
            GroupKey::File { path, executable } => json!({ "file.path": path, "process.executable": executable }),
            GroupKey::Tool { args, args_count } => json!({ "process.args": args, "process.args_count": args_count }),
            GroupKey::Module { name, sha256 } => json!({ "module.name": name, "module.sha256": sha256 }),
        };
        let figures =
            [json!(group.count), json!(group.agents()), json!(group.first.to_string()), json!(group.last.to_string())];
        for (name, figure) in FIGURES.into_iter().zip(figures) {
            row[name] = figure;
        }
        row
    };
    rows.iter().map(|row| format!("{}\n", object(row))).collect()
}

/// For spreadsheets, with a header.
pub(super) fn csv(subject: Subject, rows: &[Row<'_>]) -> anyhow::Result<String> {
    rows::csv(header(subject), rows.iter().map(|row| cells(row).into()))
}

fn header(subject: Subject) -> impl Iterator<Item = &'static str> {
    columns(subject).into_iter().chain(FIGURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(key: &GroupKey, shown: impl Fn(&[Row<'_>]) -> String) -> String {
        let line = br#"{"@timestamp":"2026-01-31T00:00:00Z","event":{"type":["creation"]},"file":{"path":"/x.ko"}}"#;
        let mut groups = crate::hunt::Groups::new(3);
        groups.add(&crate::hunt::record::parse(line, Subject::Files).unwrap().unwrap());
        let (_, group) = groups.iter().next().unwrap();
        shown(&[(key, group)])
    }

    #[test]
    fn a_name_does_not_rule_the_terminal() {
        let key = GroupKey::Module { name: "\u{1b}[2J\u{202e}ok".to_owned(), sha256: String::new() };
        let table = rows(&key, |rows| table(Subject::Modules, rows));
        assert!(table.contains("\\u{1b}[2J\\u{202e}ok"), "{table}");
    }

    #[test]
    fn rows_are_the_same_for_programs() {
        let key = GroupKey::Tool { args: vec!["insmod".to_owned(), "a \"b\", c".to_owned()], args_count: 2 };
        let time = "2026-01-31T00:00:00Z";
        assert_eq!(
            rows(&key, |rows| csv(Subject::Tools, rows).unwrap()),
            format!(
                "process.args,process.args_count,count,agents,first,last\n\"insmod a \"\"b\"\", c\",2,1,1,{time},{time}\n"
            )
        );
        let row: Value = serde_json::from_str(&rows(&key, json)).unwrap();
        assert_eq!(
            (&row["process.args"][1], &row["count"], &row["last"]),
            (&json!("a \"b\", c"), &json!(1), &json!(time))
        );
    }
}
