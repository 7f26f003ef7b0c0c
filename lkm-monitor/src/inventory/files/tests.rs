use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    inventory::survey::Budget,
    model::{DigestCheck, Manager, text::hex},
};

const AMPLE: u64 = 1 << 30;

fn ample() -> Budget {
    Budget { files: AMPLE, bytes: AMPLE, until: Instant::now() + Duration::from_secs(600) }
}

/// A folder in the place of `/`, without links in its path.
fn root() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What is found below `root`, without the indexes of the host that the tests run on.
fn listed(root: &Path, watched: &[(Subject, &str)], budget: Budget) -> (Vec<FileEntry>, Vec<String>) {
    let patterns: Vec<_> =
        watched.iter().map(|(subject, pattern)| (*subject, format!("{}{pattern}", root.display()))).collect();
    let watch = WatchList::new(patterns.iter().map(|(subject, pattern)| (*subject, pattern.as_str()))).unwrap();
    let (mut entries, gaps) = list(&watch, &mut Survey::open(budget).unwrap());
    entries.retain(|entry| entry.subject != Subject::Index);
    let sentences = gaps.iter().map(|gap| gap.sentence().replace(root.to_str().unwrap(), "")).collect();
    (entries, sentences)
}

fn path_of<'a>(entry: &'a FileEntry, root: &Path) -> &'a str {
    let path = str::from_utf8(&entry.file.path).unwrap();
    path.strip_prefix(root.to_str().unwrap()).unwrap()
}

#[test]
fn a_file_is_what_stat_and_sha256sum_say() {
    let (_folder, root) = root();
    let path = root.join("etc/modprobe.d/a.conf");
    write(&path, "# words\nblacklist  a-b\ninstall x /bin/y\n");
    let (entries, gaps) = listed(&root, &[(Subject::Modprobe, "/etc/modprobe.d/*")], ample());
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let metadata = fs::metadata(&path).unwrap();
    let state = &entry.file.state;
    assert_eq!((state.inode, state.size, state.mode), (metadata.ino(), metadata.size(), metadata.mode()));
    assert_eq!((state.uid, state.gid), (metadata.uid(), metadata.gid()));
    let seconds = |time: Option<crate::model::FileTime>| time.unwrap().seconds;
    assert_eq!((seconds(state.modified), seconds(state.changed)), (metadata.mtime(), metadata.ctime()));
    // Of `printf '# words\nblacklist  a-b\ninstall x /bin/y\n' | sha256sum`.
    let sha256 = "3dec3636510cfa0310054ec487d7452e07fdb9eaf9c0b9ebbd7298c00042d509";
    assert_eq!(hex(&state.sha256.unwrap()), sha256);
    assert_eq!(entry.meaning, ["blacklist a_b", "install x /bin/y"]);
    assert_eq!(entry.dangers, ["an install command for x runs \"/bin/y\""]);
    assert_eq!((entry.subject, entry.file.status, gaps), (Subject::Modprobe, ContentStatus::Read, Vec::new()));
}

#[test]
fn each_file_is_there_once_whatever_leads_to_it() {
    let (_folder, root) = root();
    write(&root.join("usr/lib/modprobe.d/a.conf"), "");
    write(&root.join("etc/modules"), "loop\n");
    symlink("usr/lib", root.join("lib")).unwrap();
    fs::create_dir(root.join("etc/modules-load.d")).unwrap();
    symlink("../modules", root.join("etc/modules-load.d/modules.conf")).unwrap();
    fs::create_dir(root.join("etc/modules-load.d/folder")).unwrap();
    let (entries, gaps) = listed(
        &root,
        &[
            (Subject::Modprobe, "/usr/lib/modprobe.d/*"),
            (Subject::Modprobe, "/lib/modprobe.d/*"),
            (Subject::ModulesLoad, "/etc/modules-load.d/*"),
            (Subject::ModulesLoad, "/etc/modules"),
            (Subject::Depmod, "/etc/depmod.d/*"),
        ],
        ample(),
    );
    let paths: Vec<_> = entries.iter().map(|entry| path_of(entry, &root)).collect();
    assert_eq!(paths, ["/etc/modules", "/etc/modules-load.d/modules.conf", "/usr/lib/modprobe.d/a.conf"]);
    let [file, link, _] = &entries[..] else { panic!() };
    assert_eq!(link.file.leads_to.as_ref(), Some(&file.file.path));
    assert_eq!(link.file.state.link_target.as_deref(), Some(&b"../modules"[..]));
    assert_eq!((&link.meaning, link.file.state.sha256), (&file.meaning, file.file.state.sha256));
    assert_eq!(file.meaning, ["loop"]);
    assert_eq!(gaps, [""; 0]);
}

