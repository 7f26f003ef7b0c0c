//! The report: one page with the rows of all hunts, their days and their links. It needs nothing from anywhere.

mod markup;
mod policy;
mod table;
mod timeline;

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use tempfile::NamedTempFile;

use crate::hunt::{
    detail::REMEMBERED_TRACES,
    relations::{Finding, NAMED_COUNTERPARTS},
    scan::Totals,
};
use markup::{Markup, counted};
use timeline::Span;

const STYLE: &str = include_str!("report/report.css");
const SCRIPT: &str = include_str!("report/report.js");

/// Names of inputs that are shown.
const NAMED_INPUTS: usize = 10;

/// What the page says.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) made: Timestamp,
    pub(super) since: Timestamp,
    /// As they were named; none where it was standard input.
    pub(super) inputs: Vec<String>,
    pub(super) totals: &'a Totals,
    pub(super) findings: Vec<Finding<'a>>,
}

/// Fails where [`write`] would, as far as that can be known.
pub(super) fn ensure_writable(path: &Path) -> anyhow::Result<()> {
    beside(path).map(drop)
}

/// Writes the page, for its owner alone. Who looks at the path sees what was there before, or the whole page.
pub(super) fn write(path: &Path, report: &Report<'_>) -> anyhow::Result<()> {
    let mut file = beside(path)?;
    let context = || format!("cannot write the report {}", path.display());
    file.write_all(page(report).as_bytes()).and_then(|()| file.as_file().sync_all()).with_context(context)?;
    file.persist(path).map(drop).with_context(context)
}

/// A file that is gone if it is not given the path's name.
fn beside(path: &Path) -> anyhow::Result<NamedTempFile> {
    let context = || format!("cannot write the report {}", path.display());
    // To put a file where a device or a link is would be no help to anybody.
    let is_free = fs::symlink_metadata(path).map_or(true, |facts| facts.is_file());
    ensure!(is_free, "cannot write the report {}: there is something else than a file", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its mode is 0600.
    NamedTempFile::with_prefix_in(".report-", folder).with_context(context)
}

fn page(report: &Report<'_>) -> String {
    let mut html = Markup::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"");
    html.text(policy::policy(SCRIPT, STYLE)).raw("\">\n");
    html.raw(
        "<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"referrer\" content=\"no-referrer\">\n",
    );
    html.raw("<title>Rare kernel modules: lkm-monitor hunt</title>\n<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n<body>\n");
    head(&mut html, report);
    let span = Span::of(report.since, report.made, &report.findings);
    report.findings.iter().for_each(|finding| table::section(&mut html, finding, span));
    notes(&mut html);
    html.raw("<script>").raw(SCRIPT).raw("</script>\n</body>\n</html>\n");
    html.finish()
}

fn head(html: &mut Markup, report: &Report<'_>) {
    let Report { made, since, inputs, totals, findings } = report;
    html.raw("<header>\n<h1>Rare kernel modules</h1>\n<nav>");
    for finding in findings {
        let table::Words { title, anchor, .. } = table::words(finding.query.subject);
        html.raw("<a href=\"#").raw(anchor).raw("\">").raw(title).raw("</a> <span class=\"none\">");
        html.text(finding.rows.len()).raw("</span> ");
    }
    html.raw("</nav>\n<dl class=\"facts\">\n<dt>Made</dt><dd>").text(made.strftime("%Y-%m-%d %H:%M:%S UTC"));
    html.raw(" by lkm-monitor ").raw(env!("CARGO_PKG_VERSION")).raw("</dd>\n<dt>Events since</dt><dd>");
    html.text(since.strftime("%Y-%m-%d %H:%M:%S UTC")).raw("</dd>\n<dt>Input</dt><dd>");
    if inputs.is_empty() {
        html.raw("standard input");
    }
    for (number, input) in inputs.iter().take(NAMED_INPUTS).enumerate() {
        html.raw(if number > 0 { ", " } else { "" }).name(input);
    }
    if inputs.len() > NAMED_INPUTS {
        html.text(format!(" and {} more", inputs.len() - NAMED_INPUTS));
    }
    html.raw("</dd>\n<dt>Lines read</dt><dd>").text(totals.lines).raw("</dd>\n<dt>Malformed</dt><dd>");
    html.text(counted(totals.malformed, "line"));
    if totals.malformed > 0 {
        html.raw("<details><summary>the first of them</summary><ul>");
        for malformed in &totals.named {
            html.raw("<li>").name(&malformed.input).text(format!(" line {}: ", malformed.line));
            html.name(&malformed.error).raw("</li>");
        }
        html.raw("</ul></details>");
    }
    html.raw("</dd>\n</dl>\n</header>\n");
}

fn notes(html: &mut Markup) {
    html.raw("<footer>\n<h2>How to read this</h2>\n<ul>\n");
    html.raw(
        "<li>Days and times are UTC. Each plot has a height of its own: its tallest bar is its own busiest day.</li>\n",
    );
    html.raw("<li>A run of a tool and a load are linked when one process of one agent did both: by <code>process.entity_id</code>, ");
    html.raw("or, where a document has none, by host, <code>process.pid</code> and <code>process.start</code>.</li>\n");
    html.raw("<li>A load and a file are linked by agent and <code>file.path</code>, and by <code>file.hash.sha256</code> where ");
    html.raw("both documents have one.</li>\n<li>Of each group ").text(REMEMBERED_TRACES);
    html.raw(" different processes or files are remembered, and up to ").text(NAMED_COUNTERPARTS);
    html.raw(" links of one kind are named in a row. Of a busier group links may be missing.</li>\n</ul>\n</footer>\n");
}

#[cfg(test)]
mod tests;
