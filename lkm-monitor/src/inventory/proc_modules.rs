//! /proc/modules: the kernel's own list of the modules in it.
//!
//! One line for each (`m_show` in kernel/module/procfs.c, before Linux 6.0 in kernel/module.c):
//! `NAME SIZE REFERENCES USED_BY STATE ADDRESS [(TAINTS)]`. `USED_BY` is `-`, or names that each end with a comma, of which `[permanent]`
//! stands for a module that cannot be unloaded. A kernel that cannot unload modules writes `-` for the references too.

use std::{
    io::{self, Read},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use crate::inspect::contents::HostFiles;

/// More than 60,000 modules need.
pub const MAX_BYTES: usize = 8 << 20;
/// What one read asks for. The kernel gives a page at the most.
pub const PIECE_BYTES: usize = 64 << 10;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the kernel's order, the latest module first.
    pub rows: Vec<Row>,
    /// Lines that are none of the kernel's, as they are: a module's name can hold line ends.
    pub strange: Vec<Vec<u8>>,
    /// There is more than [`MAX_BYTES`], which nobody read.
    pub truncated: bool,
}

/// One module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// As the module calls itself: any bytes but a line end and zero.
    pub name: Vec<u8>,
    /// Bytes that its code and data take in memory.
    pub size: u64,
    /// What holds it in the kernel; `None` where the kernel does not count that.
    pub refcount: Option<u32>,
    /// Names of the modules that use its symbols.
    pub used_by: Vec<Vec<u8>>,
    /// It has something to begin and nothing to end: it cannot be unloaded.
    pub permanent: bool,
    pub state: ModuleState,
    /// Where its code begins. The kernel tells that only who has `CAP_SYSLOG`, as `kernel.kptr_restrict` says.
    pub address: Option<u64>,
    /// Letters, which [`crate::model::taint::bits`] makes bits of.
    pub taints: String,
}

/// How far a module has come (`enum module_state` in include/linux/module.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleState {
    Loading,
    Live,
    Unloading,
}

impl ModuleState {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Loading, "Loading"), (Self::Live, "Live"), (Self::Unloading, "Unloading")];

    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Live => "live",
            Self::Unloading => "unloading",
        }
    }
}

/// The list below the folder `root`, which is `/` on a real host. A kernel without modules has no such file.
pub fn read(root: &Path) -> io::Result<Listing> {
    read_in_pieces(root, PIECE_BYTES)
}

/// The same by reads of so many bytes, at least one: the kernel begins anew at the right module each time, so what answers them is not the
/// code that answers one large read alone.
pub fn read_in_pieces(root: &Path, bytes: usize) -> io::Result<Listing> {
    let path = root.join("proc/modules");
    of_file(&mut HostFiles::open()?.file(path.as_os_str().as_bytes())?, bytes)
}

/// The same of a file that was opened.
pub fn of_file(file: &mut impl Read, bytes: usize) -> io::Result<Listing> {
    let (content, truncated) = gather(file, bytes)?;
    Ok(Listing { truncated, ..parse(&content) })
}

