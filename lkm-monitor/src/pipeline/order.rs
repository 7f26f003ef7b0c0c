//! Calls in the order in which they were made, though some wait longer than others: a load is told before the unload that follows it.

use std::collections::VecDeque;

/// Calls that wait for an earlier one. Further ones do not.
const MAX_WAITING: usize = 2048;

/// The place of a call among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// See the module. `T` is what is told.
#[derive(Debug)]
pub(super) struct Order<T> {
    /// The number of the first place.
    first: u64,
    places: VecDeque<Option<T>>,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { first: 0, places: VecDeque::new() }
    }
}

impl<T> Order<T> {
    /// The next place; `None` when too many wait.
    pub(super) fn place(&mut self) -> Option<Ticket> {
        if self.places.len() >= MAX_WAITING {
            return None;
        }
        self.places.push_back(None);
        Some(Ticket(self.first + self.places.len() as u64 - 1))
    }

    /// What can be told now that this has come to its place.
    pub(super) fn come(&mut self, ticket: Option<Ticket>, what: T) -> Vec<T> {
        let place = ticket.and_then(|Ticket(number)| usize::try_from(number.checked_sub(self.first)?).ok());
        match place.and_then(|place| self.places.get_mut(place)) {
            Some(place) => *place = Some(what),
            None => return vec![what],
        }
        let mut ready = Vec::new();
        while let Some(Some(_)) = self.places.front() {
            ready.extend(self.places.pop_front().flatten());
            self.first += 1;
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_are_told_in_order(swaps in proptest::collection::vec(any::<prop::sample::Index>(), 1..60)) {
            let mut order = Order::default();
            let mut coming: Vec<_> = (0..swaps.len()).map(|number| (order.place(), number)).collect();
            let mut told = Vec::new();
            for swap in swaps {
                let (ticket, number) = coming.swap_remove(swap.index(coming.len()));
                told.extend(order.come(ticket, number));
            }
            prop_assert!(told.is_sorted());
            prop_assert_eq!(told.len(), told.last().unwrap() + 1);
            prop_assert!(order.places.is_empty());
        }
    }

    #[test]
    fn those_without_a_place_do_not_wait() {
        let mut order = Order::default();
        let tickets: Vec<_> = (0..=MAX_WAITING).map(|_| order.place()).collect();
        assert_eq!(tickets.iter().filter(|ticket| ticket.is_none()).count(), 1);
        assert_eq!(order.come(None, 7), [7]);
        assert!(order.come(tickets[1], 1).is_empty());
        assert_eq!(order.come(tickets[0], 0), [0, 1]);
        assert!(order.place().is_some(), "there is room again");
    }
}
