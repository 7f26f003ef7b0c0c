//! A small file that takes the place of the one before: after a crash at any moment, one of them is there and whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Where it failed, and why.
pub(crate) type Failed = (PathBuf, io::Error);

/// Writes the file for its owner alone, in a folder that is made for it; it is on the disk when this returns.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Failed> {
    let failed = |at: &Path| {
        let path = at.to_owned();
        move |source| (path, source)
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    let new = beside(path, ".new");
    // What a crash left, or somebody put there, is not written into.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&new)(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed(&new))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed(&new))?;
    fs::rename(&new, path).map_err(failed(path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// The file of this name with something behind it.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}
