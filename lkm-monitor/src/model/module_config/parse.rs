//! Reading as libkmod (`libkmod-config.c`, `freadline_wrapped`) and systemd-modules-load do. The oracle of the tests is
//! the installed modprobe.

use super::{Dependency, Directive, Kind, When};

/// Every line of a modprobe.d file that kmod does not take for empty or a comment, in order.
pub fn parse(content: &[u8]) -> Vec<Directive> {
    logical_lines(content).iter().filter_map(|line| directive(line)).collect()
}

/// The modules that a modules-load.d file or /etc/modules names, with `_` for `-`, in order.
///
/// Debian's init script takes what follows the name for options, systemd for a part of the name: the name is the first
/// word.
pub fn parse_modules_load(content: &[u8]) -> Vec<Vec<u8>> {
    content
        // To systemd each of these ends a line: two names with a carriage return between them are two.
        .split(|byte| matches!(byte, b'\n' | b'\r' | b'\0'))
        .map(|line| Words { rest: line }.next().unwrap_or_default())
        .filter(|name| !matches!(name.first(), None | Some(b'#' | b';')))
        .map(underscored)
        .collect()
}

/// A module's name as the kernel has it.
pub fn underscored(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect()
}

/// A backslash hides the end of a line; before any other byte it vanishes, and the byte stays, be it another backslash.
///
/// At the end of the file it vanishes too. kmod 30 makes a byte 0xff of it there, a mistake that newer ones have not.
fn logical_lines(content: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut bytes = content.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => lines.push(std::mem::take(&mut line)),
            b'\\' => line.extend(bytes.next().filter(|escaped| *escaped != b'\n')),
            plain => line.push(plain),
        }
    }
    lines.push(line);
    lines
}

fn directive(line: &[u8]) -> Option<Directive> {
    // The line is a string of C.
    let line = line.split(|byte| *byte == b'\0').next().unwrap_or_default();
    // Only in the first column: a comment that is indented is an unknown command.
    if line.first() == Some(&b'#') {
        return None;
    }
    let mut words = Words { rest: line };
    let ignored = |kind| Directive { kind, module: Vec::new(), arguments: line.to_vec(), text: line.to_vec() };
    let kind = match words.next()? {
        b"alias" => Kind::Alias,
        b"blacklist" => Kind::Blacklist,
        b"options" => Kind::Options,
        b"install" => Kind::Install,
        b"remove" => Kind::Remove,
        b"softdep" => Kind::Softdep,
        b"weakdep" => Kind::Weakdep,
        _ => return Some(ignored(Kind::Unknown)),
    };
    Some(known_directive(kind, words).unwrap_or_else(|| ignored(Kind::Invalid)))
}

/// `None` for what kmod calls a bad line.
fn known_directive(kind: Kind, mut words: Words<'_>) -> Option<Directive> {
    let first = normalized(words.next()?)?;
    let (module, arguments) = match kind {
        Kind::Alias => (normalized(words.next()?)?, first),
        // More words are ignored here and after an alias.
        Kind::Blacklist => (first, Vec::new()),
        Kind::Options => {
            let blank = |byte: &u8| if *byte == b'\t' { b' ' } else { *byte };
            (first, words.rest()?.iter().map(blank).collect())
        }
        _ => (first, words.rest()?.to_vec()),
    };
    let text = match kind {
        Kind::Alias => line([kind.name().as_bytes(), &arguments, &module]),
        Kind::Blacklist => line([kind.name().as_bytes(), &module]),
        Kind::Softdep | Kind::Weakdep => dependencies_line(kind, &module, &dependencies(kind, &arguments)),
        _ => line([kind.name().as_bytes(), &module, &arguments]),
    };
    Some(Directive { kind, module, arguments, text })
}

fn line<const N: usize>(words: [&[u8]; N]) -> Vec<u8> {
    words.join(&b' ')
}