#[test]
fn a_link_in_the_place_of_a_folder_is_followed_and_told() {
    let (_folder, root) = root();
    write(&root.join("opt/elsewhere/a.conf"), "options a b=1\n");
    fs::create_dir(root.join("etc")).unwrap();
    symlink("../opt/elsewhere", root.join("etc/modprobe.d")).unwrap();
    symlink("depmod.d", root.join("etc/depmod.d")).unwrap();
    let watched = [(Subject::Modprobe, "/etc/modprobe.d/*"), (Subject::Depmod, "/etc/depmod.d/*")];
    let (entries, gaps) = listed(&root, &watched, ample());
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((path_of(entry, &root), &entry.meaning[0][..]), ("/opt/elsewhere/a.conf", "options a b=1"));
    assert_eq!(
        gaps,
        [
            "place /etc/modprobe.d: a link leads to /opt/elsewhere, which is not watched",
            "place /etc/depmod.d: it cannot be opened, or leads through too many links",
        ]
    );
}

#[test]
fn what_is_no_file_keeps_nobody_waiting() {
    let (_folder, root) = root();
    let folder = root.join("etc/modprobe.d");
    fs::create_dir_all(&folder).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("a.conf"), kind, rustix::fs::Mode::RUSR, 0).unwrap();
    symlink("/dev/null", folder.join("b.conf")).unwrap();
    symlink("nothing", folder.join("c.conf")).unwrap();
    let (entries, gaps) = listed(&root, &[(Subject::Modprobe, "/etc/modprobe.d/*")], ample());
    let statuses: Vec<_> = entries.iter().map(|entry| entry.file.status).collect();
    assert_eq!(statuses, [ContentStatus::Special, ContentStatus::Special, ContentStatus::Gone]);
    assert!(entries.iter().all(|entry| entry.meaning.is_empty() && entry.file.state.sha256.is_none()));
    assert!(gaps.is_empty(), "{gaps:?}");
}

#[test]
fn a_file_that_is_too_long_to_be_understood_is_suspicious() {
    let (_folder, root) = root();
    write(&root.join("etc/modprobe.d/a.conf"), &"blacklist a\n".repeat(10_000));
    write(&root.join("etc/modprobe.d/b.conf"), &"blacklist a\n".repeat(300));
    let (entries, _) = listed(&root, &[(Subject::Modprobe, "/etc/modprobe.d/*")], ample());
    let [long, many] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(long.dangers, ["it is too long to be searched for dangerous lines"]);
    assert!(long.meaning.is_empty() && long.file.state.sha256.is_some());
    assert_eq!((many.meaning.len(), many.more_meaning), (MAX_MEANING, 300 - MAX_MEANING as u64));
}

#[test]
fn a_budget_that_is_spent_is_told() {
    let (_folder, root) = root();
    for name in ["a", "b", "c", "d", "e"] {
        write(&root.join(format!("etc/modprobe.d/{name}.conf")), "12345");
    }
    let found = |budget| {
        let (entries, gaps) = listed(&root, &[(Subject::Modprobe, "/etc/modprobe.d/*")], budget);
        (entries.len(), gaps.into_iter().find(|gap| gap.contains("modprobe.d")).unwrap_or_default())
    };
    // Of this host's indexes there may be more.
    let (entries, gap) = found(Budget { files: 1, ..ample() });
    let rest = "file /etc/modprobe.d/b.conf, /etc/modprobe.d/c.conf, /etc/modprobe.d/d.conf and ";
    assert!(entries == 1 && gap.starts_with(rest), "{gap}");
    assert!(gap.ends_with(" more: as many files as may be were looked at before"), "{gap}");
    assert_eq!(found(Budget { bytes: 6, ..ample() }).0, 2);
    let (entries, gap) = found(Budget { until: Instant::now(), ..ample() });
    assert_eq!(entries, 0);
    assert!(gap.ends_with(" more: the time for it was over before"), "{gap}");
}

#[test]
fn packages_tell_whose_a_file_is() {
    let (_folder, root) = root();
    // MD5 of `content`.
    let md5 = "9a0364b9e99bb480dd25e1f0284c8555";
    let own = |name: &str| format!("{}/etc/modprobe.d/{name}.conf", root.display());
    write(Path::new(&own("a")), "content");
    write(Path::new(&own("b")), "changed");
    write(Path::new(&own("c")), "nobody's");
    let records = root.join("records");
    let lines = |form: &dyn Fn(&str) -> String| ["a", "b"].map(|name| form(&own(name))).concat();
    write(&records.join("var/lib/dpkg/info/own.list"), &lines(&|path| format!("{path}\n")));
    write(&records.join("var/lib/dpkg/info/own.md5sums"), &lines(&|path| format!("{md5}  {}\n", &path[1..])));
    write(&records.join("var/lib/dpkg/status"), "Package: own\nArchitecture: all\nVersion: 1\n");

    let pattern = format!("{}/etc/modprobe.d/*", root.display());
    let watch = WatchList::new([(Subject::Modprobe, pattern.as_str())]).unwrap();
    let mut survey = Survey::open(ample()).unwrap().with_packages(&records);
    let (entries, _) = list(&watch, &mut survey);
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| entry.subject == Subject::Modprobe)
        .filter_map(|entry| entry.file.provenance.as_ref())
        .map(|provenance| (provenance.manager, provenance.digest))
        .collect();
    assert_eq!(
        told,
        [
            (Manager::Dpkg, DigestCheck::Matches),
            (Manager::Dpkg, DigestCheck::Differs),
            (Manager::None, DigestCheck::NotRecorded),
        ]
    );
}
