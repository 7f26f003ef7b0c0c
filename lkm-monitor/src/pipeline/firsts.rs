//! Calls that are told twice, because they take long: what is told when one has returned comes behind what was told before.

use std::collections::HashMap;

/// A call: its thread and enter time.
pub(super) type Name = (u32, u64);

/// See the module. `T` is what is told.
#[derive(Debug)]
pub(super) struct Firsts<T>(HashMap<Name, OnItsWay<T>>);

#[derive(Debug)]
struct OnItsWay<T> {
    /// Of one call: it may be told more often than twice.
    firsts: usize,
    behind: Vec<T>,
}

impl<T> Default for Firsts<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Firsts<T> {
    /// What is told of a running call is on its way.
    pub(super) fn begin(&mut self, name: Name) {
        self.0.entry(name).or_insert(OnItsWay { firsts: 0, behind: Vec::new() }).firsts += 1;
    }

    /// What can be told now that this has come, of a running call.
    pub(super) fn come(&mut self, name: Name, what: T) -> Vec<T> {
        let mut ready = vec![what];
        if let Some(on_its_way) = self.0.get_mut(&name) {
            on_its_way.firsts -= 1;
            if on_its_way.firsts == 0 {
                ready.extend(self.0.remove(&name).into_iter().flat_map(|on_its_way| on_its_way.behind));
            }
        }
        ready
    }

    /// What is told of a call that has returned, unless something of it is still on its way.
    pub(super) fn pass(&mut self, name: Name, what: T) -> Option<T> {
        match self.0.get_mut(&name) {
            Some(on_its_way) => {
                on_its_way.behind.push(what);
                None
            }
            None => Some(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name = (901, 7);

    #[test]
    fn what_is_told_in_the_end_comes_last() {
        let mut firsts = Firsts::default();
        firsts.begin(NAME);
        firsts.begin(NAME);
        assert_eq!(firsts.pass((902, 7), "another call"), Some("another call"));
        assert_eq!(firsts.pass(NAME, "last"), None);
        assert_eq!(firsts.come(NAME, "first"), ["first"]);
        assert_eq!(firsts.come(NAME, "second"), ["second", "last"]);
        assert_eq!(firsts.pass(NAME, "again"), Some("again"), "nothing is on its way");
        assert!(firsts.0.is_empty());
    }
}
