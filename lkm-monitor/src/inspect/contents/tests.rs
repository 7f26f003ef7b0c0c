mod arbitrary;
mod crew;
mod known;

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::*;
use crate::model::{ContentStatus, FileAction, FileChange, FileFacts, FileTime, SeenPath, Writing, samples};

/// A folder of modprobe.d, and another one in which modules are watched only.
struct Bench {
    folder: tempfile::TempDir,
    memory: Arc<Memory>,
    modules: Modules,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        fs::create_dir(place.join("modprobe.d")).unwrap();
        fs::create_dir(place.join("empty")).unwrap();
        let modules = Modules::in_folder(place.join("empty"));
        let memory = Arc::new(Memory::new(Box::new(move |path| subject(&place, path))));
        Self { folder, memory, modules }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn remember(&self) {
        let (folders, files) = ([self.path("modprobe.d"), self.path("absent")], [self.path("setting")]);
        self.memory.remember(&folders, &files, |path| self.memory.subject_of(path));
    }

    fn wanted(&self, name: &str, action: FileAction) -> Look {
        let path = seen(&self.path(name));
        let subject = (if name.ends_with(".ko") { None } else { subject(&self.path(""), &path.absolute) })
            .unwrap_or(Subject::Module);
        let change = FileChange { action, path, facts: None, ..samples::file_change() };
        Look { change: Box::new(change), subject, in_host_namespace: true, of_load: false }
    }

    fn look(&mut self, wanted: &Look) -> Content {
        look::look(&self.memory, &mut self.modules, wanted)
    }

    fn look_at(&mut self, name: &str, action: FileAction) -> Content {
        let wanted = self.wanted(name, action);
        self.look(&wanted)
    }
}

fn subject(place: &Path, path: &[u8]) -> Option<Subject> {
    let name = path.strip_prefix(place.as_os_str().as_bytes())?;
    let name = name.strip_prefix(b"/").unwrap_or(name);
    match name {
        b"setting" => Some(Subject::Setting),
        _ if name.ends_with(b".ko") => Some(Subject::Module),
        _ if name.starts_with(b"modprobe.d/") => Some(Subject::Modprobe),
        _ => None,
    }
}

fn seen(path: &Path) -> SeenPath {
    samples::path(path.to_str().unwrap())
}

fn lines(lines: &[Vec<u8>]) -> String {
    String::from_utf8(lines.join(&b'|')).unwrap()
}

#[test]
fn a_file_is_compared_with_what_it_was() {
    let mut bench = Bench::new();
    let path = bench.path("modprobe.d/a.conf");
    fs::write(&path, "blacklist a\n").unwrap();
    bench.remember();
    fs::write(&path, "blacklist a\ninstall b /tmp/x\n").unwrap();
    let content = bench.look_at("modprobe.d/a.conf", FileAction::Written);
    assert_eq!(content.status, ContentStatus::Read);
    assert_eq!((content.before.as_ref().unwrap().size, content.after.as_ref().unwrap().size), (12, 29));
    assert_ne!(content.before.unwrap().sha256, content.after.unwrap().sha256);
    assert_eq!(lines(&content.diff.unwrap().added), "install b /tmp/x");
    assert_eq!((content.directives_added.len(), content.directives_removed.len()), (1, 0));
    assert_eq!(content.dangers, ["an install command for b runs \"/tmp/x\""]);
    // The next change is compared with this one.
    fs::write(&path, "").unwrap();
    let content = bench.look_at("modprobe.d/a.conf", FileAction::Truncated);
    assert_eq!((content.directives_removed.len(), content.dangers.len()), (2, 0));
}

#[test]
fn a_new_file_is_all_new() {
    let mut bench = Bench::new();
    fs::write(bench.path("modprobe.d/a.conf"), "install b /tmp/x\n").unwrap();
    let content = bench.look_at("modprobe.d/a.conf", FileAction::Created);
    assert_eq!((content.before, content.directives_added.len(), content.dangers.len()), (None, 1, 1));
}

#[test]
fn a_file_that_is_still_written_is_read_as_it_is() {
    let mut bench = Bench::new();
    let path = bench.path("modprobe.d/a.conf");
    fs::write(&path, "blacklist a\n").unwrap();
    bench.remember();
    fs::write(&path, "install b /tmp/x\n").unwrap();
    let mut wanted = bench.wanted("modprobe.d/a.conf", FileAction::Written);
    let of_the_opening = FileTime { seconds: 1, nanoseconds: 1 };
    wanted.change.facts = Some(FileFacts { changed: Some(of_the_opening), ..FileFacts::default() });
    wanted.change.writing = Writing::Open;
    let content = bench.look(&wanted);
    assert_eq!((content.status, content.dangers.len()), (ContentStatus::Read, 1));
    // What is found at the close is compared with that.
    wanted.change.writing = Writing::Closed;
    let content = bench.look(&wanted);
    assert_eq!((content.status, content.is_same()), (ContentStatus::ChangedSince, Some(true)));
}

