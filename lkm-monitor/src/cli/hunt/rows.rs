//! Rows of a hunt, as a table, JSON or CSV.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use crate::hunt::{Group, Subject, record::Key};

type Row<'a> = (&'a Key, &'a Group);

/// What a row is of: the names of the columns in front of the figures.
const fn columns(subject: Subject) -> [&'static str; 2] {
    match subject {
        Subject::Files => ["file.path", "process.executable"],
        Subject::Tools => ["process.args", "process.args_count"],
        Subject::Modules => ["module.name", "file.hash.sha256"],
    }
}

const FIGURES: [&str; 4] = ["count", "agents", "first", "last"];

fn cells((key, group): &Row<'_>) -> [String; 6] {
    let [of, by] = match key {
        Key::File { path, executable } => [path.clone(), executable.clone()],
        Key::Tool { args, args_count } => [args.join(" "), args_count.to_string()],
        Key::Module { name, sha256 } => [name.clone(), sha256.clone()],
    };
    [of, by, group.count.to_string(), group.agents().to_string(), group.first.to_string(), group.last.to_string()]
}

/// For people. Control characters are shown, not sent to the terminal.
pub(super) fn table(subject: Subject, rows: &[Row<'_>]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns(subject).into_iter().chain(FIGURES));
    for row in rows {
        table.add_row(cells(row).map(|cell| plain(&cell)));
    }
    format!("{table}\n")
}

fn plain(cell: &str) -> String {
    cell.chars()
        .flat_map(|character| {
            let escaped = character.is_control().then(|| character.escape_default());
            let itself = escaped.is_none().then_some(character);
            escaped.into_iter().flatten().chain(itself)
        })
        .collect()
}

/// One object a line, its arguments apart.
pub(super) fn json(rows: &[Row<'_>]) -> String {
    let object = |(key, group): &Row<'_>| -> Value {
        let mut row = match key {
            Key::File { path, executable } => json!({ "file.path": path, "process.executable": executable }),
            Key::Tool { args, args_count } => json!({ "process.args": args, "process.args_count": args_count }),
            Key::Module { name, sha256 } => json!({ "module.name": name, "file.hash.sha256": sha256 }),
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

/// RFC 4180, with a header.
pub(super) fn csv(subject: Subject, rows: &[Row<'_>]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns(subject).into_iter().chain(FIGURES))?;
    for row in rows {
        writer.write_record(cells(row))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
