//! The files that hold settings: which there are, and what they hold.

use std::{
    ffi::OsStr,
    fs::{self, Metadata},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::problem::Problem;
use crate::inspect::regular;

/// Read when no file is named; it need not exist.
pub const DEFAULT_PATH: &str = "/etc/lkm-monitor/config.toml";
/// The folder beside it, with more of them.
const MORE: &str = "conf.d";

/// Of all files together: some ten thousand settings. As a tree of values they take fifty times as much memory.
const MAX_BYTES: u64 = 1024 * 1024;
const MAX_FILES: usize = 256;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// In the order in which they count: later ones override.
    pub(super) files: Vec<(PathBuf, String)>,
    pub(super) problems: Vec<Problem>,
    /// What is no reason not to use them.
    pub(super) warnings: Vec<Problem>,
}

impl Sources {
    /// This file and no other.
    pub(super) fn of_file(path: &Path) -> Self {
        let mut sources = Self::default();
        sources.add(path, true);
        sources
    }

    /// This file, if there is one, and then those in `conf.d` beside it in the order of the bytes of their names.
    pub(super) fn around(main: &Path) -> Self {
        let mut sources = Self::default();
        let folder = main.parent().unwrap_or(Path::new("/"));
        let more = folder.join(MORE);
        for folder in [folder, &more] {
            if let Ok(metadata) = fs::metadata(folder) {
                sources.warn_of_others(folder, &metadata);
            }
        }
        sources.add(main, false);
        match names(&more) {
            Ok(names) if names.len() > MAX_FILES => sources.problems.push(Problem::of_file(
                &more,
                format!("it holds {} files, but must not hold more than {MAX_FILES}", names.len()),
            )),
            Ok(names) => names.iter().for_each(|name| sources.add(&more.join(OsStr::from_bytes(name)), true)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => sources.problems.push(Problem::of_file(&more, error)),
        }
        sources
    }

    fn add(&mut self, path: &Path, must_exist: bool) {
        let taken: usize = self.files.iter().map(|(_, text)| text.len()).sum();
        match read(path, MAX_BYTES.saturating_sub(taken as u64)) {
            Ok((text, metadata)) => {
                self.warn_of_others(path, &metadata);
                self.files.push((path.to_owned(), text));
            }
            Err(error) if !must_exist && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.problems.push(Problem::of_file(path, error)),
        }
    }

    /// Whoever can write settings can make the daemon look away.
    fn warn_of_others(&mut self, path: &Path, metadata: &Metadata) {
        let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            self.warnings.push(Problem::of_file(
                path,
                format!("it belongs to user {owner}, who can change it; it should be root's"),
            ));
        }
        if mode & 0o002 != 0 || mode & 0o020 != 0 && group != 0 {
            let text = format!("others than root can write it (mode {mode:04o}); allowed should be 0644 or less");
            self.warnings.push(Problem::of_file(path, text));
        }
    }
}

/// The names in the folder that end in `.toml`, without those of hidden files, in the order of their bytes.
fn names(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().as_bytes().to_vec();
        if name.ends_with(b".toml") && !name.starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A file of settings that has no more than `left` bytes.
fn read(path: &Path, left: u64) -> io::Result<(String, Metadata)> {
    let (file, metadata) = regular::open(path)?;
    let mut content = Vec::new();
    file.take(left + 1).read_to_end(&mut content)?;
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    if content.len() as u64 > left {
        return Err(wrong(format!("with it all files have more than {MAX_BYTES} bytes")));
    }
    let text = String::from_utf8(content).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        wrong(format!("line {line} is not UTF-8"))
    })?;
    Ok((text, metadata))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn texts(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(Problem::to_string).collect()
    }

    fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn later_names_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let more = folder.path().join(MORE);
        fs::create_dir(&more).unwrap();
        let main = folder.path().join("config.toml");
        write(&main, "a = 1", 0o600);
        for name in ["b.toml", "10.toml", "9.toml", "Z.toml", ".hidden.toml", "x.toml~", "y.conf"] {
            write(&more.join(name), "", 0o600);
        }
        let sources = Sources::around(&main);
        let names: Vec<_> = sources.files.iter().map(|(path, _)| path.strip_prefix(folder.path()).unwrap()).collect();
        let wanted = ["config.toml", "conf.d/10.toml", "conf.d/9.toml", "conf.d/Z.toml", "conf.d/b.toml"];
        assert_eq!(names, wanted.map(Path::new));
        assert!(sources.problems.is_empty() && sources.warnings.is_empty(), "{sources:?}");
    }

    #[test]
    fn no_file_at_all_is_fine_unless_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let sources = Sources::around(&path);
        assert!(sources.problems.is_empty() && sources.files.is_empty());
        let named = Sources::of_file(&path);
        assert!(texts(&named.problems)[0].contains("config.toml: No such file"), "{named:?}");
    }

    #[test]
    fn what_is_no_file_of_settings_is_told_and_hides_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let more = folder.path().join(MORE);
        fs::create_dir(&more).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            more.join("1.toml"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        fs::create_dir(more.join("2.toml")).unwrap();
        write(&more.join("3.toml"), "#".repeat(MAX_BYTES as usize + 1), 0o600);
        write(&more.join("4.toml"), b"\n\n# \xff", 0o600);
        std::os::unix::fs::symlink("/none", more.join("5.toml")).unwrap();
        write(&more.join("6.toml"), "", 0o600);
        let sources = Sources::around(&folder.path().join("config.toml"));
        let problems = texts(&sources.problems);
        let wanted =
            ["not a regular file", "not a regular file", "more than 1048576 bytes", "line 3 is not UTF-8", "No such"];
        assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
        for (problem, wanted) in problems.iter().zip(wanted) {
            assert!(problem.contains(wanted), "{problem}");
        }
        assert_eq!(sources.files.len(), 1);
    }

    #[test]
    fn all_files_together_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let more = folder.path().join(MORE);
        fs::create_dir(&more).unwrap();
        for (name, bytes) in [("1", MAX_BYTES / 2), ("2", MAX_BYTES / 2 - 1), ("3", 2), ("4", 1)] {
            write(&more.join(format!("{name}.toml")), "#".repeat(bytes as usize), 0o600);
        }
        let sources = Sources::around(&folder.path().join("config.toml"));
        let problems = texts(&sources.problems);
        assert!(problems.len() == 1 && problems[0].contains("3.toml: with it all files have more"), "{problems:?}");
        assert_eq!(sources.files.len(), 3, "what fits is looked at");
    }

    #[test]
    fn files_and_folders_that_others_can_write_are_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        write(&path, "", 0o666);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let sources = Sources::around(&path);
        let warnings = texts(&sources.warnings);
        assert!(warnings[0].contains("(mode 0777)") && warnings[1].contains("(mode 0666)"), "{warnings:#?}");
        assert_eq!((warnings.len(), sources.files.len()), (2, 1));
    }
}
