//! `lkm-monitor hunt`: what is rare among the documents of many hosts.

mod rows;

use std::{
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    slice,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::{
    hunt::{
        Groups, Query, Subject, query,
        scan::{Keep, Malformed, scan},
        source,
    },
    model::rarity::RARE_ARGS,
};

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

/// Reads all documents and writes the rows. Malformed lines are named on standard error and do not fail it.
pub(super) fn run(args: HuntArgs) -> anyhow::Result<ExitCode> {
    let (subject, common, max_args) = match args.hunt {
        Hunt::Files(common) => (Subject::Files, common, None),
        Hunt::Tools(tools) => (Subject::Tools, tools.common, Some(tools.max_args)),
        Hunt::Modules(common) => (Subject::Modules, common, None),
    };
    let standard = Query::new(subject, Timestamp::now());
    let query = Query {
        since: common.since,
        max_count: common.max_count.or(standard.max_count),
        max_agents: common.max_agents.unwrap_or(standard.max_agents),
        max_args,
        exclude: standard.exclude.iter().chain(&common.exclude).cloned().collect(),
        limit: common.limit,
        ..standard
    };
    let (mut groups, totals) = if common.input.is_empty() {
        let open = || source::unpacked(io::stdin().lock());
        scan(vec![("standard input".to_owned(), open)], slice::from_ref(&query), Keep::Figures)?
    } else {
        let files = source::files(&common.input).context("cannot list the input")?;
        let inputs = files
            .into_iter()
            .map(|path| (path.display().to_string(), move || source::unpacked(source::buffered(File::open(&path)?))));
        scan(inputs.collect(), slice::from_ref(&query), Keep::Figures)?
    };
    let groups = groups.pop().unwrap_or_else(|| Groups::new(query.max_agents));
    let rows = query.rows(&groups);
    let text = match common.format {
        Format::Table => rows::table(query.subject, &rows),
        Format::Json => rows::json(&rows),
        Format::Csv => rows::csv(query.subject, &rows)?,
    };
    if totals.malformed > 0 {
        for Malformed { input, line, error, .. } in &totals.named {
            tracing::warn!(input, line, error, "a line is no document");
        }
        tracing::warn!(malformed = totals.malformed, lines = totals.lines, "lines are no documents and do not count");
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader at the other end has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => written.map(|()| ExitCode::SUCCESS).context("cannot write the rows"),
    }
}
