//! Our reading against the reading of the installed modprobe.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
};

use proptest::{collection::vec, prelude::*, sample::select};
use tempfile::TempDir;

use super::{Dependency, Directive, Kind, When, parse};

const KINDS: [Kind; 7] =
    [Kind::Alias, Kind::Blacklist, Kind::Options, Kind::Install, Kind::Remove, Kind::Softdep, Kind::Weakdep];

/// What modprobe says of a file: the lines by command in the order of the file, and how many lines it ignored.
struct Shown {
    lines: BTreeMap<&'static str, Vec<Vec<u8>>>,
    ignored: usize,
}

fn modprobe() -> &'static Path {
    ["/usr/sbin/modprobe", "/sbin/modprobe", "/usr/bin/modprobe", "/bin/modprobe"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
        .expect("modprobe is not installed: this test compares with it; install the package kmod")
}

/// The version of kmod: before 33 there is no weakdep.
static HAS_WEAKDEP: LazyLock<bool> = LazyLock::new(|| {
    let output = Command::new(modprobe()).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.strip_prefix("kmod version ").and_then(|rest| rest.split_whitespace().next());
    version.and_then(|version| version.parse::<u32>().ok()).expect("this modprobe is not kmod's") >= 33
});

/// What modprobe takes from the kernel's command line, which comes after the files.
static OF_KERNEL: LazyLock<Shown> = LazyLock::new(|| run(b""));

fn run(content: &[u8]) -> Shown {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("x.conf"), content).unwrap();
    // With no modules for this version there is no modules.softdep, which would be shown too.
    let output = Command::new(modprobe())
        .args(["--showconfig", "--set-version", "none", "--dirname"])
        .arg(directory.path())
        .arg("--config")
        .arg(directory.path())
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut lines: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut complete = false;
    for line in output.stdout.split(|byte| *byte == b'\n') {
        if line == b"# End of configuration files. Dumping indexes now:" {
            complete = true;
            break;
        }
        let word = line.split(|byte| *byte == b' ').next().unwrap();
        if let Some(kind) = KINDS.into_iter().find(|kind| kind.name().as_bytes() == word) {
            lines.entry(kind.name()).or_default().push(line.to_vec());
        } else {
            assert!(line.is_empty(), "modprobe prints {}", line.escape_ascii());
        }
    }
    assert!(complete, "modprobe fails: {}", output.stderr.escape_ascii());
    let says = |message: &[u8]| output.stderr.windows(message.len()).filter(|part| *part == message).count();
    let ignored = says(b"ignoring bad line starting with") + says(b"is deprecated and not parsed anymore");
    Shown { lines, ignored }
}

/// What modprobe says of a file alone.
fn shown(content: &[u8]) -> Shown {
    let mut shown = run(content);
    for (kind, of_kernel) in &OF_KERNEL.lines {
        let lines = shown.lines.get_mut(kind).unwrap();
        let own = lines.len() - of_kernel.len();
        assert_eq!(&lines.split_off(own), of_kernel);
    }
    shown.lines.retain(|_, lines| !lines.is_empty());
    shown
}

/// What modprobe may print for a directive. Its versions differ in how they print dependencies, not in what they are.
fn printings(directive: &Directive) -> Vec<Vec<u8>> {
    let dependencies = directive.dependencies();
    let modules = |found: &[Dependency<'_>]| found.iter().map(|found| found.module).collect::<Vec<_>>().join(&b' ');
    let start = |rest: Vec<u8>| [directive.kind.name().as_bytes(), &directive.module, &rest].join(&b' ');
    match directive.kind {
        Kind::Softdep => {
            // kmod 30 prints its buffer from the first to the last of a sort, with the other sort between them.
            let span = |when| {
                let is = |found: &Dependency<'_>| found.when == when;
                let (first, last) = (dependencies.iter().position(is)?, dependencies.iter().rposition(is)?);
                Some(modules(&dependencies[first..=last]))
            };
            let only = |when| {
                let found: Vec<_> = dependencies.iter().copied().filter(|found| found.when == when).collect();
                (!found.is_empty()).then(|| modules(&found))
            };
            let [old, new] = [[span(When::Before), span(When::After)], [only(When::Before), only(When::After)]].map(
                |[before, after]| {
                    let marked = |mark: &[u8], modules: Option<Vec<u8>>| modules.map(|names| [mark, &names].concat());
                    [marked(b"pre: ", before), marked(b"post: ", after)].into_iter().flatten().collect::<Vec<_>>()
                },
            );
            vec![start(old.concat()), start(new.concat()), start(new.join(&b' '))]
        }
        Kind::Weakdep => vec![start(modules(&dependencies))],
        _ => vec![directive.text.clone()],
    }
}

fn agrees(content: &[u8]) -> Result<(), TestCaseError> {
    let shown = shown(content);
    let mut ignored = 0;
    let mut ours: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for directive in parse(content) {
        match directive.kind {
            Kind::Unknown | Kind::Invalid => ignored += 1,
            Kind::Weakdep if !*HAS_WEAKDEP => ignored += 1,
            kind => ours.entry(kind.name()).or_default().push(printings(&directive)),
        }
    }
    prop_assert_eq!(ignored, shown.ignored);
    prop_assert_eq!(ours.keys().collect::<Vec<_>>(), shown.lines.keys().collect::<Vec<_>>());
    for (kind, theirs) in &shown.lines {
        let ours = &ours[kind];
        prop_assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            prop_assert!(ours.contains(theirs), "{} is not {}", ours[0].escape_ascii(), theirs.escape_ascii());
        }
    }
    Ok(())
}

