//! What is dangerous in lines that appeared.

use super::{
    Directive, Kind,
    parse::underscored,
    protective::{purpose, purpose_of_pattern},
};
use crate::model::text::brief;

/// What the host has.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Whether the host has a module of this name, or an alias that leads to one: dependencies and lists of modules may
    /// name aliases. The name has `_` for `-`.
    pub modules: &'a dyn Fn(&[u8]) -> bool,
}

/// Something that a new line can do to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Danger {
    /// A command runs, as root, when modprobe is asked for the module or to remove it.
    Command { kind: Kind, module: Vec<u8>, command: Vec<u8> },
    /// A module that protects no longer loads.
    Disabled { kind: Kind, module: Vec<u8>, purpose: &'static str },
    /// An alias that comes before the name of a module that protects, which then no longer loads.
    Diverted { pattern: Vec<u8>, module: Vec<u8>, purpose: &'static str },
    /// A module brings along modules that the host does not have: they are still to come, or from elsewhere.
    PullsIn { kind: Kind, module: Vec<u8>, unknown: Vec<Vec<u8>> },
    /// Options for a module that the host does not have.
    Options { module: Vec<u8>, options: Vec<u8> },
    /// An alias for a module that the host does not have.
    Alias { pattern: Vec<u8>, module: Vec<u8> },
    /// A module that the host does not have is to be loaded at boot.
    Load { module: Vec<u8> },
}

impl Danger {
    /// The kind of danger in a word or two, for tables and fields.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Disabled { .. } => "protection-disabled",
            Self::Diverted { .. } => "protection-diverted",
            Self::PullsIn { .. } => "unknown-dependency",
            Self::Options { .. } => "unknown-options",
            Self::Alias { .. } => "unknown-alias",
            Self::Load { .. } => "unknown-load",
        }
    }

    /// Its place among others: commands run as root, without a module; then protection ends; then something may follow.
    const fn rank(&self) -> u8 {
        match self {
            Self::Command { .. } => 0,
            Self::Disabled { .. } | Self::Diverted { .. } => 1,
            Self::PullsIn { .. } | Self::Options { .. } | Self::Alias { .. } | Self::Load { .. } => 2,
        }
    }

    /// One clause of a sentence.
    pub fn clause(&self) -> String {
        match self {
            Self::Command { kind, module, command } => {
                format!("{} {} command for {} runs \"{}\"", article(*kind), kind.name(), brief(module), brief(command))
            }
            Self::Disabled { kind: Kind::Install, module, purpose } => {
                format!("an install command keeps {} ({purpose}) from loading", brief(module))
            }
            Self::Disabled { kind, module, purpose } => {
                format!("{} {} line keeps {} ({purpose}) from loading", article(*kind), kind.name(), brief(module))
            }
            Self::Diverted { pattern, module, purpose } => {
                format!("an alias loads {} in place of {} ({purpose})", brief(module), brief(pattern))
            }
            Self::PullsIn { kind, module, unknown } => {
                format!(
                    "{} {} makes {} pull in {}, which this host does not have",
                    article(*kind),
                    kind.name(),
                    brief(module),
                    list(unknown)
                )
            }
            Self::Options { module, options } => {
                format!("options \"{}\" are set for {}, which this host does not have", brief(options), brief(module))
            }
            Self::Alias { pattern, module } => {
                format!("an alias makes {} load {}, which this host does not have", brief(pattern), brief(module))
            }
            Self::Load { module } => {
                format!("{} is to be loaded at boot, which this host does not have", brief(module))
            }
        }
    }
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Install | Kind::Alias | Kind::Options => "an",
        _ => "a",
    }
}

/// Names that a clause tells; the others it counts.
const NAMED: usize = 3;