#[test]
fn attributes_are_no_text() {
    let mut bench = Bench::new();
    fs::write(bench.path("modprobe.d/a.conf"), "install b /tmp/x\n").unwrap();
    bench.remember();
    let content = bench.look_at("modprobe.d/a.conf", FileAction::ModeChanged);
    assert_eq!((content.status, content.diff, content.dangers.len()), (ContentStatus::Read, None, 0));
    assert!(content.before.is_some() && content.before == content.after);
}

#[test]
fn who_changes_attributes_beside_the_content_hides_nothing() {
    let mut bench = Bench::new();
    let path = bench.path("modprobe.d/a.conf");
    fs::write(&path, "blacklist a\n").unwrap();
    bench.remember();
    fs::write(&path, "install b /tmp/x\n").unwrap();
    for action in [FileAction::ModeChanged, FileAction::Written] {
        let content = bench.look_at("modprobe.d/a.conf", action);
        assert_eq!((content.is_same(), content.dangers.len()), (Some(false), 1), "{action:?}");
    }
    assert_eq!(bench.look_at("modprobe.d/a.conf", FileAction::ModeChanged).is_same(), Some(true));
}

#[test]
fn a_renamed_file_stands_in_for_the_one_of_its_name() {
    let mut bench = Bench::new();
    let [old, new] = ["modprobe.d/new", "modprobe.d/a.conf"];
    fs::write(bench.path(new), "blacklist a\n").unwrap();
    fs::write(bench.path(old), "blacklist b\n").unwrap();
    bench.remember();
    fs::rename(bench.path(old), bench.path(new)).unwrap();
    let mut wanted = bench.wanted(new, FileAction::Renamed);
    wanted.change.old_path = Some(seen(&bench.path(old)));
    let content = bench.look(&wanted);
    assert_eq!(
        (content.directives_added, content.directives_removed),
        (vec!["blacklist b".into()], vec!["blacklist a".into()])
    );
    // Of the old name nothing is known any more.
    fs::write(bench.path(old), "").unwrap();
    assert_eq!(bench.look_at(old, FileAction::Created).before, None);
}

#[test]
fn a_file_that_leaves_takes_its_lines_along() {
    let mut bench = Bench::new();
    fs::write(bench.path("modprobe.d/a.conf"), "blacklist a\n").unwrap();
    bench.remember();
    fs::rename(bench.path("modprobe.d/a.conf"), bench.path("away")).unwrap();
    let mut wanted = bench.wanted("away", FileAction::Renamed);
    wanted.subject = Subject::Modprobe;
    wanted.change.old_path = Some(seen(&bench.path("modprobe.d/a.conf")));
    let content = bench.look(&wanted);
    assert_eq!((content.directives_removed.len(), content.directives_added.len()), (1, 0));
    assert!(content.before.is_some() && content.after.is_some());
}

#[test]
fn exchanged_files_are_known_by_their_new_names() {
    let mut bench = Bench::new();
    let [a, b] = ["modprobe.d/a", "modprobe.d/b"];
    fs::write(bench.path(a), "blacklist a\n").unwrap();
    fs::write(bench.path(b), "blacklist b\n").unwrap();
    bench.remember();
    fs::write(bench.path(a), "blacklist b\n").unwrap();
    fs::write(bench.path(b), "blacklist a\n").unwrap();
    let mut wanted = bench.wanted(a, FileAction::Exchanged);
    wanted.change.old_path = Some(seen(&bench.path(b)));
    assert_eq!(bench.look(&wanted).directives_added, ["blacklist b"]);
    let content = bench.look_at(b, FileAction::Written);
    assert!(content.directives_added.is_empty() && content.before.unwrap().size == 12);
}

#[test]
fn a_removed_file_is_gone_with_its_lines() {
    let mut bench = Bench::new();
    let path = bench.path("modprobe.d/a.conf");
    fs::write(&path, "blacklist a\n").unwrap();
    bench.remember();
    let wanted = bench.wanted("modprobe.d/a.conf", FileAction::Removed);
    fs::remove_file(&path).unwrap();
    let content = bench.look(&wanted);
    assert_eq!((content.status, content.after), (ContentStatus::Gone, None));
    assert_eq!((content.before.unwrap().size, content.directives_removed.len()), (12, 1));
    let again = bench.look(&wanted);
    assert_eq!((again.status, again.before, again.diff), (ContentStatus::Gone, None, None));
}

