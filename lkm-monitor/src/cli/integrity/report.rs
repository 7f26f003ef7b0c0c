//! What a look by hand says, to people and to programs.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::{
    assess::assess_kernel,
    cli::terminal::harmless,
    model::{
        Extent, Finding, HiddenModule, KernelAlert, KernelFacts, KernelHook, KernelReport, Place, Sight,
        SystemCallEntry, View, taint,
    },
};

/// What was found. The keys of `--format json`. By default that of a kernel that loads no modules.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Whether the kernel can load modules.
    modules: bool,
    views: Vec<Looked>,
    checks: Vec<Looked>,
    findings: Vec<Found>,
    /// Beyond those: not found twice, or modules that come or go at this moment.
    unconfirmed: usize,
    /// Milliseconds of processor time, and from beginning to end, of the last look.
    cpu_ms: f64,
    elapsed_ms: f64,
    /// Whether kernel memory could be looked at.
    memory: bool,
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
    /// For people.
    #[serde(skip)]
    place: &'static str,
}

/// One alert that the daemon would send.
#[derive(Debug, Serialize)]
struct Found {
    code: u16,
    rule: &'static str,
    severity: &'static str,
    /// A sentence.
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<Module>,
    /// Where entries and hooks lead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
    /// Entries and hooks beyond these.
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[derive(Debug, Serialize)]
struct Module {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    memory: Vec<Piece>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taint_flags: Option<String>,
    seen_in: Vec<&'static str>,
    missing_from: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Piece {
    address: String,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Target {
    /// The table and the number, or the kind of hook and where it is.
    from: String,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    hidden: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Report {
    pub(super) fn of(report: &KernelReport) -> Self {
        let look = &report.look;
        Self {
            modules: true,
            views: look.views.iter().map(|(view, sight)| Looked::of(view.name(), view.place(), sight)).collect(),
            checks: look.checks.iter().map(|(check, sight)| Looked::of(check.name(), check.place(), sight)).collect(),
            findings: report.alerts().iter().filter_map(Found::of).collect(),
            unconfirmed: (look.findings.len() + look.more_findings).saturating_sub(report.confirmed.len()),
            cpu_ms: milliseconds(look.cpu_ns),
            elapsed_ms: milliseconds(look.elapsed_ns),
            memory: look.sees_memory(),
        }
    }

    /// All of it in a sentence.
    fn verdict(&self) -> String {
        let is_whole = |looked: &&Looked| looked.status == "whole" && looked.why.is_none();
        let seen = self.views.iter().filter(is_whole).map(|view| view.count).max().unwrap_or_default();
        // Nobody keeps a history for a look by hand, which is no gap in what is there.
        let gaps = self.views.iter().chain(&self.checks).filter(|looked| looked.name != View::History.name());
        match self.findings.len() {
            0 if !self.memory => "Kernel memory could not be looked at. What the kernel's files show agrees, but who hides a module well \
                                  hides it from them."
                .to_owned(),
            0 if self.unconfirmed > 0 => {
                "Something was found each time, and never the same long enough to be certain.".to_owned()
            }
            0 if gaps.clone().all(|looked| is_whole(&looked)) => {
                format!("All views show the same {seen} modules, and nothing leads out of the kernel's own code.")
            }
            0 => "What could be looked at agrees, with the gaps above.".to_owned(),
            _ => "Take this host for compromised until that is explained: docs/alerts.md says what to check.".to_owned(),
        }
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    (nanoseconds / 1000) as f64 / 1000.0
}

fn hexadecimal(address: u64) -> String {
    format!("{address:#x}")
}

impl Looked {
    fn of(name: &'static str, place: &'static str, sight: &Sight) -> Self {
        let why = sight.why().map(ToOwned::to_owned);
        Self { name, status: sight.name(), count: sight.count(), why, place }
    }
}

impl Found {
    /// Each alert has one finding.
    fn of(alert: &KernelAlert) -> Option<Self> {
        let (module, targets, more) = match &alert.facts {
            KernelFacts::Hidden(module) => (Some(Module::of(module)), Vec::new(), 0),
            KernelFacts::SystemCalls(entries, more) => (None, entries.iter().map(Target::of_entry).collect(), *more),
            KernelFacts::Hooks(hooks, more) => (None, hooks.iter().map(Target::of_hook).collect(), *more),
            KernelFacts::TaintCleared(_) | KernelFacts::ReadingsDiffer(_) => (None, Vec::new(), 0),
        };
        let verdict = assess_kernel(alert);
        let Finding { rule, severity, reason } = verdict.lead()?;
        let (code, rule, severity) = (rule.code, rule.id, severity.name());
        Some(Self { code, rule, severity, message: reason.clone(), module, targets, more })
    }
}

impl Module {
    fn of(module: &HiddenModule) -> Self {
        let names = |views: &[View]| views.iter().map(|view| view.name()).collect();
        let piece = |extent: &Extent| Piece { address: hexadecimal(extent.address), bytes: extent.bytes };
        Self {
            name: module.name.clone(),
            address: module.address.map(hexadecimal),
            memory: module.memory.iter().map(piece).collect(),
            state: module.state.map(crate::model::ModuleState::name),
            taint_flags: module.taints.map(taint::letters).filter(|letters| !letters.is_empty()),
            seen_in: names(&module.seen_in),
            missing_from: names(&module.missing_from),
        }
    }
}

impl Target {
    fn of_entry(entry: &SystemCallEntry) -> Self {
        Self::of(format!("{} {}", entry.table.symbol(), entry.number), &entry.target)
    }

    fn of_hook(hook: &KernelHook) -> Self {
        let site = hook.site.as_ref();
        let site = site.map(|site| site.symbol.clone().unwrap_or_else(|| hexadecimal(site.address)));
        let from = site.map_or_else(|| hook.kind.name().to_owned(), |site| format!("{} {site}", hook.kind.name()));
        Self::of(from, &hook.target)
    }

    fn of(from: String, place: &Place) -> Self {
        Self { from, address: hexadecimal(place.address), module: place.module.clone(), hidden: place.hidden }
    }
}

/// For people.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.modules {
            return writeln!(f, "This kernel loads no modules: there is none that could hide.");
        }
        for (title, looked) in [("Modules", &self.views), ("Hooks and taints", &self.checks)] {
            writeln!(f, "{title}")?;
            looked.iter().try_for_each(|looked| write!(f, "{looked}"))?;
        }
        if !self.findings.is_empty() {
            writeln!(f, "\nFound")?;
        }
        self.findings.iter().try_for_each(|found| write!(f, "{found}"))?;
        if self.unconfirmed > 0 {
            let number = self.unconfirmed;
            writeln!(
                f,
                "\nFound once, or about modules that come or go right now: {number}. Look again in half a minute."
            )?;
        }
        writeln!(f, "\n{}", self.verdict())?;
        writeln!(f, "The look took {:.1} ms, and {:.1} ms of processor time.", self.elapsed_ms, self.cpu_ms)
    }
}

impl Display for Looked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = if self.status == "unavailable" { "-".to_owned() } else { self.count.to_string() };
        writeln!(f, "  {:<11} {count:>6}  {:<22}  {}", self.status, self.name, self.place)?;
        match &self.why {
            Some(why) => writeln!(f, "  {:<11} {:>6}  why: {}", "", "", harmless(why)),
            None => Ok(()),
        }
    }
}

impl Display for Found {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<8} {} {}", self.severity.to_uppercase(), self.code, self.rule)?;
        // The rows below say it of each.
        if self.targets.is_empty() {
            writeln!(f, "    {}", harmless(&self.message))?;
        }
        if let Some(module) = &self.module {
            for Piece { address, bytes } in &module.memory {
                writeln!(f, "    memory {address}, {bytes} bytes")?;
            }
            if let Some(flags) = &module.taint_flags {
                writeln!(f, "    taints {flags}")?;
            }
        }
        for Target { from, address, module, hidden } in &self.targets {
            let owner = match (module, hidden) {
                (Some(module), true) => format!(" in {module}, which hides"),
                (Some(module), false) => format!(" in {module}"),
                (None, _) => String::new(),
            };
            writeln!(f, "    {} -> {address}{}", harmless(from), harmless(&owner))?;
        }
        if self.more > 0 {
            writeln!(f, "    and {} more", self.more)?;
        }
        Ok(())
    }
}
