//! What looks at the kernel have found: alerts, what can be looked at, and the counts.

use std::collections::{BTreeMap, VecDeque};

use super::{Heard, Pipeline, history::History, teller::Teller};
use crate::model::{KernelAlert, KernelFinding, KernelLook, KernelReport, Metric, ModuleCall, ModuleHistory, Sight};

/// Alerts that wait for room in the output. A look has fewer, and one that finds nothing new has none.
const MAX_WAITING: usize = 2048;

/// What of a look is worth a document when it changes: how well each thing can be looked at, and why not better.
type Outlook = Vec<(&'static str, &'static str, Option<String>)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    history: History,
    /// As it was told, and as the last look had it.
    told: Option<Outlook>,
    last: Outlook,
    looks: u64,
    incomplete: u64,
    found: BTreeMap<&'static str, u64>,
    /// Of the last look.
    elapsed_ns: u64,
    cpu_ns: u64,
    unavailable: u64,
    more_findings: u64,
    others_code: u64,
    /// What is to be told, in order.
    waiting: VecDeque<KernelAlert>,
}

impl Kernel {
    pub(super) fn note(&mut self, call: &ModuleCall) {
        self.history.note(call);
    }

    /// Counts a look. Whether it is to be told: the first is, and one at which something can be looked at in another way, if that was so at
    /// the look before, too. What changes while it is read is often not whole just once.
    fn count(&mut self, report: &KernelReport) -> bool {
        let look = &report.look;
        let is = |wanted: fn(&Sight) -> bool| sights(look).filter(|(_, sight)| wanted(sight)).count() as u64;
        self.looks += 1;
        self.incomplete += u64::from(is(|sight| matches!(sight, Sight::Incomplete { .. })) > 0);
        self.unavailable = is(|sight| matches!(sight, Sight::Unavailable { .. }));
        self.others_code = look.others_code.unwrap_or_default() as u64;
        self.more_findings = look.more_findings as u64;
        (self.elapsed_ns, self.cpu_ns) = (look.elapsed_ns, look.cpu_ns);
        for finding in &report.confirmed {
            *self.found.entry(finding.kind()).or_default() += 1;
        }
        let now = outlook(look);
        let is_news = match &self.told {
            None => true,
            Some(told) => *told != now && self.last == now,
        };
        self.last.clone_from(&now);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }

    /// Keeps an alert until there is room for it. Nobody would find it again: it is told once.
    pub(super) fn await_room(&mut self, alert: KernelAlert, teller: &mut Teller) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(alert);
        } else {
            teller.lose_own();
        }
    }

    /// Tells what waits, as far as there is room.
    pub(super) fn tell_waiting(&mut self, teller: &mut Teller) {
        while teller.has_room()
            && let Some(alert) = self.waiting.pop_front()
        {
            teller.tell_kernel(&alert);
        }
    }

    /// Whether there is something to be told.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All counts; none where nobody looks.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        if self.looks == 0 {
            return Vec::new();
        }
        let found = KernelFinding::KINDS.map(|kind| {
            let labels = vec![("stage", "integrity".to_owned()), ("reason", kind.to_owned())];
            Metric { name: "integrity_findings", labels, value: self.found.get(kind).copied().unwrap_or_default() }
        });
        let plain = [
            ("integrity_looks", self.looks),
            ("integrity_looks_incomplete", self.incomplete),
            ("integrity_unavailable", self.unavailable),
            ("integrity_findings_beyond", self.more_findings),
            ("integrity_other_code_pages", self.others_code),
            ("integrity_look_us", self.elapsed_ns / 1000),
            ("integrity_look_cpu_us", self.cpu_ns / 1000),
        ];
        let plain = plain.map(|(name, value)| Metric { name, labels: Vec::new(), value });
        found.into_iter().chain(plain).collect()
    }
}

/// Of views and checks.
fn sights(look: &KernelLook) -> impl Iterator<Item = (&'static str, &Sight)> {
    let views = look.views.iter().map(|(view, sight)| (view.name(), sight));
    views.chain(look.checks.iter().map(|(check, sight)| (check.name(), sight)))
}

fn outlook(look: &KernelLook) -> Outlook {
    let seen = sights(look).map(|(name, sight)| (name, sight.name(), sight.why().map(str::to_owned)));
    // How many there are beyond those that are kept may be another number each time.
    seen.chain((look.more_findings > 0).then_some(("findings", "more", None))).collect()
}

impl Pipeline {
    /// Which modules are loaded by the kernel's word, if that is another than when it was last asked.
    pub fn module_history(&mut self, heard: Heard) -> Option<ModuleHistory> {
        let losses = self.teller.ledger.totals().filter(|(reason, _)| reason.may_hide_a_call());
        self.kernel.history.take(heard, losses.map(|(_, total)| total).sum())
    }

    /// Tells what a look has found, now or when there is room.
    pub fn tell_kernel(&mut self, report: &KernelReport) {
        if self.kernel.count(report) {
            self.teller.tell_look(&report.look);
        }
        for alert in report.alerts() {
            tracing::error!(action = alert.facts.action(), "the kernel was tampered with");
            self.kernel.await_room(alert, &mut self.teller);
        }
        self.tell_waiting();
    }

    /// Tells what was found and had no room, as far as there is some now.
    pub(super) fn tell_waiting(&mut self) {
        self.kernel.tell_waiting(&mut self.teller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{View, samples};

    fn report(memory: Sight) -> KernelReport {
        let mut look = samples::kernel_look();
        look.views.iter_mut().filter(|(view, _)| *view == View::Memory).for_each(|(_, sight)| *sight = memory.clone());
        KernelReport { look, confirmed: Vec::new() }
    }

    #[test]
    fn a_look_is_told_when_two_in_a_row_see_in_another_way_than_was_told() {
        let mut kernel = Kernel::default();
        let whole = |count| report(Sight::Whole { count });
        let torn = report(Sight::Incomplete { count: 1, why: "it changed".to_owned() });
        let gone = report(Sight::Unavailable { why: "it is not there".to_owned() });
        let told = [&whole(3), &whole(9), &torn, &whole(3), &gone, &gone, &gone, &whole(1), &whole(2)]
            .map(|report| kernel.count(report));
        assert_eq!(told, [true, false, false, false, false, true, false, false, true]);
        assert_eq!(
            (kernel.looks, kernel.incomplete, kernel.unavailable),
            (9, 1, 2),
            "history and kprobes are never there"
        );
    }

    #[test]
    fn every_kind_is_counted_from_the_first_look_on() {
        let mut kernel = Kernel::default();
        assert_eq!(kernel.metrics(), []);
        let confirmed = vec![KernelFinding::Hidden(samples::hidden_module())];
        kernel.count(&KernelReport { look: samples::kernel_look(), confirmed });
        let metrics = kernel.metrics();
        let value = |name: &str, reason: Option<&str>| {
            let is = |metric: &&Metric| {
                metric.name == name && metric.labels.get(1).map(|(_, value)| value.as_str()) == reason
            };
            metrics.iter().find(is).unwrap().value
        };
        assert_eq!(value("integrity_findings", Some("hidden-module")), 1);
        assert_eq!(value("integrity_findings", Some("hook")), 0);
        assert_eq!((value("integrity_looks", None), value("integrity_looks_incomplete", None)), (1, 1));
        assert_eq!((value("integrity_look_us", None), value("integrity_look_cpu_us", None)), (34_000, 21_500));
    }
}
