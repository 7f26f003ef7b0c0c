use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
};

use super::*;

fn refused(path: &Path) -> FolderError {
    Folder::open_to_write(path).unwrap_err()
}

#[test]
fn a_folder_is_made_for_its_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence");
    drop(Folder::open_to_write(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
    Folder::open_to_write(&path).unwrap();
    let nowhere = place.path().join("none/evidence");
    assert!(matches!(refused(&nowhere), FolderError::Open { path, .. } if path == nowhere));
}

#[test]
fn a_link_is_refused_however_it_is_written() {
    let place = tempfile::tempdir().unwrap();
    let (link, target) = (place.path().join("evidence"), place.path().join("target"));
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    for end in ["", "/", "//", "/."] {
        let path = PathBuf::from(format!("{}{end}", link.display()));
        let error = refused(&path);
        assert!(error.to_string().contains("it is a symbolic link"), "{end}: {error}");
    }
    fs::remove_file(&link).unwrap();
    fs::write(&link, "").unwrap();
    assert!(matches!(refused(&link), FolderError::NoFolder { .. }));
    assert_eq!(fs::read_dir(target).unwrap().count(), 0);
}

#[test]
fn a_folder_that_others_can_write_to_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence");
    fs::create_dir(&path).unwrap();
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = refused(&path).to_string();
        assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
    }
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence");
    fs::create_dir(&path).unwrap();
    // Only root can give a folder away.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
        assert!(matches!(refused(&path), FolderError::Owner { uid: 4711, .. }));
        Folder::open_to_read(&path).unwrap();
    } else {
        Folder::open_to_write(&path).unwrap();
    }
}

#[test]
fn one_daemon_writes() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence");
    let first = Folder::open_to_write(&path).unwrap();
    assert!(matches!(refused(&path), FolderError::Held { .. }));
    Folder::open_to_read(&path).unwrap();
    drop(first);
    Folder::open_to_write(&path).unwrap();
}

#[test]
fn only_regular_files_are_read() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open_to_write(&place.path().join("evidence")).unwrap();
    let path = place.path().join("evidence/clock.json");
    let is_refused = || matches!(folder.read_file(Name::Clock, 10), Err(FolderError::NotRegular { .. }));
    symlink("/etc/passwd", &path).unwrap();
    assert!(is_refused());
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(is_refused());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(is_refused());
    fs::remove_dir(&path).unwrap();
    assert!(folder.read_file(Name::Clock, 10).unwrap_err().is_not_found());
    fs::write(&path, "a long text").unwrap();
    assert_eq!(folder.read_file(Name::Clock, 6).unwrap(), b"a long");
}
