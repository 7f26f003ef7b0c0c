//! Rows for people and for spreadsheets: a table, or CSV.

use std::borrow::Cow;

use comfy_table::{ContentArrangement, Table, presets};

use super::terminal::harmless;

/// For people: no cell rules the terminal.
pub(super) fn table<'a>(
    header: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| harmless(cell)));
    }
    format!("{table}\n")
}

/// RFC 4180, with a header. What a spreadsheet would take for a formula has an apostrophe in front, which makes a text of it there.
pub(super) fn csv<'a>(
    header: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row.iter().map(|cell| no_formula(cell).into_owned()))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn no_formula(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}").into() } else { cell.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 2]) -> Vec<String> {
        cells.map(str::to_owned).into()
    }

    #[test]
    fn a_cell_is_no_formula() {
        let rows = [row(["=HYPERLINK(1)", "a,\"b\""]), row(["-1", "@x"]), row(["x=1", ""])];
        assert_eq!(csv(["one", "two"], rows).unwrap(), "one,two\n'=HYPERLINK(1),\"a,\"\"b\"\"\"\n'-1,'@x\nx=1,\n");
    }

    #[test]
    fn a_cell_does_not_rule_the_terminal() {
        let table = table(["one", "two"], [row(["\u{1b}[2J", "\u{202e}ok"])]);
        assert!(table.contains("\\u{1b}[2J") && table.contains("\\u{202e}ok") && table.contains("two"), "{table}");
    }
}