fn list(modules: &[Vec<u8>]) -> String {
    let mut names: Vec<_> = modules.iter().take(NAMED).map(|module| brief(module)).collect();
    if modules.len() > NAMED {
        names.push(format!("{} more", modules.len() - NAMED));
    }
    match names.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// What is dangerous in lines of modprobe.d that appeared: the gravest first, and else in their order.
pub fn dangers(added: &[Directive], known: &Known<'_>) -> Vec<Danger> {
    let mut found: Vec<_> = added.iter().flat_map(|directive| of_directive(directive, known)).flatten().collect();
    found.sort_by_key(Danger::rank);
    found
}

/// The same for names in modules-load.d or /etc/modules.
pub fn load_dangers(added: &[Vec<u8>], known: &Known<'_>) -> Vec<Danger> {
    added.iter().filter(|module| !known.has(module)).map(|module| Danger::Load { module: module.clone() }).collect()
}

impl Known<'_> {
    fn has(&self, module: &[u8]) -> bool {
        (self.modules)(module)
    }
}

fn of_directive(directive: &Directive, known: &Known<'_>) -> [Option<Danger>; 2] {
    let Directive { kind, module, arguments, .. } = directive;
    let kind = *kind;
    let unknown = || !known.has(module);
    let first = match kind {
        Kind::Install if does_nothing(arguments) => {
            purpose_of_pattern(module).map(|purpose| Danger::Disabled { kind, module: module.clone(), purpose })
        }
        // A removal that does nothing keeps a module in the kernel, so it is not excepted.
        Kind::Install | Kind::Remove => {
            Some(Danger::Command { kind, module: module.clone(), command: arguments.trim_ascii().to_vec() })
        }
        Kind::Blacklist => purpose(module).map(|purpose| Danger::Disabled { kind, module: module.clone(), purpose }),
        Kind::Softdep | Kind::Weakdep => pulls_in(directive, known),
        Kind::Options => {
            unknown().then(|| Danger::Options { module: module.clone(), options: arguments.trim_ascii().to_vec() })
        }
        Kind::Alias => unknown().then(|| Danger::Alias { pattern: arguments.clone(), module: module.clone() }),
        Kind::Unknown | Kind::Invalid => None,
    };
    [first, diverted(directive)]
}

/// kmod asks the aliases of its configuration before it looks for a module of the name.
fn diverted(directive: &Directive) -> Option<Danger> {
    let Directive { kind: Kind::Alias, module, arguments: pattern, .. } = directive else { return None };
    // Between modules that protect, aliases are part of how they are made.
    if purpose(module).is_some() {
        return None;
    }
    let purpose = purpose_of_pattern(pattern)?;
    Some(Danger::Diverted { pattern: pattern.clone(), module: module.clone(), purpose })
}

fn pulls_in(directive: &Directive, known: &Known<'_>) -> Option<Danger> {
    let modules = directive.dependencies().into_iter().map(|dependency| underscored(dependency.module));
    let unknown: Vec<_> = modules.filter(|module| !known.has(module)).collect();
    let Directive { kind, module, .. } = directive;
    (!unknown.is_empty()).then(|| Danger::PullsIn { kind: *kind, module: module.clone(), unknown })
}

