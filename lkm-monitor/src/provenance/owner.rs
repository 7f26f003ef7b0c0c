//! What a database of packages says of a path.

use std::{fmt::Display, path::Path};

use super::digest::Recorded;
use crate::model::{Manager, Problem};

/// A damaged database can have thousands of them: a few show what is wrong.
const MAX_PROBLEMS: usize = 8;

/// A package that owns a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) manager: Manager,
    pub(super) package: Vec<u8>,
    pub(super) version: Option<Vec<u8>>,
    pub(super) architecture: Option<Vec<u8>>,
    pub(super) recorded: Option<Recorded>,
}

/// The answer of a database: nobody owns the path for certain only if there was no problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) owner: Option<Owner>,
    pub(super) problems: Problems,
}

/// The first few problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, path: &Path, reason: impl Display) {
        self.extend([Problem { path: path.to_owned(), reason: reason.to_string() }]);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, problems: T) {
        let room = MAX_PROBLEMS.saturating_sub(self.0.len());
        self.0.extend(problems.into_iter().take(room));
    }
}
