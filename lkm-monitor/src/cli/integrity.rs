//! `lkm-monitor integrity`: whether modules hide in this kernel, and whether something leads out of its own code. Needs no daemon.

use std::{io::Write as _, path::Path, process::ExitCode, thread};

use clap::ValueEnum;
use serde::Serialize;

use super::terminal::harmless;
use crate::{
    integrity::{Confirm, Scanner, confirm::SOON},
    lifecycle::exit,
    model::{Extent, HiddenModule, KernelFinding, KernelLook, ModuleHistory, Place, Sight, View},
    sensor::btf::Types,
};

/// Arguments of `integrity`.
#[derive(Debug, clap::Args)]
pub(super) struct IntegrityArgs {
    /// How to print what was found
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// The exit code of a look that found something.
const FOUND: u8 = 1;

/// Looks once, and again when something was found. Exit code 1 where that was found both times, 69 where kernel memory cannot be looked at.
pub(super) fn run(args: &IntegrityArgs) -> anyhow::Result<ExitCode> {
    let root = Path::new("/");
    if !Scanner::has_modules(root) {
        let text = match args.format {
            Format::Table => "This kernel loads no modules: there is none that could hide.\n",
            Format::Json => "{\"modules\":false}\n",
        };
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let types = Types::of_kernel();
    let mut scanner = Scanner::start(root, types.as_ref());
    drop(types);
    let history = ModuleHistory {
        unavailable: Some("only the daemon sees modules come and go".to_owned()),
        ..ModuleHistory::default()
    };
    let mut confirm = Confirm::default();
    let mut look = scanner.look(&history);
    let mut findings = confirm.settle(&look);
    if let Some(wait) = confirm.next_look(look.boot_ns) {
        thread::sleep(wait.min(SOON));
        look = scanner.look(&history);
        findings.extend(confirm.settle(&look));
    }
    let report = Report::of(&look, &findings);
    let text = match args.format {
        Format::Table => describe(&report),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(match findings.is_empty() {
        false => ExitCode::from(FOUND),
        true if scanner.blind().is_some() => ExitCode::from(exit::SENSOR_UNAVAILABLE),
        true => ExitCode::SUCCESS,
    })
}

/// What was found. The keys of `--format json`.
#[derive(Debug, Serialize)]
struct Report {
    modules: bool,
    views: Vec<Looked>,
    checks: Vec<Looked>,
    findings: Vec<Found>,
    /// Beyond those: not seen twice, or modules that come or go at this moment.
    unconfirmed: usize,
    /// Milliseconds of processor time, and from begin to end, of the last look.
    cpu_ms: f64,
    elapsed_ms: f64,
}

/// How well a view or a check could be looked at.
#[derive(Debug, Serialize)]
struct Looked {
    name: &'static str,
    /// `whole`, `incomplete` or `unavailable`.
    status: &'static str,
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    kind: &'static str,
    /// A sentence.
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<Module>,
    /// Where the entry or the hook leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

#[derive(Debug, Serialize)]
struct Module {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    memory: Vec<Piece>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    seen_in: Vec<&'static str>,
    missing_from: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Piece {
    address: String,
    bytes: u64,
}

impl Report {
    fn of(look: &KernelLook, findings: &[KernelFinding]) -> Self {
        Self {
            modules: true,
            views: look.views.iter().map(|(view, sight)| Looked::of(view.name(), sight)).collect(),
            checks: look.checks.iter().map(|(check, sight)| Looked::of(check.name(), sight)).collect(),
            findings: findings.iter().map(Found::of).collect(),
            unconfirmed: (look.findings.len() + look.more_findings).saturating_sub(findings.len()),
            cpu_ms: milliseconds(look.cpu_ns),
            elapsed_ms: milliseconds(look.elapsed_ns),
        }
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    (nanoseconds / 1000) as f64 / 1000.0
}

impl Looked {
    fn of(name: &'static str, sight: &Sight) -> Self {
        Self { name, status: sight.name(), count: sight.count(), why: sight.why().map(ToOwned::to_owned) }
    }
}

impl Found {
    fn of(finding: &KernelFinding) -> Self {
        let leads_to = |place: &Place| Some(format!("{:#x}", place.address));
        Self {
            kind: finding.kind(),
            message: sentence(finding),
            module: match finding {
                KernelFinding::Hidden(module) => Some(Module::of(module)),
                _ => None,
            },
            target: match finding {
                KernelFinding::SystemCall(entry) => leads_to(&entry.target),
                KernelFinding::Hook(hook) => leads_to(&hook.target),
                _ => None,
            },
        }
    }
}

impl Module {
    fn of(module: &HiddenModule) -> Self {
        let names = |views: &[View]| views.iter().map(|view| view.name()).collect();
        let piece = |extent: &Extent| Piece { address: format!("{:#x}", extent.address), bytes: extent.bytes };
        Self {
            name: module.name.clone(),
            address: module.address.map(|address| format!("{address:#x}")),
            memory: module.memory.iter().map(piece).collect(),
            state: module.state.map(crate::model::ModuleState::name),
            seen_in: names(&module.seen_in),
            missing_from: names(&module.missing_from),
        }
    }
}

fn sentence(finding: &KernelFinding) -> String {
    match finding {
        KernelFinding::Hidden(module) => format!(
            "The module `{}` is in {} but not in {}",
            module.name,
            places(&module.seen_in),
            places(&module.missing_from)
        ),
        KernelFinding::SystemCall(entry) => {
            format!("System call {} of the table {} leads to {}", entry.number, entry.table.name(), entry.target)
        }
        KernelFinding::Hook(hook) => {
            let site = hook.site.as_ref().map(|site| match &site.symbol {
                Some(symbol) => format!(" at {symbol}"),
                None => format!(" at {:#x}", site.address),
            });
            format!("A hook of {}{} leads to {}", hook.kind.name(), site.unwrap_or_default(), hook.target)
        }
        KernelFinding::TaintCleared(cleared) => {
            format!("The kernel's taints {:#x} lack {:#x}, which it must have", cleared.mask, cleared.bits)
        }
        KernelFinding::ReadingsDiffer(differ) => format!(
            "/proc/modules differs by how it is read: only large reads show [{}], only small ones [{}]",
            differ.only_whole.join(", "),
            differ.only_pieces.join(", ")
        ),
    }
}

fn places(views: &[View]) -> String {
    views.iter().map(|view| view.place()).collect::<Vec<_>>().join(", ")
}

fn describe(report: &Report) -> String {
    let mut text = String::new();
    for (title, looked) in [("Views", &report.views), ("Checks", &report.checks)] {
        text.push_str(&format!("{title}\n"));
        for Looked { name, status, count, why } in looked {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            text.push_str(&format!("  {name:<24}{count:>6}  {status}{}\n", harmless(&why)));
        }
    }
    text.push_str(if report.findings.is_empty() { "\nNothing was found.\n" } else { "\nFound\n" });
    for found in &report.findings {
        text.push_str(&format!("  - {}.\n", harmless(&found.message)));
    }
    if report.unconfirmed > 0 {
        text.push_str(&format!("Not confirmed: {}. Look again in half a minute.\n", report.unconfirmed));
    }
    text
}
