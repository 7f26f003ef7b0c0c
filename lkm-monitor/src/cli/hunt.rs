//! `lkm-monitor hunt`: what is rare among the documents of many hosts.

mod progress;
mod report;
mod rows;

use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::{
    config::STORE,
    hunt::{
        Groups, Query, Subject, own, query, relations,
        scan::{Keep, Malformed, Totals, scan},
        source,
    },
    model::rarity::RARE_ARGS,
};
use progress::Progress;

#[derive(Debug, Args)]
pub(super) struct HuntArgs {
    #[command(subcommand)]
    hunt: Hunt,
}

#[derive(Debug, Subcommand)]
enum Hunt {
    /// Module files that appeared on few hosts
    Files(Common),
    /// Runs of module tools that nobody else made
    Tools(Tools),
    /// Modules that were loaded on few hosts
    Modules(Common),
}

#[derive(Debug, Args)]
struct Tools {
    #[command(flatten)]
    common: Common,
    /// Most arguments of a run
    #[arg(long, default_value_t = RARE_ARGS)]
    max_args: u64,
}

#[derive(Debug, Args)]
struct Common {
    /// Files or folders of documents, one JSON object a line, plain, gzip or zstd; standard input without it
    #[arg(long, value_name = "PATH", num_args = 1..)]
    input: Vec<PathBuf>,
    /// What the daemon of this host has counted, in this file or where it is by itself; whole days count
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STORE, conflicts_with = "input")]
    store: Option<PathBuf>,
    /// Events since then: a number of days (30d), hours (12h), or a time (2026-01-31T00:00:00Z)
    #[arg(long, value_parser = since, default_value = "30d")]
    since: Timestamp,
    /// Most agents of a rare group [default: 3, of tool runs 1]
    #[arg(long)]
    max_agents: Option<u64>,
    /// Most events of a rare group [default: any number, of tool runs 1]
    #[arg(long)]
    max_count: Option<u64>,
    /// Paths of files that do not count, besides those of the initramfs tools
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<glob::Pattern>,
    /// Rows to show
    #[arg(long, default_value_t = query::LIMIT)]
    limit: usize,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Writes a report on all three hunts too, a page that needs no network; bounds that are given are those of this hunt alone
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    /// One object a row and line
    Json,
    Csv,
}

fn since(text: &str) -> Result<Timestamp, String> {
    let ago = |number: &str, hours: i64| {
        let number: u32 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
        Timestamp::now()
            .checked_sub(SignedDuration::from_hours(hours * i64::from(number)))
            .map_err(|error| error.to_string())
    };
    match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => ago(days, 24),
        (_, Some(hours)) => ago(hours, 1),
        _ => text.parse().map_err(|error: jiff::Error| error.to_string()),
    }
}

/// Reads all documents and writes the rows, and the report if one is asked for. Malformed lines are named on standard error and do not
/// fail it.
pub(super) fn run(args: HuntArgs) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now();
    let (subject, common, max_args) = match args.hunt {
        Hunt::Files(common) => (Subject::Files, common, None),
        Hunt::Tools(tools) => (Subject::Tools, tools.common, Some(tools.max_args)),
        Hunt::Modules(common) => (Subject::Modules, common, None),
    };
    let standard = |subject| {
        let query = Query::new(subject, now);
        let exclude = query.exclude.iter().chain(&common.exclude).cloned().collect();
        Query { since: common.since, exclude, limit: common.limit, ..query }
    };
    let asked = standard(subject);
    let asked = Query {
        max_count: common.max_count.or(asked.max_count),
        max_agents: common.max_agents.unwrap_or(asked.max_agents),
        max_args,
        ..asked
    };
    if let Some(path) = &common.html {
        // Not after an hour of reading.
        report::ensure_writable(path)?;
    }
    let (hunts, totals) = match &common.html {
        None => read(&common, vec![asked], Keep::Figures)?,
        Some(_) => {
            let queries = [Subject::Files, Subject::Tools, Subject::Modules]
                .map(|other| if other == subject { asked.clone() } else { standard(other) });
            read(&common, queries.to_vec(), Keep::Details)?
        }
    };
    if let Some(path) = &common.html {
        let inputs = common.input.iter().chain(&common.store).map(|path| path.display().to_string()).collect();
        let findings = relations::findings(&hunts);
        report::write(path, &report::Report { made: now, since: common.since, inputs, totals: &totals, findings })?;
    }
    for Malformed { input, line, error, .. } in &totals.named {
        tracing::warn!(input, line, error, "a line is no document");
    }
    if totals.malformed > 0 {
        tracing::warn!(malformed = totals.malformed, lines = totals.lines, "lines are no documents and do not count");
    }
    for (query, groups) in hunts.iter().filter(|(query, _)| query.subject == subject) {
        write_rows(query, groups, common.format)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each query with what it counted.
fn read(common: &Common, queries: Vec<Query>, keep: Keep) -> anyhow::Result<(Vec<(Query, Groups)>, Totals)> {
    let paths = &common.input;
    let (groups, totals) = if let Some(store) = &common.store {
        (own::groups(store, &queries)?, Totals::default())
    } else if paths.is_empty() {
        let open = || source::unpacked(io::stdin().lock());
        scan(vec![("standard input".to_owned(), open)], &queries, keep)?
    } else {
        let files = source::files(paths).context("cannot list the input")?;
        let progress = Progress::of(&files);
        let inputs = files.into_iter().map(|path| {
            let progress = progress.clone();
            (path.display().to_string(), move || source::unpacked(source::buffered(progress.watch(File::open(&path)?))))
        });
        let scanned = scan(inputs.collect(), &queries, keep);
        progress.finish();
        scanned?
    };
    Ok((queries.into_iter().zip(groups).collect(), totals))
}

fn write_rows(query: &Query, groups: &Groups, format: Format) -> anyhow::Result<()> {
    let rows = query.rows(groups);
    let text = match format {
        Format::Table => rows::table(query.subject, &rows),
        Format::Json => rows::json(&rows),
        Format::Csv => rows::csv(query.subject, &rows)?,
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader at the other end has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the rows"),
    }
}
