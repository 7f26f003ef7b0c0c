//! What the files of modprobe.d and modules-load.d tell kmod and systemd to do, and what of it is dangerous.
//!
//! All of it is pure and linear in the size of the files. The readings are those of the programs, oddities included:
//! what a file says to a human is not the question.

mod danger;
mod diff;
#[cfg(test)]
mod oracle;
mod parse;
mod protective;

pub use danger::{Danger, Known, dangers, load_dangers};
pub use diff::{LineDiff, MAX_LINE_BYTES, MAX_LINES, appeared, diff};
pub use parse::{parse, parse_modules_load, underscored};

/// The command of a line in modprobe.d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Alias,
    Blacklist,
    Options,
    Install,
    Remove,
    Softdep,
    /// Since kmod 33; older ones ignore it.
    Weakdep,
    /// A command that kmod does not have, or has no longer (`include`, `config`).
    Unknown,
    /// A command that kmod has, in a line that it ignores: words are missing, or brackets in a name do not match.
    Invalid,
}

impl Kind {
    /// The command; nothing for a line that is none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alias => "alias",
            Self::Blacklist => "blacklist",
            Self::Options => "options",
            Self::Install => "install",
            Self::Remove => "remove",
            Self::Softdep => "softdep",
            Self::Weakdep => "weakdep",
            Self::Unknown | Self::Invalid => "",
        }
    }
}

/// One line of modprobe.d as kmod understands it. Continued lines are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Directive {
    pub kind: Kind,
    /// The module that it is about, with `_` for `-`; of an alias, what the alias leads to. kmod takes the names of
    /// install, remove, softdep and weakdep for shell patterns. Empty where there is none (unknown, invalid).
    pub module: Vec<u8>,
    /// The rest of the line as kmod keeps it: the pattern of an alias, the command, the options, the dependencies. Of
    /// an unknown or invalid line, the whole line.
    pub arguments: Vec<u8>,
    /// What `modprobe --showconfig` prints for it, except that dependencies are set apart by blanks, which kmod forgets
    /// before `post:`. Of an unknown or invalid line, the whole line.
    pub text: Vec<u8>,
}

/// A module that another one pulls in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dependency<'a> {
    pub when: When,
    /// As written; kmod resolves it like an argument of modprobe, aliases included.
    pub module: &'a [u8],
}

/// When a dependency is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    Before,
    After,
    /// Not by kmod itself, but by who builds an initramfs.
    Weak,
}

impl Directive {
    /// What a softdep or weakdep pulls in, in the order of the line; nothing for other lines.
    pub fn dependencies(&self) -> Vec<Dependency<'_>> {
        parse::dependencies(self.kind, &self.arguments)
    }
}