/// All bytes up to the limit, and whether there are more. Of a line that is cut nothing stays.
fn gather(file: &mut impl Read, bytes: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut piece = vec![0; bytes.clamp(1, PIECE_BYTES)];
    let mut content = Vec::new();
    loop {
        let read = match file.read(&mut piece) {
            Ok(0) => return Ok((content, false)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if content.len() + read > MAX_BYTES {
            let whole_lines = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            content.truncate(whole_lines);
            return Ok((content, true));
        }
        content.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
}

/// What the lines say.
pub fn parse(content: &[u8]) -> Listing {
    let mut listing = Listing::default();
    for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match row(line) {
            Some(row) => listing.rows.push(row),
            None => listing.strange.push(line.to_vec()),
        }
    }
    listing
}

/// Read from its end, since the name at its beginning may hold blanks.
fn row(line: &[u8]) -> Option<Row> {
    let (line, taints) = match line.strip_suffix(b")").and_then(last) {
        Some((line, [b'(', flags @ ..])) => (line, flags),
        _ => (line, &b""[..]),
    };
    let (line, address) = last(line)?;
    let (line, state) = last(line)?;
    let (line, used_by) = last(line)?;
    let (line, references) = last(line)?;
    let (name, size) = last(line)?;
    let (used_by, permanent) = users(used_by)?;
    Some(Row {
        name: Some(name).filter(|name| !name.is_empty())?.to_vec(),
        size: number(size, 10)?,
        refcount: if references == b"-" { None } else { Some(number(references, 10)?.try_into().ok()?) },
        used_by,
        permanent,
        state: ModuleState::ALL.into_iter().find(|(_, word)| word.as_bytes() == state)?.0,
        address: Some(number(address.strip_prefix(b"0x")?, 16)?).filter(|address| *address != 0),
        taints: letters(taints)?,
    })
}

/// What is before the last blank, and what behind it.
fn last(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = line.iter().rposition(|byte| *byte == b' ')?;
    Some((line.get(..blank)?, line.get(blank + 1..)?))
}

fn users(field: &[u8]) -> Option<(Vec<Vec<u8>>, bool)> {
    if field == b"-" {
        return Some((Vec::new(), false));
    }
    let names = field.strip_suffix(b",")?.split(|byte| *byte == b',');
    let (permanent, names): (Vec<_>, Vec<_>) = names.map(<[u8]>::to_vec).partition(|name| name == b"[permanent]");
    Some((names, !permanent.is_empty()))
}

/// `-` and `+` are no taints but say again that a module goes or comes (`module_flags`).
fn letters(flags: &[u8]) -> Option<String> {
    let letters = flags.iter().filter(|flag| !b"-+".contains(flag));
    letters.map(|flag| flag.is_ascii_uppercase().then_some(char::from(*flag))).collect()
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    // A sign is none of the kernel's.
    digits.first().filter(|first| first.is_ascii_hexdigit())?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "\
snd_hda_intel 61440 4 - Live 0xffffffffc0d5a000
snd_hda_codec 204800 3 snd_hda_codec_realtek,snd_hda_intel, Live 0x0000000000000000
vboxdrv 696320 3 vboxnetadp,vboxnetflt,[permanent], Loading 0xffffffffc09c7000 (OE+)
of_old 12 - - Unloading 0xffffffffc0000000 (P-)
";

    fn name(name: &str) -> Vec<u8> {
        name.as_bytes().to_vec()
    }

    #[test]
    fn each_line_is_a_module() {
        let listing = parse(LINES.as_bytes());
        let plain = Row {
            name: name("snd_hda_intel"),
            size: 61440,
            refcount: Some(4),
            used_by: Vec::new(),
            permanent: false,
            state: ModuleState::Live,
            address: Some(0xffff_ffff_c0d5_a000),
            taints: String::new(),
        };
        let rows = [
            plain.clone(),
            Row {
                name: name("snd_hda_codec"),
                size: 204_800,
                refcount: Some(3),
                used_by: vec![name("snd_hda_codec_realtek"), name("snd_hda_intel")],
                address: None,
                ..plain.clone()
            },
            Row {
                name: name("vboxdrv"),
                size: 696_320,
                refcount: Some(3),
                used_by: vec![name("vboxnetadp"), name("vboxnetflt")],
                permanent: true,
                state: ModuleState::Loading,
                address: Some(0xffff_ffff_c09c_7000),
                taints: "OE".to_owned(),
            },
            Row {
                name: name("of_old"),
                size: 12,
                refcount: None,
                state: ModuleState::Unloading,
                address: Some(0xffff_ffff_c000_0000),
                taints: "P".to_owned(),
                ..plain
            },
        ];
        assert_eq!(listing, Listing { rows: rows.to_vec(), ..Listing::default() });
    }

    #[test]
    fn lines_that_are_none_of_the_kernels_are_kept() {
        for strange in [
            "half of a name",
            "a 1 0 - Live ffffffffc0d5a000",
            "a 1 0 - Lively 0x0",
            "a -1 0 - Live 0x0",
            "a 1 +0 - Live 0x0",
            "a 1 0 b Live 0x0",
            "a 1 0 - Live 0x0 (oe)",
            " 1 0 - Live 0x0",
            "1 0 - Live 0x0",
        ] {
            let listing = parse(format!("{strange}\nb 1 0 - Live 0x0\n").as_bytes());
            assert_eq!(listing.strange, [strange.as_bytes()]);
            assert_eq!(listing.rows.len(), 1, "{strange}");
        }
    }

    #[test]
    fn pieces_make_the_same_list() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/modules"), LINES).unwrap();
        let whole = read(root.path()).unwrap();
        assert_eq!(whole.rows.len(), 4);
        for bytes in [0, 1, 7, 64, usize::MAX] {
            assert_eq!(read_in_pieces(root.path(), bytes).unwrap(), whole, "{bytes}");
        }
    }

    #[test]
    fn what_is_too_long_ends_with_a_whole_line() {
        let line = b"a 1 0 - Live 0x0\n";
        let (content, truncated) = gather(&mut line.repeat(MAX_BYTES / line.len() + 1).as_slice(), 4096).unwrap();
        assert!(truncated && content.len() <= MAX_BYTES);
        assert_eq!(content.len() % line.len(), 0);
        assert!(parse(&content).strange.is_empty());
        let (content, truncated) = gather(&mut vec![b'a'; MAX_BYTES + 1].as_slice(), 4096).unwrap();
        assert!(truncated && content.is_empty());
    }

    proptest! {
        #[test]
        fn every_line_is_a_row_or_strange(content in any::<Vec<u8>>()) {
            let listing = parse(&content);
            let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            prop_assert_eq!(listing.rows.len() + listing.strange.len(), lines);
        }

        #[test]
        fn names_are_exact(
            name in proptest::collection::vec(any::<u8>().prop_filter("no line end", |byte| *byte != b'\n'), 1..56),
            size in any::<u64>(),
            references in any::<u32>(),
            address in 1..=u64::MAX,
            flags in "(|[POEC]{1,4}[-+]?)",
        ) {
            let taints = if flags.is_empty() { String::new() } else { format!(" ({flags})") };
            let line = format!(" {size} {references} x,y, Live 0x{address:016x}{taints}\n");
            let listing = parse(&[&name, line.as_bytes()].concat());
            let expected = Row {
                name,
                size,
                refcount: Some(references),
                used_by: vec![b"x".to_vec(), b"y".to_vec()],
                permanent: false,
                state: ModuleState::Live,
                address: Some(address),
                taints: flags.trim_end_matches(['-', '+']).to_owned(),
            };
            prop_assert_eq!(listing.rows, [expected]);
        }
    }
}