#[test]
fn what_is_made_anew_is_told_where_it_is_made() {
    let mut bench = Bench::new();
    let path = bench.path("modprobe.d/a.conf");
    fs::write(&path, "blacklist a\n").unwrap();
    bench.remember();
    let wanted = bench.wanted("modprobe.d/a.conf", FileAction::Removed);
    fs::remove_file(&path).unwrap();
    // Somebody made another one before anybody looked.
    fs::write(&path, "install a /tmp/x\n").unwrap();
    let content = bench.look(&wanted);
    assert_eq!((content.status, content.directives_removed.len()), (ContentStatus::Replaced, 1));
    assert!(content.directives_added.is_empty() && content.dangers.is_empty());
    let content = bench.look_at("modprobe.d/a.conf", FileAction::Created);
    assert_eq!((content.before, content.directives_added.len(), content.dangers.len()), (None, 1, 1));
    // A file that was looked at since is not forgotten.
    let mut late = bench.wanted("modprobe.d/a.conf", FileAction::Removed);
    late.change.facts = Some(FileFacts { inode: 1, ..FileFacts::default() });
    bench.look(&late);
    assert!(bench.look_at("modprobe.d/a.conf", FileAction::Written).before.is_some());
}

#[test]
fn a_late_look_does_not_make_known_what_it_was_not_asked_about() {
    let mut bench = Bench::new();
    let path = bench.path("modprobe.d/a.conf");
    fs::write(&path, "blacklist a\n").unwrap();
    bench.remember();
    let mut late = bench.wanted("modprobe.d/a.conf", FileAction::Written);
    late.change.facts = Some(FileFacts { inode: 1, ..FileFacts::default() });
    // Another file has the name by now.
    fs::write(&path, "install a /tmp/x\n").unwrap();
    assert_eq!(bench.look(&late).status, ContentStatus::Replaced);
    let content = bench.look_at("modprobe.d/a.conf", FileAction::Created);
    assert_eq!((content.status, content.dangers.len()), (ContentStatus::Read, 1));
}

#[test]
fn of_modules_nothing_is_kept() {
    let mut bench = Bench::new();
    fs::write(bench.path("modprobe.d/x.ko"), "ELF").unwrap();
    bench.remember();
    let content = bench.look_at("modprobe.d/x.ko", FileAction::Written);
    assert_eq!((content.status, content.before, content.diff), (ContentStatus::Read, None, None));
    assert!(content.after.unwrap().sha256.is_some());
}

#[test]
fn files_that_are_not_watched_by_their_path_on_the_host_are_not_kept() {
    let mut bench = Bench::new();
    fs::create_dir(bench.path("chroot")).unwrap();
    fs::write(bench.path("chroot/a.conf"), "install a /tmp/x\n").unwrap();
    let mut wanted = bench.wanted("chroot/a.conf", FileAction::Created);
    wanted.subject = Subject::Modprobe;
    let content = bench.look(&wanted);
    assert_eq!((content.status, content.before, content.dangers.len()), (ContentStatus::Read, None, 1));
    assert_eq!(bench.look(&wanted).before, None);
}

#[test]
fn the_wrong_inode_is_another_file() {
    let mut bench = Bench::new();
    fs::write(bench.path("x.ko"), "ELF").unwrap();
    let mut wanted = bench.wanted("x.ko", FileAction::Written);
    wanted.change.facts = Some(FileFacts { inode: 1, ..FileFacts::default() });
    let content = bench.look(&wanted);
    assert_eq!((content.status, content.after.unwrap().size), (ContentStatus::Replaced, 3));
}

#[test]
fn a_long_text_is_no_hiding_place() {
    let mut bench = Bench::new();
    let text = ["#".repeat(70_000).as_str(), "\ninstall a /tmp/x\n"].concat();
    fs::write(bench.path("modprobe.d/a.conf"), text).unwrap();
    let content = bench.look_at("modprobe.d/a.conf", FileAction::Created);
    assert_eq!((content.status, content.diff), (ContentStatus::Read, None));
    assert_eq!(content.dangers, ["it is too long to be searched for dangerous lines"]);
    let again = bench.look_at("modprobe.d/a.conf", FileAction::Written);
    assert!(again.dangers.is_empty(), "it is what it was");
}

#[test]
fn links_are_told_and_not_followed() {
    let mut bench = Bench::new();
    std::os::unix::fs::symlink("/etc/shadow", bench.path("modprobe.d/a.conf")).unwrap();
    let content = bench.look_at("modprobe.d/a.conf", FileAction::Symlinked);
    let after = content.after.unwrap();
    assert_eq!((content.status, after.link_target.as_deref()), (ContentStatus::Read, Some(&b"/etc/shadow"[..])));
    assert_eq!((after.sha256, content.diff), (None, None));
    std::os::unix::fs::symlink(bench.path("modprobe.d"), bench.path("link")).unwrap();
    assert_eq!(bench.look_at("link/a.conf", FileAction::Written).status, ContentStatus::Replaced);
}

