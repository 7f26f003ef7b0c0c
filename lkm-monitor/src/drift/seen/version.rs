//! What a file, a kernel setting or a module was at one moment, as far as it is known.

use serde::{Deserialize, Serialize};

use crate::model::{
    Content, ContentStatus, FileAction, FileReport, FileSeen, FileState, ModuleSeen, Subject, TargetSeen, taint,
    text::text,
};

/// What a file seen by an event takes in memory and on record, besides its names.
const FILE_BYTES: usize = 256;

/// A file, or a kernel setting, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::drift) enum Version {
    #[default]
    Unknown,
    Absent,
    File(Box<FileSeen>),
    /// The value of a kernel setting.
    Value(String),
}

impl Version {
    /// What a look saw.
    pub(super) fn of(seen: Option<&FileSeen>) -> Self {
        seen.map_or(Self::Absent, |seen| Self::File(Box::new(seen.clone())))
    }

    fn of_state(state: &FileState, subject: Subject) -> Self {
        let target =
            state.link_target.as_ref().map(|says| TargetSeen { says: TargetSeen::said(says), ..TargetSeen::default() });
        Self::File(Box::new(FileSeen { subject: subject.name().to_owned(), target, ..FileSeen::of(state) }))
    }

    /// Before the change of this report.
    pub(super) fn before(report: &FileReport) -> Self {
        let Content { before, value_before, .. } = &report.content;
        match (before, value_before) {
            (_, Some(value)) => Self::Value(text(value)),
            (Some(state), None) => Self::of_state(state, report.subject),
            // These fail where something has the name.
            (None, None)
                if matches!(report.change.action, FileAction::Created | FileAction::Linked | FileAction::Symlinked) =>
            {
                Self::Absent
            }
            (None, None) => Self::Unknown,
        }
    }

    /// After it.
    pub(super) fn after(report: &FileReport) -> Self {
        let Content { status, after, value, .. } = &report.content;
        if let Some(value) = value {
            return Self::Value(text(value));
        }
        match (status, after) {
            _ if report.change.action == FileAction::Removed => Self::Absent,
            // Of the very file of the event, and whole.
            (ContentStatus::Read, Some(state)) => Self::of_state(state, report.subject),
            _ => Self::Unknown,
        }
    }

    /// Memory that it takes besides its own place.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Unknown | Self::Absent => 0,
            Self::Value(value) => value.len(),
            Self::File(file) => FILE_BYTES + file.target.as_ref().map_or(0, |target| target.says.len()),
        }
    }

    /// Whether what it holds is known.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Absent | Self::Value(_) => true,
            Self::File(file) => match &file.target {
                Some(target) => target.sha256.is_some() || target.unread.is_some(),
                None => file.sha256.is_some(),
            },
        }
    }

    /// Whether both are surely the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.is_whole() && other.is_whole() && self.agrees(other)
    }

    /// Whether both can be the same.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) | (Self::Absent, Self::Absent) => true,
            (Self::File(one), Self::File(other)) => files_agree(one, other),
            (Self::Value(one), Self::Value(other)) => one == other,
            _ => false,
        }
    }

    /// The file, if there is one.
    pub(super) fn into_file(self) -> Option<Box<FileSeen>> {
        match self {
            Self::File(file) => Some(file),
            Self::Unknown | Self::Absent | Self::Value(_) => None,
        }
    }
}

fn files_agree(one: &FileSeen, other: &FileSeen) -> bool {
    let alike = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
    let targets = match (&one.target, &other.target) {
        (Some(one), Some(other)) => one.says == other.says && alike(&one.sha256, &other.sha256),
        (None, None) => true,
        // A link is no file of the same mode.
        _ => return false,
    };
    let attributes = |file: &FileSeen| (file.mode & 0o7777, file.uid, file.gid);
    targets && alike(&one.sha256, &other.sha256) && attributes(one) == attributes(other)
}

/// A module at one moment: `None` where it was not in the kernel.
pub(in crate::drift) type Loaded = Option<ModuleSeen>;

/// Whether it can be the very module. The size of one that was just being loaded, or unloaded, is not known (0), nor that of one of which
/// an event tells; nor what the kernel did not show of it. The kernel marks a module as more while it runs, and never as less.
pub(in crate::drift) fn can_be_same(before: &ModuleSeen, now: &ModuleSeen) -> bool {
    let alike = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
    let sizes = before.size == now.size || before.size == 0 || now.size == 0;
    let inodes = before.inode == now.inode || before.inode.is_none() || now.inode.is_none();
    sizes && inodes && alike(&before.srcversion, &now.srcversion) && before.taints == now.taints
}

/// Whether what is there now can be the module that an event told of.
pub(super) fn can_be_told(told: &ModuleSeen, now: &ModuleSeen) -> bool {
    let has_all = taint::bits(&told.taints).zip(taint::bits(&now.taints)).is_none_or(|(told, now)| told & !now == 0);
    has_all && can_be_same(&ModuleSeen { taints: now.taints.clone(), ..told.clone() }, now)
}
