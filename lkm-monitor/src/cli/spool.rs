//! `lkm-monitor spool`: what waits for its receivers, what they have refused, and what became of all else. Works beside a running daemon.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use crate::{
    config,
    model::{Class, text::text},
    sinks::Entry,
    spool::{DeadLetter, Spool},
};

#[derive(Debug, Args)]
pub(super) struct SpoolArgs {
    #[command(subcommand)]
    action: Action,
    /// Settings to use, and no others [default: /etc/lkm-monitor/config.toml and /etc/lkm-monitor/conf.d/*.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// How much waits for which sink, and what was counted
    Status,
    /// Documents that wait, or that were refused, oldest first
    List(List),
    /// Let dead letters be sent again
    Retry(Retry),
    /// Throw documents away; they are counted
    Purge(Purge),
}

#[derive(Debug, Args)]
struct List {
    /// What was refused, and why
    #[arg(long)]
    dead_letters: bool,
    /// The documents themselves, one JSON object a line
    #[arg(long)]
    json: bool,
    /// At the most so many
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    limit: usize,
}

#[derive(Debug, Args)]
#[group(required = true)]
struct Retry {
    /// Their numbers, as `list --dead-letters` shows them
    numbers: Vec<u64>,
    /// All of them
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Purge {
    /// Waiting documents of these classes
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    class: Vec<ClassName>,
    /// All dead letters
    #[arg(long)]
    dead_letters: bool,
}

#[derive(Clone, Copy, Debug)]
struct ClassName(Class);

impl ValueEnum for ClassName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [ClassName; Class::ALL.len()] = {
            let mut all = [ClassName(Class::Telemetry); Class::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = ClassName(Class::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

pub(super) fn run(args: SpoolArgs) -> anyhow::Result<ExitCode> {
    let settings = config::load(args.config.as_deref())?.config.spool.settings()?;
    let spool = Spool::open_existing(settings)?;
    let mut out = io::stdout().lock();
    match args.action {
        Action::Status => status(&spool, &mut out)?,
        Action::List(list) if list.dead_letters => list_dead_letters(&spool, &list, &mut out)?,
        Action::List(list) => list_documents(&spool, &list, &mut out)?,
        Action::Retry(retry) => {
            let mut letters = spool.dead_letters()?;
            letters.retain(|(number, _)| retry.all || retry.numbers.contains(number));
            let numbers: Vec<u64> = letters.iter().map(|(number, _)| *number).collect();
            if let Some(missing) = retry.numbers.iter().find(|number| !numbers.contains(number)) {
                anyhow::bail!("there is no dead letter {missing}");
            }
            let sinks = spool.acknowledged()?;
            if let Some((number, letter)) = letters.iter().find(|(_, letter)| !sinks.contains_key(&letter.sink)) {
                anyhow::bail!("dead letter {number} is of {}, and there is no such sink any more", letter.sink);
            }
            spool.retry_dead_letters(&numbers)?;
            writeln!(out, "{} dead letters will be sent again", numbers.len())?;
        }
        Action::Purge(purge) => {
            let classes: Vec<_> = purge.class.iter().map(|class| class.0).collect();
            let before = spool.bytes();
            spool.purge(&classes)?;
            writeln!(out, "{} bytes of documents thrown away", before.saturating_sub(spool.bytes()))?;
            if purge.dead_letters {
                let numbers: Vec<u64> = spool.dead_letters()?.into_iter().map(|(number, _)| number).collect();
                spool.remove_dead_letters(&numbers)?;
                writeln!(out, "{} dead letters thrown away", numbers.len())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status(spool: &Spool, out: &mut impl io::Write) -> anyhow::Result<()> {
    let acknowledged = spool.acknowledged()?;
    let mut waiting: BTreeMap<&str, u64> = acknowledged.keys().map(|sink| (sink.as_str(), 0)).collect();
    let mut by_class = [0_u64; Class::ALL.len()];
    spool.documents(|entry| {
        by_class[entry.class as usize] += 1;
        for (sink, through) in &acknowledged {
            if entry.number > *through
                && let Some(count) = waiting.get_mut(sink.as_str())
            {
                *count += 1;
            }
        }
        true
    })?;
    writeln!(out, "bytes {}", spool.bytes())?;
    for class in Class::ALL {
        writeln!(out, "documents {} {}", class.name(), by_class[class as usize])?;
    }
    writeln!(out, "dead-letters {}", spool.dead_letter_count())?;
    for (sink, count) in waiting {
        writeln!(out, "waiting {sink} {count}")?;
    }
    for (counter, total) in spool.counts() {
        writeln!(out, "counted {} {} {total}", counter.count.name(), counter.sink.as_deref().unwrap_or("-"))?;
    }
    Ok(())
}

fn list_documents(spool: &Spool, list: &List, out: &mut impl io::Write) -> anyhow::Result<()> {
    let mut left = list.limit;
    let mut written = Ok(());
    spool.documents(|entry| {
        if left == 0 || written.is_err() {
            return false;
        }
        left -= 1;
        written = write_entry(&entry, list.json, out);
        true
    })?;
    written
}

fn write_entry(entry: &Entry, json: bool, out: &mut impl io::Write) -> anyhow::Result<()> {
    if json {
        out.write_all(&entry.json)?;
        return Ok(writeln!(out)?);
    }
    Ok(writeln!(out, "{} {} {}", entry.number, entry.class.name(), brief(&entry.json))?)
}

fn list_dead_letters(spool: &Spool, list: &List, out: &mut impl io::Write) -> anyhow::Result<()> {
    for (number, letter) in spool.dead_letters()?.into_iter().take(list.limit) {
        if list.json {
            write_entry(&letter.entry(number), true, out)?;
            continue;
        }
        let DeadLetter { sink, reason, retry, json, .. } = &letter;
        let again = if *retry { " (to be sent again)" } else { "" };
        writeln!(out, "{number} {sink}{again}: {}: {}", brief(json), text(reason.as_bytes()))
            .context("cannot write to standard output")?;
    }
    Ok(())
}

/// When it happened, its id and what it says.
fn brief(json: &[u8]) -> String {
    let document: Value = serde_json::from_slice(json).unwrap_or_default();
    let field = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(|value| text(value.as_bytes()));
    let fields = ["/@timestamp", "/event/id", "/message"].map(field);
    fields.into_iter().map(|field| field.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>().join(" ")
}
