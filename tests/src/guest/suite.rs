//! All scenarios under one kind of hooks, then all under the other, then the comparison of both.

use std::{
    panic::{self, AssertUnwindSafe},
    time::Instant,
};

use crate::{
    compare,
    document::Document,
    machine,
    scenarios::{self, Scenario, documents},
    sensor::{Hooks, Sensor},
    stage::Stage,
};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Tally {
    /// Runs one test; a panic is its failure and no other's.
    fn run<T>(&mut self, name: &str, test: impl FnOnce() -> T) -> Option<T> {
        println!("{name} ...");
        let start = Instant::now();
        let result = panic::catch_unwind(AssertUnwindSafe(test)).ok();
        let word = if result.is_some() { "ok" } else { "FAILED" };
        println!("{name} ... {word} ({:.1} s)", start.elapsed().as_secs_f64());
        if result.is_some() {
            self.passed += 1
        } else {
            self.failed += 1
        }
        result
    }
}

/// What the daemon said under one kind of hooks.
#[derive(Default)]
struct Pass {
    /// By scenario, those that are compared.
    comparable: Vec<(&'static str, Vec<Document>)>,
    all: Vec<Document>,
    /// Of the daemon that also looks at the kernel.
    looking: Vec<Document>,
}

/// Runs the scenarios whose name contains one of the words in `only`, which commas part; those in user space if they are wanted here.
pub(crate) fn run(only: &str, user_space: bool) -> Tally {
    let mut tally = Tally::default();
    let is_wanted = |scenario: &&Scenario| {
        only.split(',').any(|word| scenario.name.contains(word)) && (user_space || !scenario.user_space)
    };
    let selected: Vec<&Scenario> = scenarios::ALL.iter().filter(is_wanted).collect();
    let [fentry, tracepoint] = [Hooks::Fentry, Hooks::Tracepoint].map(|hooks| pass(hooks, &selected, &mut tally));
    for ((name, left), (_, right)) in fentry.comparable.iter().zip(&tracepoint.comparable) {
        tally.run(&format!("both hooks agree on {name}"), || compare::same(left, right));
    }
    for (hooks, pass) in [(Hooks::Fentry, &fentry), (Hooks::Tracepoint, &tracepoint)] {
        for (name, check) in documents::CHECKS {
            tally.run(&format!("{} documents::{name}", hooks.name()), || {
                check(&pass.all);
                check(&pass.looking);
            });
        }
    }
    tally
}

fn pass(hooks: Hooks, selected: &[&Scenario], tally: &mut Tally) -> Pass {
    let mut pass = Pass::default();
    let start = tally.run(&format!("{} start", hooks.name()), || Sensor::start(hooks));
    let Some(sensor) = start else {
        tally.failed += selected.len() as u32;
        return pass;
    };
    let mut stage = Stage { sensor, hooks, looking: None };
    for scenario in selected.iter().filter(|scenario| hooks == Hooks::Fentry || !scenario.once) {
        stage.sensor.begin_scenario();
        tally.run(&format!("{} {}", hooks.name(), scenario.name), || play(scenario, &mut stage));
        if scenario.compared {
            pass.comparable.push((scenario.name, stage.sensor.documents()));
        }
    }
    if !stage.sensor.is_stopped() {
        tally.run(&format!("{} stop", hooks.name()), || stage.sensor.stop());
    }
    if let Some(looking) = &mut stage.looking {
        tally.run(&format!("{} stop of the one that looks", hooks.name()), || looking.stop());
        pass.looking = looking.all_documents();
    }
    pass.all = stage.sensor.all_documents();
    pass
}

/// One scenario, and the machine as it was before.
fn play(scenario: &Scenario, stage: &mut Stage) {
    let modules = machine::loaded_modules();
    let result = panic::catch_unwind(AssertUnwindSafe(|| (scenario.run)(stage)));
    machine::reap_orphans(stage.sensor.pid());
    machine::unload_all_but(&modules);
    machine::empty_scratch();
    if !stage.sensor.is_stopped() {
        stage.sensor.settle();
    }
    if let Err(panic) = result {
        println!("  the daemon's log:\n  {}", stage.sensor.log());
        panic::resume_unwind(panic);
    }
    let violations = stage.sensor.violations();
    assert!(violations.is_empty(), "not JSON on standard output: {violations:?}");
}
