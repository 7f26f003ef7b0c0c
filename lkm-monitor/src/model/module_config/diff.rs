//! What changed between two versions of a file.

use std::{collections::HashMap, hash::Hash};

/// What changed, line by line, in at most [`MAX_LINES`] lines on each side of at most [`MAX_LINE_BYTES`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineDiff {
    /// Lines that are there more often than before, in their order.
    pub added: Vec<Vec<u8>>,
    /// Lines that are there less often than before, in their old order.
    pub removed: Vec<Vec<u8>>,
    /// Lines that are in both versions, each as often as before, are in another order.
    pub reordered: bool,
    /// How many added and removed lines are not shown.
    pub more: usize,
    /// A line that is shown lost its end.
    pub truncated: bool,
}

/// Lines of each side.
pub const MAX_LINES: usize = 32;
/// Bytes of one line.
pub const MAX_LINE_BYTES: usize = 256;

/// Compares two versions of a file. Empty lines count for nothing: a document could not show them.
pub fn diff(before: &[u8], after: &[u8]) -> LineDiff {
    let [before, after] = [before, after].map(lines);
    let [was, is] = [&before, &after].map(|lines| counted(lines));
    let mut diff = LineDiff::default();
    diff.added = diff.shown(surplus(&before, &after));
    diff.removed = diff.shown(surplus(&after, &before));
    // A line of which a copy came or went could have been any of its copies, so it says nothing of the order.
    let steady = |line: &&&[u8]| was.get(*line) == is.get(*line);
    diff.reordered = !before.iter().filter(steady).eq(after.iter().filter(steady));
    diff
}

impl LineDiff {
    fn shown(&mut self, lines: Vec<&&[u8]>) -> Vec<Vec<u8>> {
        self.more += lines.len().saturating_sub(MAX_LINES);
        let mut shown = Vec::new();
        for line in lines.into_iter().take(MAX_LINES) {
            self.truncated |= line.len() > MAX_LINE_BYTES;
            shown.push(line[..line.len().min(MAX_LINE_BYTES)].to_vec());
        }
        shown
    }
}

/// What `after` has more often than `before`, in the order of `after`. Of equal items the last ones are the new ones.
pub fn appeared<T: Clone + Eq + Hash>(before: &[T], after: &[T]) -> Vec<T> {
    surplus(before, after).into_iter().cloned().collect()
}

fn surplus<'a, T: Eq + Hash>(before: &[T], after: &'a [T]) -> Vec<&'a T> {
    let mut left = counted(before);
    after
        .iter()
        .filter(|item| match left.get_mut(item) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .collect()
}

fn counted<T: Eq + Hash>(items: &[T]) -> HashMap<&T, usize> {
    let mut counts = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(lines: &[Vec<u8>]) -> String {
        String::from_utf8(lines.join(&b' ')).unwrap()
    }

    /// Added and removed of versions whose lines are words, and whether the order changed.
    fn change(before: &str, after: &str) -> (String, String, bool) {
        let diff = diff(before.replace(' ', "\n").as_bytes(), after.replace(' ', "\n").as_bytes());
        assert_eq!((diff.more, diff.truncated), (0, false));
        (words(&diff.added), words(&diff.removed), diff.reordered)
    }

    #[test]
    fn compares_multisets_in_order() {
        let is = |added: &str, removed: &str, reordered| (added.to_owned(), removed.to_owned(), reordered);
        assert_eq!(change("a b", "a b "), is("", "", false));
        assert_eq!(change("", "b a b"), is("b a b", "", false));
        assert_eq!(change("a x b y", "a c b d"), is("c d", "x y", false));
        assert_eq!(change("a b", "b a"), is("", "", true));
        assert_eq!(change("a b a", "a a b"), is("", "", true));
        assert_eq!(change("a b a", "b a"), is("", "a", false));
        assert_eq!(change("a", "a a a"), is("a a", "", false));
        assert_eq!(change("a b x", "y b a"), is("y", "x", true));
    }

    #[test]
    fn is_bounded_and_says_so() {
        let many: String = (0..40).map(|number| format!("{number}\n")).collect();
        let long = vec![b'a'; 257];
        let of_many = diff(many.as_bytes(), &long);
        assert_eq!((of_many.removed.len(), of_many.added.len(), of_many.more), (32, 1, 8));
        assert_eq!((of_many.added[0].len(), of_many.truncated), (256, true));
        assert!(!diff(many.as_bytes(), &long[1..]).truncated);
    }

    #[test]
    fn finds_what_appeared() {
        assert_eq!(appeared(&[1, 2, 2], &[2, 3, 2, 1, 2, 3]), [3, 2, 3]);
        assert!(appeared(&[1], &[]).is_empty());
    }

    proptest! {
        #[test]
        fn adds_up(before in "([ab\u{e9}]?\n){0,9}", after in "([ab\u{e9}]?\n){0,9}") {
            let [before, after] = [before.as_bytes(), after.as_bytes()];
            let diff = diff(before, after);
            let sorted = |sides: [Vec<Vec<u8>>; 2]| {
                let mut all = sides.concat();
                all.sort();
                all
            };
            let owned = |content| lines(content).iter().map(|line| line.to_vec()).collect();
            prop_assert_eq!(sorted([owned(before), diff.added]), sorted([owned(after), diff.removed]));
        }

        #[test]
        fn takes_any_bytes(before in any::<Vec<u8>>(), after in any::<Vec<u8>>()) {
            prop_assert_eq!(diff(&before, &before), LineDiff::default());
            let diff = diff(&before, &after);
            prop_assert!(diff.added.len() <= MAX_LINES && diff.removed.len() <= MAX_LINES);
        }
    }
}
