//! Reading one file: its state, the hash of its content, and its text.

use std::{
    io::{self, Read as _},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, readlinkat, statx};
use sha2::{Digest as _, Sha256};

use super::tree::Opened;
use crate::model::{ContentStatus, FileFacts, FileState, FileTime};

/// Longer files are not read.
pub(super) const MAX_BYTES: u64 = 64 << 20;
/// Longer files are not compared line by line.
pub(super) const MAX_TEXT_BYTES: usize = 64 << 10;
/// What is read of a kernel setting.
const MAX_VALUE_BYTES: usize = 4096;
const PIECE_BYTES: usize = 64 << 10;
/// Reading ends then, so that other files have their turn.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// The file that it has to be.
    pub(super) before: Option<&'a FileFacts>,
    /// What it was when it was changed.
    pub(super) changed: Option<FileTime>,
    pub(super) text: bool,
}

/// What a file is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) status: ContentStatus,
    pub(super) state: Option<FileState>,
    /// The whole content, if it is wanted and short enough.
    pub(super) text: Option<Vec<u8>>,
}

/// Looks at what was opened.
pub(super) fn examine(opened: &Opened, wanted: Wanted<'_>) -> Found {
    let Ok(stat) = status(&opened.fd) else { return Found { status: ContentStatus::Failed, ..Found::default() } };
    let mut found = Found { state: Some(state(&stat)), ..Found::default() };
    let is_setting = opened.mount.kind == b"proc";
    let same = is_setting || wanted.before.is_none_or(|facts| is_same(facts, opened, &stat));
    let status = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile if is_setting => read_setting(opened, &mut found),
        FileType::RegularFile => read_file(opened, &stat, wanted, &mut found),
        FileType::Symlink => read_link(opened, &mut found),
        _ => Ok(ContentStatus::Special),
    };
    found.status = match status {
        // The status says what the hash is of; whether it changed counts for the file of the event only.
        Ok(ContentStatus::Read | ContentStatus::ChangedSince) if !same => ContentStatus::Replaced,
        Ok(status) => status,
        Err(_) => ContentStatus::Failed,
    };
    found
}

/// What an inode says, without a look at the content; `None` where it does not say.
pub(super) fn glance(opened: &Opened) -> Option<FileState> {
    status(&opened.fd).ok().map(|stat| state(&stat))
}

pub(super) fn is_folder(opened: &Opened) -> bool {
    glance(opened).is_some_and(|state| FileType::from_raw_mode(state.mode) == FileType::Directory)
}

/// procfs knows neither size nor times, and makes its inodes anew.
fn read_setting(opened: &Opened, found: &mut Found) -> io::Result<ContentStatus> {
    let mut value = Vec::new();
    opened.reopen()?.take(MAX_VALUE_BYTES as u64).read_to_end(&mut value)?;
    found.text = Some(value);
    Ok(ContentStatus::Read)
}

fn read_link(opened: &Opened, found: &mut Found) -> io::Result<ContentStatus> {
    let target = readlinkat(&opened.fd, "", Vec::new())?;
    if let Some(state) = &mut found.state {
        state.link_target = Some(target.into_bytes());
    }
    Ok(ContentStatus::Read)
}

fn read_file(opened: &Opened, stat: &Statx, wanted: Wanted<'_>, found: &mut Found) -> io::Result<ContentStatus> {
    if stat.stx_size > MAX_BYTES {
        return Ok(ContentStatus::TooLarge);
    }
    let file = opened.reopen()?;
    let read = match read_whole(&file, wanted.text, Instant::now() + PATIENCE)? {
        Ok(read) => read,
        Err(status) => return Ok(status),
    };
    let after = status(&file)?;
    let times = |stat: &Statx| (stat.stx_size, time(stat.stx_mtime), time(stat.stx_ctime));
    let changed_meanwhile = times(stat) != times(&after) || read.bytes != after.stx_size;
    let changed_before = wanted.changed.is_some_and(|changed| !is_same_time(changed, time(stat.stx_ctime)));
    found.state = Some(FileState { sha256: Some(read.sha256), ..state(&after) });
    found.text = read.text;
    Ok(if changed_meanwhile || changed_before { ContentStatus::ChangedSince } else { ContentStatus::Read })
}

struct Whole {
    sha256: [u8; 32],
    bytes: u64,
    text: Option<Vec<u8>>,
}

