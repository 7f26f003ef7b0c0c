//! What was counted before it was told in full: it is told again when it has ended, and counts once.

use std::collections::{HashSet, VecDeque};

use crate::model::Observation;

/// As many as the join and the runs of tools follow at one time. What is forgotten counts twice.
const REMEMBERED: usize = 4096;

/// A call by its thread and enter time, or a run by its process and exec.
type Identity = (u32, u64);

#[derive(Debug)]
pub(super) struct Counted {
    open: HashSet<Identity>,
    order: VecDeque<Identity>,
}

impl Counted {
    pub(super) fn new() -> Self {
        Self { open: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether the observation was counted before. It is now.
    pub(super) fn is_again(&mut self, observation: &Observation) -> bool {
        let (identity, is_whole, told) = match observation {
            Observation::Call(call) => ((call.tid, call.call_id), call.outcome.is_some(), call.told),
            Observation::Tool(run) => ((run.process.caller.pid, run.boot_ns), run.end.is_some(), run.told),
            Observation::File(_) | Observation::Request(_) | Observation::Object(_) => return false,
        };
        let is_again = told > 0 && self.open.contains(&identity);
        if is_whole {
            self.open.remove(&identity);
        } else if self.open.insert(identity) {
            self.order.push_back(identity);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.open.remove(&oldest);
            }
        }
        is_again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModuleCall, samples};

    fn call(call_id: u64, told: u32, has_returned: bool) -> Observation {
        let load = samples::load();
        let outcome = load.outcome.filter(|_| has_returned);
        Observation::Call(Box::new(ModuleCall { call_id, told, outcome, ..load }))
    }

    #[test]
    fn a_call_that_is_told_twice_counts_once() {
        let mut counted = Counted::new();
        assert!(!counted.is_again(&call(1, 0, false)));
        assert!(counted.is_again(&call(1, 1, true)));
        assert!(!counted.is_again(&call(1, 0, true)), "another one");
    }

    #[test]
    fn a_call_that_did_not_count_at_first_counts_later() {
        let mut counted = Counted::new();
        assert!(!counted.is_again(&call(1, 1, true)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut counted = Counted::new();
        for number in 0..2 * REMEMBERED as u64 {
            assert!(!counted.is_again(&call(number, 0, false)));
        }
        assert!(counted.open.len() <= REMEMBERED && counted.order.len() <= REMEMBERED);
    }
}
