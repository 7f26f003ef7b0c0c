//! `lkm-monitor inventory`: what is on this host now. Works beside a running daemon, and without root as far as the kernel lets it.

mod files;
mod found;
mod modules;
mod tools;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::{
    alert::{Document, Renderer},
    cli::{rows, terminal::harmless},
    config::{self, Config},
    evidence::{Archive, ArchiveError, FolderError, PATH},
    hunt::source,
    inspect::{self, AccountFiles, Patterns},
    inventory::{Budget, Gaps, Loads, Survey},
    lifecycle::exit,
    model::{Accounts, Gap, Host, text::shorten},
    pipeline::boot_ns,
};

/// What one inventory may cost: a host with more goes without the rest, which is told.
const MAX_FILES: u64 = 65_536;
const MAX_BYTES: u64 = 8 << 30;
const MAX_TIME: Duration = Duration::from_secs(300);
/// Of one cell of a table; the other forms have all of it.
const MAX_CELL_BYTES: usize = 160;

#[derive(Debug, Args)]
pub(super) struct InventoryArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Modules in the kernel, with parameters, file, package, signer, and when and by whom they were loaded where that is known
    Modules(Modules),
    /// Files that are watched because they decide about modules, and what they say
    Files(Common),
    /// kmod with all its names, programs of many tools, and the program that the kernel runs
    Tools(Common),
}

#[derive(Debug, Args)]
struct Modules {
    #[command(flatten)]
    common: Common,
    /// What is built into the kernel's image, too
    #[arg(long)]
    builtin: bool,
    /// Files or folders of the daemon's documents, which tell of loads: one JSON object a line, plain, gzip or zstd
    #[arg(long, value_name = "PATH", num_args = 1..)]
    events: Vec<PathBuf>,
    /// Kept images, beside which loads are recorded
    #[arg(long, value_name = "FOLDER", default_value = PATH)]
    evidence: PathBuf,
}