#[test]
fn settings_have_values() {
    let mut bench = Bench::new();
    fs::write(bench.path("setting"), "/sbin/modprobe\n").unwrap();
    bench.remember();
    fs::write(bench.path("setting"), "/tmp/x\n").unwrap();
    let content = bench.look_at("setting", FileAction::Written);
    assert_eq!(
        (content.value_before.unwrap(), content.value.unwrap()),
        (b"/sbin/modprobe".to_vec(), b"/tmp/x".to_vec())
    );
}

#[test]
fn places_that_cannot_be_looked_at_have_names() {
    let mut bench = Bench::new();
    fs::write(bench.path("x.ko"), "ELF").unwrap();
    let status = |bench: &mut Bench, change: &dyn Fn(&mut Look)| {
        let mut wanted = bench.wanted("x.ko", FileAction::Written);
        change(&mut wanted);
        bench.look(&wanted).status
    };
    assert_eq!(status(&mut bench, &|_| {}), ContentStatus::Read);
    assert_eq!(status(&mut bench, &|look| look.change.path.truncated = true), ContentStatus::Unreachable);
    assert_eq!(status(&mut bench, &|look| look.change.path.anonymous = true), ContentStatus::Unreachable);
    assert_eq!(status(&mut bench, &|look| look.change.path.foreign_root = true), ContentStatus::Unreachable);
    assert_eq!(status(&mut bench, &|look| look.in_host_namespace = false), ContentStatus::Unreachable);
    let slow = |look: &mut Look| look.change.facts = Some(FileFacts { fs_magic: 0x6573_5546, ..FileFacts::default() });
    assert_eq!(status(&mut bench, &slow), ContentStatus::SlowFileSystem);
}

#[test]
fn a_file_is_seen_through_the_eyes_of_a_living_ancestor() {
    let mut bench = Bench::new();
    fs::write(bench.path("x.ko"), "ELF").unwrap();
    let mut wanted = bench.wanted("x.ko", FileAction::Written);
    let namespace = fs::read_link("/proc/self/ns/mnt").unwrap();
    let namespace = namespace.to_str().unwrap().trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap();
    wanted.in_host_namespace = false;
    wanted.change.process.caller.namespaces.mount = namespace;
    wanted.change.process.caller.pid = u32::MAX;
    let content = bench.look(&wanted);
    assert_eq!(content.status, ContentStatus::Unreachable, "the process is gone");
    let mut ancestor = wanted.change.process.caller.clone();
    ancestor.pid = std::process::id();
    wanted.change.process.ancestors.push(ancestor);
    let content = bench.look(&wanted);
    // Tests in a container: overlays are trusted on the host only.
    let on_overlay = tree::Tree::host().unwrap().open(b"/").unwrap().mount.kind == b"overlay";
    let status = if on_overlay { ContentStatus::SlowFileSystem } else { ContentStatus::Read };
    assert_eq!((content.status, content.resolved_path), (status, None));
    wanted.change.process.ancestors[0].root_directory = Some(b"/srv".to_vec());
    assert_eq!(bench.look(&wanted).status, ContentStatus::Unreachable, "it sees another root");
}

#[test]
fn a_path_without_its_mount_is_found_by_the_file_system() {
    let mut bench = Bench::new();
    fs::write(bench.path("modprobe.d/a.conf"), "blacklist a\n").unwrap();
    bench.remember();
    let path = bench.path("modprobe.d/a.conf");
    let opened = tree::Tree::host().unwrap().open(path.as_os_str().as_bytes()).unwrap();
    let inside = mount_table::rest(path.as_os_str().as_bytes(), &opened.mount.point).unwrap();
    let (device_major, device_minor) = opened.mount.device;
    let mut wanted = bench.wanted("modprobe.d/a.conf", FileAction::Removed);
    wanted.change.path = SeenPath {
        seen: opened.mount.inside(inside),
        absolute: opened.mount.inside(inside),
        mount_unknown: true,
        ..SeenPath::default()
    };
    wanted.change.facts = Some(FileFacts { device_major, device_minor, ..FileFacts::default() });
    // Of which namespace the caller is does not matter.
    wanted.in_host_namespace = false;
    fs::remove_file(&path).unwrap();
    let content = bench.look(&wanted);
    assert_eq!(content.resolved_path.as_deref(), Some(path.as_os_str().as_bytes()));
    assert_eq!((content.status, content.before.unwrap().size), (ContentStatus::Gone, 12));
}
