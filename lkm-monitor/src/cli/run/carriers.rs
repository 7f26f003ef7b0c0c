//! What the daemon does with the way out: starts it, follows its state, and tells of it.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;

use crate::{
    config::{
        Config,
        sinks::{Documents, Plan},
    },
    dispatch::{Dispatch, Status},
    model::{Agent, Host, LossReason, Metric, SpoolChange},
    pipeline::{Pipeline, boot_ns},
    spool::{Condition, Count, Counter, Counts, Settings, Spool, own, total},
};

/// The spool and the sinks.
#[derive(Debug)]
pub(super) struct Carriers {
    dispatch: Dispatch,
    want_events: bool,
    /// What was told last.
    told: Condition,
    /// Losses that were given to be told, and those of them that are known to be.
    given: Counts,
    noted: Counts,
}

/// The settings that this is made of.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    settings: Settings,
    plans: BTreeMap<String, Plan>,
}

impl Ways {
    /// Reads the files that settings name.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        Ok(Self { settings: config.spool.settings()?, plans: config.plans()? })
    }

    /// Whether somebody wants what is no alert.
    fn want_events(&self) -> bool {
        self.plans.values().any(|plan| plan.documents == Documents::All)
    }
}

impl Carriers {
    pub(super) fn start(config: &Config, host: &Host, agent: &Agent) -> anyhow::Result<Self> {
        let ways = Ways::of(config)?;
        let want_events = ways.want_events();
        let dispatch = Dispatch::start(ways.settings, ways.plans, host, agent).context("no document can be sent")?;
        Ok(Self { dispatch, want_events, told: Condition::Durable, given: Counts::new(), noted: Counts::new() })
    }

    /// Where documents go into.
    pub(super) fn spool(&self) -> Arc<Spool> {
        Arc::clone(self.dispatch.spool())
    }

    /// Whether somebody wants what is no alert.
    pub(super) const fn want_events(&self) -> bool {
        self.want_events
    }

    /// Uses other sinks and bounds from now on.
    pub(super) fn follow(&mut self, ways: Ways) {
        self.want_events = ways.want_events();
        self.dispatch.follow(ways.plans, ways.settings);
    }

    /// Tells what was lost, and whether documents are durable. What was counted.
    pub(super) fn look_after(&mut self, pipeline: &mut Pipeline) -> anyhow::Result<Status> {
        let status = self.dispatch.status();
        if let Some(failure) = &status.failure {
            anyhow::bail!("{failure}");
        }
        if self.given != self.noted && !pipeline.owes() {
            self.dispatch.note_told(self.given.clone());
            self.noted.clone_from(&self.given);
        }
        pipeline.note_losses(&lost(&status.counts, &status.before));
        self.given = losses(&status.counts);
        if status.condition != self.told {
            let reason = match &status.condition {
                Condition::Durable => None,
                Condition::InMemory(reason) => Some(reason.clone()),
            };
            pipeline.tell_spool(&SpoolChange { boot_ns: boot_ns(), reason });
            self.told = status.condition.clone();
        }
        Ok(status)
    }

    /// Brings away what can be brought away until `deadline`.
    pub(super) fn finish(self, deadline: std::time::Instant) {
        self.dispatch.finish(deadline);
    }
}

/// What was lost of late: what was counted, less what of it runs before have told.
fn lost(counts: &Counts, before: &Counts) -> [(LossReason, u64); 4] {
    let since = |number: &dyn Fn(&Counts) -> u64| number(counts).saturating_sub(number(before));
    let all = |count| since(&|counts| total(counts, count));
    // The document of a torn line in a file was not acknowledged: it is sent again.
    let torn = since(&|counts| own(counts, Count::TornRecord));
    // A document of a loss that is refused would make another one, which is refused as well, and so on.
    let refused = all(Count::DeadLettered).saturating_sub(all(Count::LossRefused));
    [
        (LossReason::SpoolEvicted, all(Count::SpoolEvicted) + all(Count::SpoolExpired)),
        (LossReason::SpoolError, all(Count::SpoolError)),
        (LossReason::TornRecord, torn),
        (LossReason::Refused, refused),
    ]
}

/// What [`lost`] is made of.
fn losses(counts: &Counts) -> Counts {
    let is_loss = |counter: &Counter| match counter.count {
        Count::SpoolEvicted | Count::SpoolExpired | Count::SpoolError | Count::DeadLettered | Count::LossRefused => {
            true
        }
        Count::TornRecord => counter.sink.is_none(),
        _ => false,
    };
    counts.iter().filter(|(counter, _)| is_loss(counter)).map(|(counter, total)| (counter.clone(), *total)).collect()
}

/// As heartbeats and metrics have it.
pub(super) fn metrics(status: &Status) -> Vec<Metric> {
    let of_count = |(counter, value): (&Counter, &u64)| {
        let mut labels = vec![("stage", counter.count.stage().to_owned()), ("reason", counter.count.name().to_owned())];
        labels.extend(counter.sink.clone().map(|sink| ("sink", sink)));
        Metric { name: "documents", labels, value: *value }
    };
    let plain = |name, value| Metric { name, labels: Vec::new(), value };
    let of_sink = |(sink, health): (&String, &crate::sinks::courier::Health)| Metric {
        name: "sink_failures",
        labels: vec![("sink", sink.clone())],
        value: health.failures.into(),
    };
    let mut metrics: Vec<_> = status.counts.iter().map(of_count).collect();
    metrics.extend(status.sinks.iter().map(of_sink));
    metrics.extend([plain("spool_bytes", status.bytes), plain("dead_letters", status.dead_letters)]);
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_no_number_of_documents() {
        let torn = Counter::of(Count::TornRecord);
        let counts =
            [(torn.clone(), 3), (Counter::of(Count::SpoolError), 7), (Counter::of_sink(Count::TornRecord, "file"), 9)];
        let lost = lost(&counts.into(), &[(torn, 1)].into());
        assert!(lost.contains(&(LossReason::TornRecord, 2)) && lost.contains(&(LossReason::SpoolError, 7)), "{lost:?}");
    }

    #[test]
    fn a_refused_document_of_a_loss_is_no_other_loss() {
        let of = |refused, losses| {
            let counter = |count| Counter::of_sink(count, "siem");
            Counts::from([(counter(Count::DeadLettered), refused), (counter(Count::LossRefused), losses)])
        };
        let refused = |counts: &Counts, before: &Counts| lost(counts, before)[3];
        assert_eq!(refused(&of(5, 0), &Counts::new()), (LossReason::Refused, 5));
        assert_eq!(refused(&of(6, 1), &Counts::new()), (LossReason::Refused, 5));
        let told = losses(&of(6, 1));
        assert_eq!(refused(&of(7, 2), &told), (LossReason::Refused, 0), "the next run does not tell it again");
    }
}