#[derive(Debug, Args)]
struct Common {
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Settings to use, and no others [default: /etc/lkm-monitor/config.toml and /etc/lkm-monitor/conf.d/*.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    /// One object
    Json,
    Csv,
    /// Documents as the daemon makes them, one a line
    Ecs,
}

/// One inventory, of whichever kind.
struct Inventory<E> {
    /// The plural in commands and documents.
    subject: &'static str,
    entries: Vec<E>,
    gaps: Vec<Gap>,
    /// All that is known of an entry, as JSON.
    object: fn(&E, &Accounts) -> Value,
    /// Headers of columns, each with what it shows of that object.
    table: &'static [Column],
    csv: &'static [Column],
    document: fn(&Renderer, &E, &Accounts, u64) -> Document,
}

/// A header and a JSON pointer (RFC 6901).
type Column = (&'static str, &'static str);

/// Lists what is asked for. What could not be looked at is named, and is no failure.
pub(super) fn run(args: InventoryArgs) -> anyhow::Result<ExitCode> {
    let (What::Modules(Modules { common, .. }) | What::Files(common) | What::Tools(common)) = &args.what;
    let mut gaps = Gaps::default();
    let config = match config::load(common.config.as_deref()) {
        Ok(loaded) => loaded.config,
        Err(problems) if common.config.is_some() => {
            problems.lines().iter().for_each(|problem| tracing::error!("{problem}"));
            return Ok(ExitCode::from(exit::CONFIG));
        }
        // Only root may read them all.
        Err(problems) => {
            problems.lines().iter().for_each(|problem| gaps.add("settings, in whose place are the defaults", problem));
            Config::default()
        }
    };
    let budget = Budget { files: MAX_FILES, bytes: MAX_BYTES, until: Instant::now() + MAX_TIME };
    let survey = Survey::open(budget).map(|survey| survey.with_packages(root_of_host()));
    // Checked when the settings were read.
    let watch_list = config.files.watch_list()?;
    // Where watched places are mounted is of no interest here, and one of them may keep who asks waiting for ever.
    let host = inspect::read_host(&Patterns::default())?;
    match (&args.what, survey) {
        (What::Modules(args), survey) => {
            let survey = survey.inspect_err(|why| gaps.add("files", why)).ok();
            let loads = loads(args, &host, &mut gaps)?;
            show(modules::list(args.builtin, &config, &host, survey, &loads, gaps)?, common.format, host)
        }
        (_, Err(why)) => anyhow::bail!("the files of this host cannot be looked at: {why}"),
        (What::Files(_), Ok(mut survey)) => show(files::list(&watch_list, &mut survey, gaps), common.format, host),
        (What::Tools(_), Ok(mut survey)) => show(tools::list(&mut survey, gaps), common.format, host),
    }
}

/// As process 1 sees it: a service manager may show less of the host.
fn root_of_host() -> &'static Path {
    let root = Path::new("/proc/1/root");
    if root.join("etc").exists() { root } else { Path::new("/") }
}

/// The loads of this boot that were written down.
fn loads(args: &Modules, host: &Host, gaps: &mut Gaps) -> anyhow::Result<Loads> {
    let mut loads = Loads::of_boot(&host.boot_id);
    match Archive::open(&args.evidence) {
        Ok(archive) => loads.read_evidence(&archive, gaps),
        // Most hosts keep none.
        Err(ArchiveError::Folder(FolderError::Open { source, .. })) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => gaps.add("records of kept images", error),
    }
    for path in source::files(&args.events).context("cannot list the documents")? {
        let unreadable = || format!("cannot read {}", path.display());
        let documents = source::unpacked(source::buffered(File::open(&path).with_context(unreadable)?));
        let malformed = loads.read_documents(documents.with_context(unreadable)?).with_context(unreadable)?;
        if malformed > 0 {
            gaps.add(&path.display().to_string(), format!("{malformed} lines are no documents"));
        }
    }
    Ok(loads)
}

fn show<E>(inventory: Inventory<E>, format: Format, host: Host) -> anyhow::Result<ExitCode> {
    let mut accounts = AccountFiles::new(Path::new("/etc"));
    let accounts = accounts.refresh();
    let Inventory { subject, entries, gaps, object, table, csv, document } = inventory;
    let mut out = io::stdout().lock();
    let objects = || entries.iter().map(|entry| object(entry, accounts));
    let headers = |columns: &'static [Column]| columns.iter().map(|(header, _)| *header);
    let row = |columns: &'static [Column], object: &Value| -> Vec<String> {
        columns.iter().map(|(_, pointer)| cell(object.pointer(pointer))).collect()
    };
    match format {
        Format::Table => {
            let brief = |cell: String| shorten(&cell, MAX_CELL_BYTES);
            let rows = objects().map(|object| row(table, &object).into_iter().map(brief).collect());
            out.write_all(rows::table(headers(table), rows).as_bytes())?;
        }
        Format::Csv => {
            out.write_all(rows::csv(headers(csv), objects().map(|object| row(csv, &object)))?.as_bytes())?;
        }
        Format::Json => {
            let mut whole = json!({ "host": host.hostname, "boot_id": host.boot_id, "kernel": host.kernel_release });
            whole[subject] = objects().collect();
            whole["gaps"] = gaps.iter().map(gap).collect();
            writeln!(out, "{whole:#}")?;
        }
        Format::Ecs => {
            let now = boot_ns();
            let agent = inspect::identify_agent(&host, std::process::id(), now);
            let renderer = Renderer::new(host, agent, inspect::read_clock());
            for entry in &entries {
                out.write_all(&document(&renderer, entry, accounts, now).line)?;
            }
            let end = renderer.render_inventory_end(subject, entries.len() as u64, &gaps, now);
            out.write_all(&end.line)?;
        }
    }
    out.flush()?;
    if matches!(format, Format::Table | Format::Csv) {
        let mut notes = io::stderr().lock();
        for gap in &gaps {
            writeln!(notes, "not seen: {}", harmless(&gap.sentence()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn gap(gap: &Gap) -> Value {
    json!({ "what": gap.what, "why": gap.why, "count": gap.count, "examples": gap.examples })
}

/// A value in one cell: nothing where it is not known, yes and no, the elements of a list with semicolons between.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Bool(is)) => if *is { "yes" } else { "no" }.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(elements)) => {
            elements.iter().map(|element| cell(Some(element))).collect::<Vec<_>>().join("; ")
        }
        Some(Value::Object(members)) => {
            let members = members.iter().map(|(key, value)| match value {
                Value::Null => key.clone(),
                value => format!("{key}={}", cell(Some(value))),
            });
            members.collect::<Vec<_>>().join("; ")
        }
        Some(Value::Number(number)) => number.to_string(),
    }
}

#[cfg(test)]
mod tests;
