//! With what the host's files are looked at, and how much of that there may be.

use std::{path::Path, time::Instant};

use super::gaps::Gaps;
use crate::{
    inspect::contents::{HostFiles, Keep, NotThere, Seen},
    model::{ContentStatus, FoundFile},
    provenance::Packages,
};

/// What one survey may cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub files: u64,
    /// Read of files.
    pub bytes: u64,
    pub until: Instant,
}

impl Budget {
    /// Why no more files are looked at.
    fn is_spent(&self) -> Option<&'static str> {
        match self {
            Self { files: 0, .. } => Some("as many files as may be were looked at before"),
            Self { bytes: 0, .. } => Some("as many bytes as may be were read before"),
            Self { until, .. } if Instant::now() >= *until => Some("the time for it was over before"),
            _ => None,
        }
    }

    fn spend(&mut self, bytes: u64) {
        self.files = self.files.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The host's files, and the records of its packages if these are wanted: they are read whole for them, one file at a time.
#[derive(Debug)]
pub struct Survey {
    pub files: HostFiles,
    packages: Option<Packages>,
    budget: Budget,
}

impl Survey {
    /// Without packages. Those who survey may wait for a disk, and for no other machine.
    pub fn open(budget: Budget) -> Result<Self, NotThere> {
        Ok(Self { files: HostFiles::open()?, packages: None, budget })
    }

    /// With those that are recorded on the host whose root folder is seen as `root`.
    #[must_use]
    pub fn with_packages(self, root: &Path) -> Self {
        Self { packages: Some(Packages::new(root)), ..self }
    }

    /// The file of this path without links, and of its content what is to be kept. `None` if there is no such file, if it cannot be looked at,
    /// or if the budget is spent; `gaps` tells all but the first, and of a file that is there, why its content is not known.
    pub(super) fn look(
        &mut self,
        (what, path): (&str, &[u8]),
        keep: Keep,
        gaps: &mut Gaps,
    ) -> Option<(FoundFile, Option<Vec<u8>>)> {
        let keep = if self.packages.is_some() { Keep::All } else { keep };
        let seen = self.see((what, path), keep, gaps)?;
        let mut file = FoundFile {
            path: path.to_owned(),
            device: seen.device,
            status: seen.status,
            state: seen.state,
            ..FoundFile::default()
        };
        let mut content = seen.content;
        if file.state.link_target.is_some() {
            content = self.follow(what, &mut file, keep, gaps);
        }
        let packages = self.packages.as_mut().filter(|_| file.status == ContentStatus::Read);
        if let (Some(packages), Some(content)) = (packages, &content) {
            let provenance = packages.owner(path, content);
            for problem in &provenance.problems {
                gaps.add_one("record of packages", problem.path.as_os_str().as_encoded_bytes(), &problem.reason);
            }
            file.provenance = Some(provenance);
        }
        Some((file, content))
    }

    fn see(&mut self, (what, path): (&str, &[u8]), keep: Keep, gaps: &mut Gaps) -> Option<Seen> {
        if let Some(why) = self.budget.is_spent() {
            gaps.add_one(what, path, why);
            return None;
        }
        let seen = match self.files.look(path, keep) {
            Ok(seen) => seen,
            Err(NotThere::Gone) => return None,
            Err(why) => {
                gaps.add_one(what, path, why);
                return None;
            }
        };
        self.budget.spend(if seen.status == ContentStatus::Read { seen.state.size } else { 0 });
        if let Some(why) = unread(&seen) {
            gaps.add_one(what, path, why);
        }
        Some(seen)
    }

    /// What a link leads to says what is in effect.
    fn follow(&mut self, what: &str, link: &mut FoundFile, keep: Keep, gaps: &mut Gaps) -> Option<Vec<u8>> {
        let target = match self.files.resolve(&link.path) {
            Ok(target) => target,
            Err(NotThere::Gone) => {
                link.status = ContentStatus::Gone;
                return None;
            }
            Err(why) => {
                link.status = ContentStatus::Failed;
                gaps.add_one(what, &link.path, why);
                return None;
            }
        };
        let seen = self.see((what, &target), keep, gaps);
        link.leads_to = Some(target);
        link.status = seen.as_ref().map_or(ContentStatus::Failed, |seen| seen.status);
        let seen = seen?;
        link.state.sha256 = seen.state.sha256;
        seen.content
    }
}

/// Why a file's content is not known. What is no file, as /dev/null, has none.
fn unread(seen: &Seen) -> Option<String> {
    match seen.status {
        ContentStatus::Read | ContentStatus::Special => None,
        ContentStatus::ChangedSince => Some("it changed while it was read".to_owned()),
        ContentStatus::TooLarge => Some("it is too large to be read".to_owned()),
        ContentStatus::TimedOut => Some("it could not be read in time".to_owned()),
        status => Some(seen.refusal.clone().unwrap_or_else(|| format!("it cannot be read ({})", status.name()))),
    }
}
