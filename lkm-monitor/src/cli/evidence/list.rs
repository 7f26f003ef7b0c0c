//! What is kept, for people and for programs.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::terminal::harmless,
    evidence::{Archive, Digest},
    model::text::{hex, shorten},
};

/// Digits of a hash in the table, which are enough to export it.
const SHOWN_DIGITS: usize = 16;
const HEADER: [&str; 8] = ["SHA-256", "Bytes", "Kept", "Module", "First seen", "Last seen", "Loads", "Path"];
/// Of a name or a path, which are whole in the other form.
const MAX_CELL_BYTES: usize = 160;
const NOTHING: &str = "-";

/// For people.
pub(super) fn table(archive: &Archive, out: &mut impl Write) -> anyhow::Result<()> {
    let mut rows: Vec<_> = archive.digests()?.iter().map(|digest| row(archive, digest)).collect();
    rows.sort_by_key(|(last_seen, _)| *last_seen);
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(HEADER);
    for (_, row) in rows {
        table.add_row(row.map(|cell| harmless(&cell)));
    }
    Ok(writeln!(out, "{table}")?)
}

fn row(archive: &Archive, digest: &Digest) -> (Option<Timestamp>, [String; 8]) {
    let nothing = || NOTHING.to_owned();
    let hash = hex(digest).chars().take(SHOWN_DIGITS).collect();
    let (bytes, kept) = match archive.header(digest) {
        Ok(header) if header.is_whole() => (header.size.to_string(), "whole".to_owned()),
        Ok(header) => (header.size.to_string(), format!("first {}", header.kept_bytes)),
        Err(error) => (nothing(), error.to_string()),
    };
    let record = match archive.record(digest) {
        Ok(record) => record,
        Err(error) => {
            return (None, [hash, bytes, kept, error.to_string(), nothing(), nothing(), nothing(), nothing()]);
        }
    };
    // The last one is what an analyst looks for.
    let last = record.shown_loads.last();
    let shown = |text: Option<&str>| text.map_or_else(nothing, |text| shorten(text, MAX_CELL_BYTES));
    let module = shown(last.map(|load| load.module_name.as_str()));
    let path = shown(last.and_then(|load| load.path.as_deref()));
    let [first_seen, last_seen] = [record.first_seen, record.last_seen].map(|time| time.strftime("%FT%TZ").to_string());
    (Some(record.last_seen), [hash, bytes, kept, module, first_seen, last_seen, record.loads.to_string(), path])
}

/// One object a line.
pub(super) fn json(archive: &Archive, out: &mut impl Write) -> anyhow::Result<()> {
    for digest in archive.digests()? {
        writeln!(out, "{}", object(archive, &digest))?;
    }
    Ok(())
}

fn object(archive: &Archive, digest: &Digest) -> Value {
    let mut object = json!({ "sha256": hex(digest) });
    match archive.header(digest) {
        Ok(header) => {
            object["size"] = header.size.into();
            object["kept_bytes"] = header.kept_bytes.into();
            object["whole"] = header.is_whole().into();
            object["captured"] = header.captured.to_string().into();
        }
        Err(error) => object["image_error"] = error.to_string().into(),
    }
    match archive.record(digest) {
        Ok(record) => {
            object["first_seen"] = record.first_seen.to_string().into();
            object["last_seen"] = record.last_seen.to_string().into();
            object["loads"] = record.loads.into();
            object["shown_loads"] = serde_json::to_value(&record.shown_loads).unwrap_or_default();
        }
        Err(error) => object["record_error"] = error.to_string().into(),
    }
    object
}
