//! What is told of a kernel: findings that belong together, beside how well each view could be looked at.

use super::{
    HiddenModule, KernelFinding, KernelHook, KernelLook, ReadingsDiffer, Sight, SystemCallEntry, TaintCleared, View,
};

/// Entries and hooks that one alert names: a changed table of system calls is one event, and has hundreds of entries.
const MAX_NAMED: usize = 32;

/// Findings that one alert is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelFacts {
    /// Each is an event of its own.
    Hidden(HiddenModule),
    /// At least one, and how many more.
    SystemCalls(Vec<SystemCallEntry>, usize),
    /// At least one, and how many more.
    Hooks(Vec<KernelHook>, usize),
    TaintCleared(TaintCleared),
    ReadingsDiffer(ReadingsDiffer),
}

impl KernelFacts {
    /// `event.action`.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Hidden(_) => "module-hidden",
            Self::SystemCalls(..) => "syscall-table-changed",
            Self::Hooks(..) => "kernel-hook-foreign",
            Self::TaintCleared(_) => "taint-cleared",
            Self::ReadingsDiffer(_) => "module-list-filtered",
        }
    }
}

/// Something that two looks have found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelAlert {
    /// Nanoseconds since boot of the second look.
    pub boot_ns: u64,
    /// Its place among the alerts of one look.
    pub number: u32,
    pub facts: KernelFacts,
    /// How well each view could be looked at.
    pub views: Vec<(View, Sight)>,
}

/// A look, with those of its findings that an earlier look had, too, and that were not told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelReport {
    pub look: KernelLook,
    pub confirmed: Vec<KernelFinding>,
}

impl KernelReport {
    /// What is to be told.
    pub fn alerts(&self) -> Vec<KernelAlert> {
        let mut facts = Vec::new();
        let (mut calls, mut hooks) = (Vec::new(), Vec::new());
        for finding in &self.confirmed {
            match finding.clone() {
                KernelFinding::Hidden(module) => facts.push(KernelFacts::Hidden(module)),
                KernelFinding::SystemCall(entry) => calls.push(entry),
                KernelFinding::Hook(hook) => hooks.push(hook),
                KernelFinding::TaintCleared(cleared) => facts.push(KernelFacts::TaintCleared(cleared)),
                KernelFinding::ReadingsDiffer(differ) => facts.push(KernelFacts::ReadingsDiffer(differ)),
            }
        }
        if !calls.is_empty() {
            let more = cut(&mut calls);
            facts.push(KernelFacts::SystemCalls(calls, more));
        }
        if !hooks.is_empty() {
            let more = cut(&mut hooks);
            facts.push(KernelFacts::Hooks(hooks, more));
        }
        let alert = |(number, facts)| {
            let views = self.look.views.clone();
            KernelAlert { boot_ns: self.look.boot_ns, number, facts, views }
        };
        (0..).zip(facts).map(alert).collect()
    }
}

/// Leaves what is named. How many there are beyond.
fn cut<T>(all: &mut Vec<T>) -> usize {
    let more = all.len().saturating_sub(MAX_NAMED);
    all.truncate(MAX_NAMED);
    more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::samples;

    #[test]
    fn what_belongs_together_is_one_alert_and_a_module_is_one_by_itself() {
        let look = samples::kernel_look();
        let entry = |number| KernelFinding::SystemCall(SystemCallEntry { number, ..samples::changed_entry() });
        let mut confirmed: Vec<_> = (0..40).map(entry).collect();
        confirmed.push(KernelFinding::Hook(samples::foreign_hook()));
        confirmed.extend(
            ["a", "b"]
                .map(|name| KernelFinding::Hidden(HiddenModule { name: name.to_owned(), ..samples::hidden_module() })),
        );
        let alerts = KernelReport { look: look.clone(), confirmed }.alerts();
        let actions: Vec<_> = alerts.iter().map(|alert| (alert.number, alert.facts.action())).collect();
        let expected =
            [(0, "module-hidden"), (1, "module-hidden"), (2, "syscall-table-changed"), (3, "kernel-hook-foreign")];
        assert_eq!(actions, expected);
        assert!(matches!(&alerts[2].facts, KernelFacts::SystemCalls(named, 8) if named.len() == 32));
        assert!(alerts.iter().all(|alert| (alert.boot_ns, &alert.views) == (look.boot_ns, &look.views)));
        assert_eq!(KernelReport { look, confirmed: Vec::new() }.alerts(), []);
    }
}
