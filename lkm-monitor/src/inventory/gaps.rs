//! What could not be looked at, the same reasons together.

use crate::model::{Gap, text::brief};

/// Kinds and reasons that are told apart.
const MAX_GAPS: usize = 128;
const MAX_EXAMPLES: usize = 3;

/// Gaps in the order in which they were met.
#[derive(Debug, Default)]
pub struct Gaps(Vec<Gap>);

impl Gaps {
    /// Of something that there is one of.
    pub fn add(&mut self, what: &str, why: impl ToString) {
        self.note(what, why.to_string(), None);
    }

    /// Of one of many.
    pub fn add_one(&mut self, what: &str, which: &[u8], why: impl ToString) {
        self.note(what, why.to_string(), Some(which));
    }

    fn note(&mut self, what: &str, why: String, which: Option<&[u8]>) {
        let known = self.0.iter().position(|gap| gap.what == what && gap.why == why);
        let gap = match known {
            Some(at) => self.0.get_mut(at),
            None if self.0.len() < MAX_GAPS => {
                self.0.push(Gap { what: what.to_owned(), why, count: 0, examples: Vec::new() });
                self.0.last_mut()
            }
            // More of them are told with the last one.
            None => self.0.last_mut(),
        };
        let Some(gap) = gap else { return };
        gap.count += 1;
        if gap.examples.len() < MAX_EXAMPLES {
            gap.examples.extend(which.map(brief));
        }
    }

    pub fn into_vec(self) -> Vec<Gap> {
        self.0
    }
}

impl Gap {
    /// A sentence without its full stop.
    pub fn sentence(&self) -> String {
        let Self { what, why, count, examples } = self;
        let more = count.saturating_sub(examples.len() as u64);
        match (examples.is_empty(), more) {
            (true, _) => format!("{what}: {why}"),
            (false, 0) => format!("{what} {}: {why}", examples.join(", ")),
            (false, more) => format!("{what} {} and {more} more: {why}", examples.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reasons_are_told_together() {
        let mut gaps = Gaps::default();
        gaps.add("address", "the kernel does not tell it");
        for number in 0..5 {
            gaps.add_one("parameter", format!("p{number}\n").as_bytes(), "permission denied");
        }
        gaps.add_one("parameter", b"q", "it changed");
        let sentences: Vec<_> = gaps.into_vec().iter().map(Gap::sentence).collect();
        assert_eq!(
            sentences,
            [
                "address: the kernel does not tell it",
                "parameter p0\\x0a, p1\\x0a, p2\\x0a and 2 more: permission denied",
                "parameter q: it changed",
            ]
        );
    }

    #[test]
    fn there_are_never_too_many() {
        let mut gaps = Gaps::default();
        for number in 0..1000 {
            gaps.add_one("file", b"x", number);
        }
        let gaps = gaps.into_vec();
        assert_eq!(gaps.len(), MAX_GAPS);
        assert_eq!(gaps.iter().map(|gap| gap.count).sum::<u64>(), 1000);
    }
}
