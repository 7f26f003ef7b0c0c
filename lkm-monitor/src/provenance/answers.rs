//! Answers of the databases that may be asked for again: those asked for last are kept.

use std::collections::VecDeque;

use super::owner::Found;

/// More than a host has modules at work.
const MAX_ANSWERS: usize = 512;
/// `PATH_MAX`: longer paths are asked for anew each time.
const MAX_PATH_BYTES: usize = 4096;

/// Paths and what the databases say of them, the last asked first.
#[derive(Debug, Default)]
pub(super) struct Answers(VecDeque<(Vec<u8>, Found)>);

impl Answers {
    pub(super) fn get(&mut self, path: &[u8]) -> Option<Found> {
        let place = self.0.iter().position(|(asked, _)| asked == path)?;
        let answer = self.0.remove(place)?;
        let found = answer.1.clone();
        self.0.push_front(answer);
        Some(found)
    }

    pub(super) fn put(&mut self, path: &[u8], found: &Found) {
        if path.len() <= MAX_PATH_BYTES {
            self.0.truncate(MAX_ANSWERS - 1);
            self.0.push_front((path.to_vec(), found.clone()));
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn those_asked_for_last_are_kept() {
        let mut answers = Answers::default();
        let path = |number: usize| format!("/lib/modules/{number}.ko").into_bytes();
        let mut known = Found::default();
        known.problems.add(Path::new("/"), "known");
        answers.put(&path(0), &known);
        for number in 1..MAX_ANSWERS + 100 {
            assert_eq!(answers.get(&path(0)), Some(known.clone()));
            answers.put(&path(number), &Found::default());
        }
        assert_eq!(answers.get(&path(1)), None);
        assert_eq!(answers.get(&path(MAX_ANSWERS)), Some(Found::default()));
        assert_eq!(answers.0.len(), MAX_ANSWERS);
        answers.put(&[b'/'; MAX_PATH_BYTES + 1], &known);
        assert_eq!(answers.get(&[b'/'; MAX_PATH_BYTES + 1]), None);
        answers.clear();
        assert_eq!(answers.get(&path(0)), None);
    }
}