/// Reads to the end, or says why not.
fn read_whole(mut file: impl io::Read, text: bool, deadline: Instant) -> io::Result<Result<Whole, ContentStatus>> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut text = text.then(Vec::new);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        if Instant::now() >= deadline {
            return Ok(Err(ContentStatus::TimedOut));
        }
        let read = match file.read(&mut piece) {
            Ok(0) => return Ok(Ok(Whole { sha256: hash.finalize().into(), bytes, text })),
            Ok(read) => &piece[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes += read.len() as u64;
        if bytes > MAX_BYTES {
            return Ok(Err(ContentStatus::TooLarge));
        }
        hash.update(read);
        text = text.filter(|text| text.len() + read.len() <= MAX_TEXT_BYTES);
        if let Some(text) = &mut text {
            text.extend_from_slice(read);
        }
    }
}

/// Whether this is the file of the event. Where an overlay numbers its files anew, their times and sizes tell.
fn is_same(facts: &FileFacts, opened: &Opened, stat: &Statx) -> bool {
    let device = (facts.device_major, facts.device_minor);
    // Zeros stand for what the event does not tell.
    let same_device = device == (0, 0) || device == opened.mount.device;
    let same_number = facts.inode == 0 || facts.inode == stat.stx_ino;
    let alike = || {
        facts.size == stat.stx_size
            && facts.changed.is_some_and(|changed| is_same_time(changed, time(stat.stx_ctime)))
            && facts.modified.is_some_and(|modified| is_same_time(modified, time(stat.stx_mtime)))
    };
    same_device && (same_number || (opened.mount.kind == b"overlay" && alike()))
}

/// Kernels since 6.13 keep a mark in the upper bits of the nanoseconds.
fn is_same_time(of_kernel: FileTime, of_stat: FileTime) -> bool {
    of_kernel.seconds == of_stat.seconds && of_kernel.nanoseconds & 0x3fff_ffff == of_stat.nanoseconds
}

fn status(file: impl AsFd) -> io::Result<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    Ok(statx(file, "", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, wanted)?)
}

fn state(stat: &Statx) -> FileState {
    let knows = |flag: StatxFlags| stat.stx_mask & flag.bits() != 0;
    let known = |flag, at| knows(flag).then(|| time(at));
    FileState {
        sha256: None,
        inode: stat.stx_ino,
        size: stat.stx_size,
        mode: stat.stx_mode.into(),
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        accessed: known(StatxFlags::ATIME, stat.stx_atime),
        modified: known(StatxFlags::MTIME, stat.stx_mtime),
        changed: known(StatxFlags::CTIME, stat.stx_ctime),
        created: known(StatxFlags::BTIME, stat.stx_btime),
        link_target: None,
    }
}