fn dependencies_line(kind: Kind, module: &[u8], dependencies: &[Dependency<'_>]) -> Vec<u8> {
    let mut words = vec![kind.name().as_bytes(), module];
    for (when, mark) in [(When::Before, Some(PRE)), (When::After, Some(POST)), (When::Weak, None)] {
        let mut modules =
            dependencies.iter().filter(|dependency| dependency.when == when).map(|found| found.module).peekable();
        if modules.peek().is_some() {
            words.extend(mark);
        }
        words.extend(modules);
    }
    words.join(&b' ')
}

const PRE: &[u8] = b"pre:";
const POST: &[u8] = b"post:";

/// What `arguments` of a softdep or weakdep pull in.
pub(super) fn dependencies(kind: Kind, arguments: &[u8]) -> Vec<Dependency<'_>> {
    // A softdep without `pre:` and `post:` pulls in nothing.
    let mut when = match kind {
        Kind::Softdep => None,
        Kind::Weakdep => Some(When::Weak),
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    for word in dependency_words(arguments) {
        match word {
            PRE if kind == Kind::Softdep => when = Some(When::Before),
            POST if kind == Kind::Softdep => when = Some(When::After),
            module => found.extend(when.map(|when| Dependency { when, module })),
        }
    }
    found
}

/// The words of a list of dependencies. To kmod a single blank at its start is a part of the first word, so that with
/// two blanks after its name `softdep x  pre: y` pulls in nothing. With one blank or with three, it pulls in `y`.
fn dependency_words(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let odd = match list {
        [blank, next, ..] if is_space(*blank) && !is_space(*next) => 1,
        _ => 0,
    };
    let end = list.iter().skip(odd).position(|byte| is_space(*byte)).map_or(list.len(), |length| odd + length);
    let (first, others) = list.split_at(end);
    std::iter::once(first).chain(others.split(|byte| is_space(*byte))).filter(|word| !word.is_empty())
}

/// isspace() of C, which unlike the words of other lines ends those of dependencies.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// kmod's underscores(): `_` for `-`, except in brackets. `None` for brackets that do not match.
fn normalized(name: &[u8]) -> Option<Vec<u8>> {
    let mut normal = Vec::with_capacity(name.len());
    let mut in_brackets = false;
    for byte in name {
        match byte {
            b']' if !in_brackets => return None,
            b']' => in_brackets = false,
            b'[' => in_brackets = true,
            _ => {}
        }
        normal.push(if *byte == b'-' && !in_brackets { b'_' } else { *byte });
    }
    (!in_brackets).then_some(normal)
}

/// The words of a line as strtok_r() gives them with blank and tab.
struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|byte| !is_blank(*byte))?;
        let line = &self.rest[start..];
        let end = line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len());
        // The one blank after the word goes with it.
        self.rest = line.get(end + 1..).unwrap_or_default();
        Some(&line[..end])
    }

    /// All that is left, blanks included.
    fn rest(self) -> Option<&'a [u8]> {
        (!self.rest.is_empty()).then_some(self.rest)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Kind and text, which hold all the rest.
    fn texts(content: &[u8]) -> Vec<(Kind, String)> {
        parse(content).into_iter().map(|found| (found.kind, String::from_utf8(found.text).unwrap())).collect()
    }

    fn text(line: &str) -> (Kind, String) {
        let [found] = texts(line.as_bytes()).try_into().unwrap();
        found
    }

    fn valid(kind: Kind, text: &str) -> (Kind, String) {
        (kind, text.to_owned())
    }

    #[test]
    fn reads_each_command() {
        for (line, kind, expected) in [
            ("alias net-pf-[0-9]-x my-mod more", Kind::Alias, "alias net_pf_[0-9]_x my_mod"),
            ("\t blacklist  nf-tables more", Kind::Blacklist, "blacklist nf_tables"),
            ("options snd-x  a=1\tb=2 ", Kind::Options, "options snd_x  a=1 b=2 "),
            ("install usb-storage /bin/sh\t-c x-y", Kind::Install, "install usb_storage /bin/sh\t-c x-y"),
            ("remove a-b  c", Kind::Remove, "remove a_b  c"),
            ("softdep a-b pre: c-d post: e pre: f", Kind::Softdep, "softdep a_b pre: c-d f post: e"),
            ("softdep a b c", Kind::Softdep, "softdep a"),
            ("weakdep a-b c-d pre:\re", Kind::Weakdep, "weakdep a_b c-d pre: e"),
            ("include x", Kind::Unknown, "include x"),
            ("config x", Kind::Unknown, "config x"),
            (" # not a comment", Kind::Unknown, " # not a comment"),
            ("Install x y", Kind::Unknown, "Install x y"),
        ] {
            assert_eq!(text(line), valid(kind, expected), "{line}");
        }
    }

    #[test]
    fn reports_what_kmod_ignores() {
        for line in [
            "alias a",
            "blacklist",
            "blacklist  ",
            "options a",
            "install a",
            "install a ",
            "remove a",
            "softdep a",
            "weakdep a",
            "alias a[b c",
            "alias a]b c",
            "alias a b[",
            "options a] x",
        ] {
            assert_eq!(text(line), valid(Kind::Invalid, line));
        }
        assert_eq!(text("install a  "), valid(Kind::Install, "install a  "), "a command of one blank");
    }

    #[test]
    fn skips_what_is_nothing() {
        assert!(parse(b"").is_empty());
        assert!(parse(b"\n \t\n# a\n\\# b\n\0install a b\n# c \\\ninstall a b").is_empty());
    }

    #[test]
    fn joins_lines_and_drops_backslashes() {
        assert_eq!(text("install a x\\\n y\\z \\\\ \\$A\\"), valid(Kind::Install, "install a x yz \\ $A"));
        let dos = texts(b"blacklist a\\\r\nblacklist b\0c\n");
        assert_eq!(dos, [valid(Kind::Blacklist, "blacklist a\r"), valid(Kind::Blacklist, "blacklist b")]);
    }

    #[test]
    fn keeps_any_byte() {
        let [found] = parse(b"install \xff-\x01 \xfe\x7f").try_into().unwrap();
        assert_eq!((found.module.as_slice(), found.arguments.as_slice()), (&b"\xff_\x01"[..], &b"\xfe\x7f"[..]));
        assert_eq!(found.text, b"install \xff_\x01 \xfe\x7f");
    }

    #[test]
    fn finds_dependencies() {
        let of = |line: &str| {
            let [found] = parse(line.as_bytes()).try_into().unwrap();
            let found: Directive = found;
            found
                .dependencies()
                .iter()
                .map(|found| (found.when, String::from_utf8(found.module.to_vec()).unwrap()))
                .collect::<Vec<_>>()
        };
        let is = |when, module: &str| (when, module.to_owned());
        assert_eq!(
            of("softdep a x pre: b post: c\x0bd\r"),
            [is(When::Before, "b"), is(When::After, "c"), is(When::After, "d")]
        );
        assert_eq!(of("weakdep a b  c "), [is(When::Weak, "b"), is(When::Weak, "c")]);
        assert_eq!(of("weakdep a  b"), [is(When::Weak, " b")]);
        assert_eq!(of("softdep a  pre: b post: c"), [is(When::After, "c")], "two blanks");
        assert_eq!(of("softdep a   pre: b"), [is(When::Before, "b")], "three blanks");
        assert_eq!(of("softdep a  "), []);
        assert_eq!(of("install a pre: b"), []);
    }

    #[test]
    fn reads_lists_of_modules() {
        let list = b"# no\n;no\n\n  nf-tables \r\n\tloop max_loop=4 # x\none\rtwo\0three\r\n \t\nlast";
        assert_eq!(
            parse_modules_load(list),
            ["nf_tables", "loop", "one", "two", "three", "last"].map(|name| name.as_bytes().to_vec())
        );
    }

    proptest! {
        #[test]
        fn takes_any_bytes(content in any::<Vec<u8>>()) {
            prop_assert!(parse(&content).len() <= content.len());
            prop_assert!(parse_modules_load(&content).iter().all(|name| !name.is_empty()));
        }

        /// What kmod prints means the same to it.
        #[test]
        fn reads_its_own_text(
            words in vec("(install|alias|options|softdep|weakdep|pre:|post:|[a-z-]{1,3}|[\\[\\]\t ]) ?", 0..8),
        ) {
            for found in parse(words.concat().as_bytes()) {
                let plain = !matches!(found.kind, Kind::Softdep | Kind::Weakdep);
                let again = parse(&found.text);
                if plain {
                    prop_assert_eq!(again, [found]);
                } else if let [again] = again.as_slice() && again.kind == found.kind {
                    prop_assert_eq!(&again.text, &found.text);
                }
            }
        }
    }
}