/// The idiom that disables a module: a command that does nothing, as the shell reads it.
fn does_nothing(command: &[u8]) -> bool {
    // A comment begins after a blank.
    let comment = command.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'#']));
    let command = &command[..comment.unwrap_or(command.len())];
    // Not trim_ascii: the shell takes a carriage return for a part of the name.
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let words: Vec<_> = command.split(blank).filter(|word| !word.is_empty()).take(2).collect();
    matches!(
        words.as_slice(),
        [b"/bin/true" | b"/bin/false" | b"/usr/bin/true" | b"/usr/bin/false" | b"true" | b"false" | b":"]
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::module_config::{parse, parse_modules_load};

    /// Names and clauses on a host that has ext4, usb_storage, snd and nf_tables.
    fn told(content: &str) -> Vec<(&'static str, String)> {
        let modules = |name: &[u8]| [&b"ext4"[..], b"usb_storage", b"snd", b"nf_tables"].contains(&name);
        let known = Known { modules: &modules };
        dangers(&parse(content.as_bytes()), &known).iter().map(|danger| (danger.name(), danger.clause())).collect()
    }

    #[test]
    fn tells_each_danger() {
        for (line, name, clause) in [
            (
                "install usb-storage  /bin/sh -c x ",
                "command",
                "an install command for usb_storage runs \"/bin/sh -c x\"",
            ),
            ("remove snd /bin/true", "command", "a remove command for snd runs \"/bin/true\""),
            ("install snd /bin/true; x", "command", "an install command for snd runs \"/bin/true; x\""),
            ("install snd /bin/true\r", "command", "an install command for snd runs \"/bin/true\""),
            ("install snd /bin/true #\\\nx", "", ""),
            (
                "install nf-tables /bin/false",
                "protection-disabled",
                "an install command keeps nf_tables (packet filter) from loading",
            ),
            (
                "install nf_* \t/bin/true # CIS",
                "protection-disabled",
                "an install command keeps nf_* (packet filter) from loading",
            ),
            (
                "blacklist dm-crypt",
                "protection-disabled",
                "a blacklist line keeps dm_crypt (disk encryption) from loading",
            ),
            ("alias nf_tables snd", "protection-diverted", "an alias loads snd in place of nf_tables (packet filter)"),
            (
                "softdep ext4 pre: usb-storage foo-a",
                "unknown-dependency",
                "a softdep makes ext4 pull in foo_a, which this host does not have",
            ),
            (
                "weakdep ext4 a b c d e",
                "unknown-dependency",
                "a weakdep makes ext4 pull in a, b, c and 2 more, which this host does not have",
            ),
            (
                "options rk hide=1",
                "unknown-options",
                "options \"hide=1\" are set for rk, which this host does not have",
            ),
            ("alias net-pf-9 rk", "unknown-alias", "an alias makes net_pf_9 load rk, which this host does not have"),
        ] {
            let expected = if name.is_empty() { vec![] } else { vec![(name, clause.to_owned())] };
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn lets_the_ordinary_pass() {
        for line in [
            "blacklist iTCO_wdt",
            "blacklist usb-storage",
            // kmod compares the names of a blacklist letter by letter.
            "blacklist nf_*",
            "install usb-storage /bin/true",
            "install rk /usr/bin/false",
            "softdep ext4 pre: usb-storage post: snd",
            "softdep ext4 rk",
            "options snd a=b",
            "alias char-major-1-* snd",
            "alias nft-chain-1-nat nf_tables",
            "include rk",
            "install rk",
        ] {
            assert_eq!(told(line), [], "{line}");
        }
    }

    #[test]
    fn an_alias_can_be_two_dangers() {
        let names: Vec<_> = told("alias nf_tables off").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["protection-diverted", "unknown-alias"]);
    }

    #[test]
    fn tells_modules_to_load() {
        let known = Known { modules: &|name| name == b"nf_tables" };
        let found = load_dangers(&parse_modules_load(b"nf-tables\nrk\x1b x"), &known);
        let clauses: Vec<_> = found.iter().map(Danger::clause).collect();
        assert_eq!(clauses, ["rk\\x1b is to be loaded at boot, which this host does not have"]);
    }

    #[test]
    fn clauses_are_bounded() {
        let known = Known { modules: &|_| false };
        let long = "a".repeat(9000);
        for line in ["install L L", "options L L", "alias L L", "softdep L pre: L L L L L"] {
            for danger in dangers(&parse(line.replace('L', &long).as_bytes()), &known) {
                assert!(danger.clause().len() < 1024, "{line}");
            }
        }
    }

    proptest! {
        #[test]
        fn clauses_are_text(lines in proptest::collection::vec((0_usize..7, any::<Vec<u8>>()), 0..8)) {
            let commands = ["install ", "remove ", "alias ", "options ", "softdep a pre: ", "weakdep ", "blacklist "];
            let content: Vec<_> =
                lines.iter().flat_map(|(at, rest)| [commands[*at].as_bytes(), rest, b"\n"].concat()).collect();
            let known = Known { modules: &|_| false };
            for danger in dangers(&parse(&content), &known) {
                prop_assert!(!danger.clause().chars().any(char::is_control));
            }
        }
    }
}