fn fixed(pieces: &[&str]) -> impl Strategy<Value = Vec<u8>> + use<> {
    select(pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect::<Vec<_>>())
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    let words = ["alias", "blacklist", "options", "install", "remove", "softdep", "softdep", "weakdep"];
    prop_oneof![
        12 => fixed(&words),
        1 => fixed(&["include", "config", "Alias", "aliasx", "#", "#alias", "in\\stall", "rem\\\nove", "alias\r", ""]),
    ]
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    let names = ["snd-hda-intel", "nf_tables", "pci:v*d[0-9]*-x", "a-[b-c]-d", "[", "]", "a[b-", "-", "pre:", "post:"];
    let others = ["a=1,2", "/sbin/modprobe -i x", "$CMDLINE_OPTS;", "\"q\\\\\"", "x\\", "# c", "pre:\\\n", "é-è"];
    prop_oneof![
        4 => fixed(&names),
        2 => fixed(&others),
        2 => fixed(&["pre:", "post:"]),
        2 => "[a-z_-]{1,8}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..6),
        1 => (1_usize..6000).prop_map(|length| vec![b'-'; length]),
    ]
}

fn blanks() -> impl Strategy<Value = Vec<u8>> {
    let odd = ["  ", "\t", " \t ", "\\\n", " \\\n ", "\\\n\t", "\\ ", "\r", "\x0b", "\x0c ", "\0", " \\\r\n", "   "];
    prop_oneof![6 => fixed(&[" "]), 2 => fixed(&odd)]
}

fn end() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => fixed(&["\n"]), 2 => fixed(&["\r\n", "\\\n", "\n\n", " \n", "\\\\\n", "\n \t\n", "\n\\\n", ""])]
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let indent = prop_oneof![4 => fixed(&[""]), 1 => blanks()];
    (indent, command(), vec((blanks(), word()), 0..6), end()).prop_map(|(indent, command, words, end)| {
        let words = words.into_iter().flat_map(|(blanks, word)| [blanks, word].concat());
        [indent, command, words.collect(), end].concat()
    })
}

fn mark() -> impl Strategy<Value = Vec<u8>> {
    fixed(&["x", "-", "[", "]", "pre:", "post:", "#", "\\"])
}

/// A backslash that ends the file means what the version of kmod makes of it.
fn closed(mut content: Vec<u8>) -> Vec<u8> {
    if content.last() == Some(&b'\\') {
        content.push(b'\n');
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn reads_files_like_modprobe(lines in vec(line(), 0..12)) {
        agrees(&closed(lines.concat()))?;
    }

    /// Every mixture of the bytes that mean something.
    #[test]
    fn reads_mixtures_like_modprobe(pieces in vec(prop_oneof![command(), blanks(), end(), mark()], 0..60)) {
        agrees(&closed(pieces.concat()))?;
    }
}

#[test]
fn reads_the_odd_lines_like_modprobe() {
    for content in [
        "softdep a  pre: b post: c",
        "softdep a   pre: b post: c pre: d",
        "softdep a  ",
        "weakdep a  b",
        "# c \\\nblacklist a\nblacklist b\n # c",
        "install a \\$x \\\\ \\\n y",
        "blacklist a\\\r\nblacklist b\r\n",
        "alias a[-]-b c\nalias a]b c\nalias [a b\noptions a] b",
        "blacklist a\0b c\n\0blacklist d\nblacklist e\n",
    ] {
        agrees(content.as_bytes()).unwrap();
    }
}

#[test]
fn a_last_backslash_is_a_mistake_of_old_versions() {
    let lines = &shown(b"blacklist a\\").lines["blacklist"];
    assert!([b"blacklist a".to_vec(), b"blacklist a\xff".to_vec()].contains(&lines[0]), "{lines:?}");
}
