//! How an observation goes through the stages: `observed` or `changed`, `looked_at`, `weighed_alone`, `weighed`, `fold_or_tell`, `tell`.
//!
//! Each gives the next one what need not wait. What does wait goes on there when its answer comes, or its time is over.

use super::{
    Pending, Pipeline, boot_ns, evidence,
    looks::Selected,
    order::Ticket,
    standings::{Next, Weighable},
};
use crate::{
    assess::{self, Context},
    fold::Folded,
    inspect,
    model::{FileChange, FileReport, ModuleCall, Observation, Verdict},
};

impl Pipeline {
    pub(super) fn pass_on(&mut self) {
        for observation in std::mem::take(&mut self.observations) {
            if let Observation::Call(call) = &observation {
                self.tools.note(call);
                self.kernel.note(call);
            }
            self.observed(observation);
        }
    }

    /// Passes on a change of a file, at once or when somebody has looked at the file.
    pub(super) fn changed(&mut self, change: FileChange) {
        match self.looks.select(change, &self.host, boot_ns()) {
            Selected::Told(report) => self.reported(report),
            // Nobody wants to be told of it, by the next look neither.
            Selected::Excluded(report) => {
                if let Some(drifting) = &mut self.drifting {
                    drifting.note(&Observation::File(Box::new(report)));
                }
            }
            Selected::Nothing => {}
        }
    }

    fn reported(&mut self, report: FileReport) {
        self.weighed_alone(Pending::of(Observation::File(Box::new(report))));
    }

    /// Takes an observation in. A load waits for a look at its file, and then at its image.
    pub(super) fn observed(&mut self, observation: Observation) {
        match observation {
            Observation::Call(call) => {
                // One that has not returned may be ending us: it waits for no other's sake, and nothing that undoes it can come before it.
                let ticket = if call.is_running() {
                    self.firsts.begin((call.tid, call.call_id));
                    None
                } else {
                    self.order.place()
                };
                if let Some(pending) = self.looks.look_at_load(call, ticket, &self.host, boot_ns()) {
                    self.looked_at(pending);
                }
            }
            observation => self.weighed_alone(Pending::of(observation)),
        }
    }

    /// Takes in what needs no more looks at files. A load waits until somebody knows what was loaded.
    pub(super) fn looked_at(&mut self, pending: Pending) {
        if let Some(pending) = self.images.ask(pending, &self.host, boot_ns()) {
            self.weighed_alone(pending);
        }
    }

    /// Weighs an observation by itself, and asks how it stands.
    pub(super) fn weighed_alone(&mut self, mut pending: Pending) {
        if let Some(drifting) = &mut self.drifting {
            drifting.note(&pending.observation);
        }
        let process = match &mut pending.observation {
            Observation::Call(call) => call.process.as_mut(),
            Observation::Request(request) => Some(&mut request.process),
            Observation::File(report) => Some(&mut report.change.process),
            Observation::Tool(run) => Some(&mut run.process),
            Observation::Object(access) => Some(&mut access.process),
        };
        if let Some(process) = process {
            inspect::complete_arguments(process, &self.running);
        }
        let accounts = self.accounts.refresh();
        let context = Context { host: &self.host, accounts };
        let verdict = assess::assess(&pending.observation, &context);
        match self.standings.ask(pending, verdict, boot_ns()) {
            Next::Uncounted(pending, verdict) => self.fold_or_tell(pending, verdict),
            Next::Weighable(weighable) => self.weighed(*weighable),
            Next::Waits => {}
        }
    }

    /// Weighs an observation by how it stands.
    pub(super) fn weighed(&mut self, weighable: Weighable) {
        let Weighable { pending, verdict, rarity, threshold } = weighable;
        let accounts = self.accounts.refresh();
        let context = Context { host: &self.host, accounts };
        let verdict = assess::weigh_rarity(verdict, &pending.observation, rarity, &threshold, &context);
        self.fold_or_tell(pending, verdict);
    }

    fn fold_or_tell(&mut self, Pending { observation, ticket }: Pending, verdict: Verdict) {
        match observation {
            Observation::File(report) if !verdict.findings.is_empty() => {
                let accounts = self.accounts.refresh();
                let context = Context { host: &self.host, accounts };
                let by = assess::process_phrase(&report.change.process.caller, &context);
                let folded = self.fold.push(report, verdict, &by, boot_ns());
                self.told(folded);
            }
            Observation::Call(call) => {
                for (mut observation, verdict) in self.in_order(*call, ticket, verdict) {
                    self.judge_image(&mut observation, &verdict);
                    self.tell(&observation, &verdict);
                }
            }
            observation => self.tell(&observation, &verdict),
        }
    }

    /// What can be told now that this call has come so far.
    fn in_order(&mut self, call: ModuleCall, ticket: Option<Ticket>, verdict: Verdict) -> Vec<(Observation, Verdict)> {
        let (name, is_running) = ((call.tid, call.call_id), call.is_running());
        let told = (Observation::Call(Box::new(call)), verdict);
        if is_running {
            return self.firsts.come(name, told);
        }
        let ready = self.order.come(ticket, told).into_iter();
        let passed = ready.filter_map(|told| match &told.0 {
            Observation::Call(call) => self.firsts.pass((call.tid, call.call_id), told),
            _ => Some(told),
        });
        passed.collect()
    }

    /// Before it is told, so that the document says whether its image was kept.
    fn judge_image(&mut self, observation: &mut Observation, verdict: &Verdict) {
        if let Observation::Call(call) = observation {
            let (clock, accounts) = (self.teller.clock(), self.accounts.refresh());
            let record = |call: &ModuleCall| evidence::record(call, verdict, (&self.host, clock), accounts);
            self.images.judge(call, verdict, record);
        }
    }

    pub(super) fn told(&mut self, folded: Vec<Folded>) {
        for folded in folded {
            match folded {
                Folded::Alert(report, verdict) => self.tell(&Observation::File(report), &verdict),
                Folded::Event(report, rarity) => {
                    // Whether it was told is settled by the alert on all of them.
                    let verdict = Verdict { rarity, ..Verdict::default() };
                    self.teller.tell(&Observation::File(report), &verdict, self.accounts.refresh());
                }
                Folded::Burst(burst, verdict) => {
                    let told = self.teller.tell_burst(&burst, &verdict, self.accounts.refresh());
                    burst.settles.iter().for_each(|id| self.standings.settle(*id, told));
                }
            }
        }
    }

    fn tell(&mut self, observation: &Observation, verdict: &Verdict) {
        let told = self.teller.tell(observation, verdict, self.accounts.refresh());
        if let Some(rarity) = &verdict.rarity
            && let Some(id) = rarity.settles
        {
            // What is common is no cause to tell.
            self.standings.settle(id, told || !rarity.rare);
        }
    }
}
