//! Which modules the kernel's files show.

use std::{collections::BTreeMap, fs, io, os::unix::ffi::OsStringExt as _, path::Path};

use super::symbols::Symbols;
use crate::{inventory::proc_modules, model::Sight};

/// Bytes of each of many small reads: about two lines.
const PIECE_BYTES: usize = 128;

/// Modules by their names.
pub(super) type Names = BTreeMap<Vec<u8>, Shown>;

/// What a file says of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Where its text begins, if that is told.
    pub(super) text: Option<u64>,
    /// Letters, see [`crate::model::taint`].
    pub(super) taints: String,
}

/// What one of the files shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) names: Names,
    pub(super) sight: Sight,
}

impl Files {
    fn of(names: Names, broken: Option<String>) -> Self {
        let count = names.len();
        let sight = match broken {
            Some(why) => Sight::Incomplete { count, why },
            None => Sight::Whole { count },
        };
        Self { names, sight }
    }

    fn unavailable(why: String) -> Self {
        Self { names: Names::new(), sight: Sight::Unavailable { why } }
    }
}

/// /proc/modules, read as everybody does.
pub(super) fn proc_modules(root: &Path) -> Files {
    listing(proc_modules::read(root))
}

/// The same by many small reads.
pub(super) fn proc_modules_in_pieces(root: &Path) -> Files {
    listing(proc_modules::read_in_pieces(root, PIECE_BYTES))
}

fn listing(read: io::Result<proc_modules::Listing>) -> Files {
    let listing = match read {
        Ok(listing) => listing,
        Err(error) => return Files::unavailable(format!("it cannot be read: {error}")),
    };
    let broken = listing.truncated.then(|| "it is longer than what is read of it".to_owned());
    let shown = |row: proc_modules::Row| (row.name, Shown { text: row.address, taints: row.taints });
    let mut files = Files::of(listing.rows.into_iter().map(shown).collect(), broken);
    let lines = listing.strange.len();
    if let Sight::Whole { count } = files.sight
        && lines > 0
    {
        // It was read to its end all the same.
        files.sight = Sight::Odd { count, why: format!("{lines} of its lines are none of the kernel's") };
    }
    files
}

/// Folders of /sys/module that say how far the module is loaded; what is built into the kernel does not (`module_initstate` in
/// kernel/module/sysfs.c).
pub(super) fn sys_module(root: &Path) -> Files {
    let folder = root.join("sys/module");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => return Files::unavailable(format!("it cannot be read: {error}")),
    };
    let (mut names, mut broken) = (Names::new(), None);
    for entry in entries {
        let looked = entry.and_then(|entry| match fs::symlink_metadata(entry.path().join("initstate")) {
            Ok(_) => Ok(Some(entry.file_name())),
            // A kernel that unpacks modules has the file `compression` there (kernel/module/decompress.c).
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
            Err(error) => Err(error),
        });
        match looked {
            Ok(Some(name)) => {
                names.insert(name.into_vec(), Shown::default());
            }
            Ok(None) => {}
            Err(error) => broken = Some(format!("one of its folders cannot be read: {error}")),
        }
    }
    Files::of(names, broken)
}

/// Modules of which /proc/kallsyms shows symbols.
pub(super) fn kallsyms(symbols: &mut Symbols) -> Files {
    match symbols.modules() {
        Ok((names, whole)) => {
            let names = names.into_iter().map(|name| (name, Shown::default())).collect();
            Files::of(names, (!whole).then(|| "it is longer than what is read of it".to_owned()))
        }
        Err(error) => Files::unavailable(format!("it cannot be read with addresses: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_no_module() {
        let root = tempfile::tempdir().unwrap();
        let Sight::Unavailable { why } = sys_module(root.path()).sight else { panic!("there is none") };
        assert!(why.contains("No such file"), "{why}");
        for name in ["loop", "kernel"] {
            fs::create_dir_all(root.path().join("sys/module").join(name)).unwrap();
        }
        fs::write(root.path().join("sys/module/loop/initstate"), "live\n").unwrap();
        fs::write(root.path().join("sys/module/compression"), "xz\n").unwrap();
        let files = sys_module(root.path());
        assert_eq!(files.sight, Sight::Whole { count: 1 });
        assert_eq!(files.names.keys().collect::<Vec<_>>(), [b"loop"]);
    }

    #[test]
    fn a_list_with_strange_lines_is_whole_and_says_so() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/modules"), "loop 1 0 - Live 0xffffffffc0000000 (OE)\nodd\n").unwrap();
        let files = proc_modules(root.path());
        assert!(matches!(files.sight, Sight::Odd { count: 1, .. }), "{:?}", files.sight);
        let shown = Shown { text: Some(0xffff_ffff_c000_0000), taints: "OE".to_owned() };
        assert_eq!(files.names.get(&b"loop"[..]), Some(&shown));
        assert_eq!(proc_modules_in_pieces(root.path()), files);
    }
}