fn time(time: StatxTimestamp) -> FileTime {
    FileTime { seconds: time.tv_sec, nanoseconds: time.tv_nsec }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::ffi::OsStrExt as _, path::Path};

    use super::{super::tree::Tree, *};

    fn examined(path: &Path, wanted: Wanted<'_>) -> Found {
        let path = path.parent().unwrap().canonicalize().unwrap().join(path.file_name().unwrap());
        examine(&Tree::host().unwrap().open(path.as_os_str().as_bytes()).unwrap(), wanted)
    }

    fn facts(path: &Path) -> FileFacts {
        let state = examined(path, Wanted::default()).state.unwrap();
        FileFacts {
            inode: state.inode,
            size: state.size,
            changed: state.changed,
            modified: state.modified,
            ..FileFacts::default()
        }
    }

    #[test]
    fn a_file_is_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        let wanted = facts(file.path());
        let wanted = Wanted { before: Some(&wanted), changed: wanted.changed, text: true };
        let found = examined(file.path(), wanted);
        assert_eq!((found.status, found.text.as_deref()), (ContentStatus::Read, Some(&b"abc"[..])));
        let state = found.state.unwrap();
        assert_eq!(state.sha256.unwrap()[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!((state.size, state.mode & 0o170_000), (3, 0o100_000));
        assert!(state.modified.is_some() && state.changed.is_some() && state.accessed.is_some());
        assert_eq!(examined(file.path(), Wanted { text: false, ..wanted }).text, None);
    }

    #[test]
    fn another_file_has_been_put_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let right = facts(file.path());
        for wrong in [
            FileFacts { inode: right.inode + 1, ..right.clone() },
            FileFacts { device_major: 4095, device_minor: 1, ..right.clone() },
        ] {
            let found = examined(file.path(), Wanted { before: Some(&wrong), ..Wanted::default() });
            assert_eq!(found.status, ContentStatus::Replaced);
            assert!(found.state.unwrap().sha256.is_some());
        }
    }

    #[test]
    fn an_overlay_may_number_its_files_anew() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().canonicalize().unwrap();
        let mut opened = Tree::host().unwrap().open(path.as_os_str().as_bytes()).unwrap();
        let renumbered = FileFacts { inode: 1, ..facts(file.path()) };
        let stat = status(&opened.fd).unwrap();
        opened.mount.kind = b"ext4".to_vec();
        assert!(!is_same(&renumbered, &opened, &stat));
        opened.mount.kind = b"overlay".to_vec();
        assert!(is_same(&renumbered, &opened, &stat));
        assert!(!is_same(&FileFacts { size: 1, ..renumbered }, &opened, &stat));
    }

    #[test]
    fn a_file_that_changed_since_is_told_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let facts = facts(file.path());
        let changed = facts.changed.unwrap();
        let marked = FileTime { nanoseconds: changed.nanoseconds | 1 << 31, ..changed };
        let later = FileTime { seconds: changed.seconds + 1, ..changed };
        for (changed, status) in
            [(changed, ContentStatus::Read), (marked, ContentStatus::Read), (later, ContentStatus::ChangedSince)]
        {
            let wanted = Wanted { before: Some(&facts), changed: Some(changed), text: false };
            let found = examined(file.path(), wanted);
            assert_eq!((found.status, found.state.unwrap().sha256.is_some()), (status, true));
        }
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_told_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().canonicalize().unwrap();
        let opened = Tree::host().unwrap().open(path.as_os_str().as_bytes()).unwrap();
        let before = status(&opened.fd).unwrap();
        fs::write(&path, "more").unwrap();
        let mut found = Found::default();
        let status = read_file(&opened, &before, Wanted::default(), &mut found).unwrap();
        let state = found.state.unwrap();
        assert_eq!((status, state.size, state.sha256.is_some()), (ContentStatus::ChangedSince, 4, true));
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("x.ko");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let found = examined(&pipe, Wanted { text: true, ..Wanted::default() });
        assert_eq!((found.status, found.text), (ContentStatus::Special, None));
        assert_eq!(examined(folder.path(), Wanted::default()).status, ContentStatus::Special);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("x.ko", &link).unwrap();
        let found = examined(&link, Wanted::default());
        assert_eq!((found.status, found.state.unwrap().link_target.unwrap()), (ContentStatus::Read, b"x.ko".to_vec()));
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 40).unwrap();
        let found = examined(file.path(), Wanted::default());
        assert_eq!((found.status, found.state.unwrap().size), (ContentStatus::TooLarge, 1 << 40));
    }

    /// Grows with each piece that is read.
    struct Growing;

    impl io::Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_file_that_grows_for_ever_ends() {
        let later = Instant::now() + Duration::from_secs(600);
        assert_eq!(read_whole(Growing, true, later).unwrap().err(), Some(ContentStatus::TooLarge));
        assert_eq!(read_whole(Growing, true, Instant::now()).unwrap().err(), Some(ContentStatus::TimedOut));
    }

    #[test]
    fn long_texts_are_not_kept() {
        let later = Instant::now() + Duration::from_secs(600);
        let text = |len| read_whole(&vec![b'a'; len][..], true, later).unwrap().ok().unwrap().text;
        assert!(text(MAX_TEXT_BYTES).is_some());
        assert_eq!(text(MAX_TEXT_BYTES + 1), None);
    }

    #[test]
    fn settings_have_a_value_and_no_size() {
        let wrong =
            FileFacts { inode: 1, changed: Some(FileTime { seconds: 1, nanoseconds: 1 }), ..FileFacts::default() };
        let wanted = Wanted { before: Some(&wrong), changed: wrong.changed, text: true };
        let found = examined(Path::new("/proc/sys/kernel/ostype"), wanted);
        assert_eq!((found.status, found.text), (ContentStatus::Read, Some(b"Linux\n".to_vec())));
    }
}
