use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::*;
use crate::{inventory::Budget, model::SignatureVerdict};

const RELEASE: &str = "6.1.0-9-amd64";

/// A host in a folder.
struct Host {
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Self { root: folder.path().canonicalize().unwrap(), _folder: folder };
        files.iter().for_each(|(path, content)| host.write(path, content));
        host
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn list(&self, loads: &Loads, with_built_in: bool) -> (Vec<ModuleEntry>, Vec<String>) {
        let budget = Budget { files: 100, bytes: 1 << 30, until: Instant::now() + Duration::from_secs(600) };
        let mut survey = Survey::open(budget).unwrap();
        let keys = Keys::default();
        let (root, release) = (self.root.as_path(), RELEASE);
        let mut means = Means { root, release, survey: Some(&mut survey), keys: &keys, loads, with_built_in };
        let (entries, gaps) = list(&mut means, Gaps::default());
        (entries, gaps.iter().map(|gap| gap.sentence().replace(root.to_str().unwrap(), "")).collect())
    }
}

/// A module's description; what else a module has does not matter here.
fn module(srcversion: &str) -> Vec<u8> {
    crate::image::module_with(".modinfo", format!("license=GPL\0srcversion={srcversion}\0").as_bytes())
}

const BOTH: &[(&str, &[u8])] = &[
    ("proc/modules", b"foo_bar 16384 1 baz, Live 0xffffffffc0001000 (OE)\nbaz 8192 0 - Live 0xffffffffc0002000\n"),
    ("sys/module/foo_bar/initstate", b"live\n"),
    ("sys/module/foo_bar/version", b"1.2\n"),
    ("sys/module/foo_bar/srcversion", b"ABC\n"),
    ("sys/module/foo_bar/parameters/depth", b"3\n"),
    ("sys/module/baz/initstate", b"live\n"),
    ("sys/module/kernel/parameters/panic", b"0\n"),
    ("lib/modules/6.1.0-9-amd64/modules.dep", b"extra/foo-bar.ko: extra/baz.ko\nextra/baz.ko:\n"),
    ("lib/modules/6.1.0-9-amd64/modules.builtin", b"kernel/fs/ext4/ext4.ko\n"),
];

#[test]
fn what_is_known_of_a_module_is_joined() {
    let host = Host::new(BOTH);
    let image = module("ABC");
    host.write("lib/modules/6.1.0-9-amd64/extra/foo-bar.ko", &image);
    let load = br#"{"@timestamp":"2026-01-31T00:00:00Z","event":{"action":"loaded-kernel-module"},"host":{"boot":{"id":"b"}},"process":{"executable":"/usr/bin/kmod"},"lkm_monitor":{"module":{"name":"foo_bar"}}}"#;
    let mut loads = Loads::of_boot("b");
    loads.read_documents(&load[..]).unwrap();
    let (entries, gaps) = host.list(&loads, false);
    let [baz, foo_bar] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((foo_bar.name.as_slice(), foo_bar.state, foo_bar.size), (&b"foo_bar"[..], Some("live"), Some(16384)));
    assert_eq!((foo_bar.used_by.as_slice(), foo_bar.refcount), (&[b"baz".to_vec()][..], Some(1)));
    assert_eq!((foo_bar.address, foo_bar.taints.as_str()), (Some(0xffff_ffff_c000_1000), "OE"));
    assert_eq!((foo_bar.version.as_deref(), foo_bar.parameters.len()), (Some(&b"1.2"[..]), 1));
    assert!(foo_bar.in_proc && foo_bar.in_sysfs && !foo_bar.built_in);
    let file = foo_bar.file.as_ref().unwrap();
    assert!(file.file.path.ends_with(b"/extra/foo-bar.ko"));
    assert_eq!(file.file.state.size, image.len() as u64);
    assert_eq!(file.signature.as_ref().unwrap().verdict, SignatureVerdict::Absent);
    assert_eq!(foo_bar.is_of_file(), Some(true));
    assert_eq!(file.file.state.sha256.unwrap(), <[u8; 32]>::from(Sha256::digest(&image)));
    assert_eq!(foo_bar.load.as_ref().unwrap().executable.as_deref(), Some("/usr/bin/kmod"));

    assert_eq!(baz.name, b"baz");
    assert!(baz.file.is_none() && baz.load.is_none(), "depmod's file is not there");
    assert_eq!(gaps, ["module file extra/baz.ko: there is nothing by this name"]);
}

#[test]
fn a_file_of_other_sources_is_no_file_of_the_module() {
    let host = Host::new(BOTH);
    host.write("lib/modules/6.1.0-9-amd64/extra/foo-bar.ko", &module("DEF"));
    host.write("lib/modules/6.1.0-9-amd64/extra/baz.ko", b"no module");
    let (entries, gaps) = host.list(&Loads::default(), false);
    assert_eq!(entries.iter().map(ModuleEntry::is_of_file).collect::<Vec<_>>(), [None, Some(false)]);
    let [gap] = &gaps[..] else { panic!("{gaps:?}") };
    assert!(gap.starts_with("module file /lib/modules/6.1.0-9-amd64/extra/baz.ko: it is no module"), "{gap}");
}

#[test]
fn what_is_built_in_is_listed_if_it_is_asked_for() {
    let host = Host::new(BOTH);
    let (entries, _) = host.list(&Loads::default(), true);
    let built_in: Vec<_> = entries.iter().filter(|entry| entry.built_in).collect();
    let names: Vec<_> = built_in.iter().map(|entry| text(&entry.name)).collect();
    assert_eq!((names, entries.len()), (vec!["ext4".to_owned(), "kernel".to_owned()], 4));
    assert_eq!(built_in[1].parameters.len(), 1);
}

#[test]
fn what_one_view_alone_has_is_told() {
    let host = Host::new(BOTH);
    fs::remove_dir_all(host.root.join("sys/module/baz")).unwrap();
    host.write("sys/module/hidden/initstate", b"live\n");
    let (entries, gaps) = host.list(&Loads::default(), false);
    let views: Vec<_> = entries.iter().map(|entry| (text(&entry.name), entry.in_proc, entry.in_sysfs)).collect();
    let expected = [("baz", true, false), ("foo_bar", true, true), ("hidden", false, true)];
    assert_eq!(views, expected.map(|(name, proc, sysfs)| (name.to_owned(), proc, sysfs)));
    assert_eq!(
        gaps,
        [
            "module baz: /proc/modules lists it, and /sys/module does not have it",
            "module hidden: /sys/module has it, and /proc/modules does not list it",
            "module file extra/baz.ko, extra/foo-bar.ko: there is nothing by this name",
        ]
    );
}

#[test]
fn a_kernel_that_tells_less_is_no_error() {
    let host = Host::new(&[
        ("proc/modules", b"foo 1 0 - Live 0x0000000000000000\nodd line\nfox/o 1 0 - Live 0x0000000000000000\n"),
        ("sys/module/foo/initstate", b"live\n"),
        ("sys/module/fox!o/initstate", b"live\n"),
    ]);
    let (entries, gaps) = host.list(&Loads::default(), false);
    let names: Vec<_> = entries.iter().map(|entry| text(&entry.name)).collect();
    assert_eq!(names, ["foo", "fox/o"]);
    assert!(entries.iter().all(|entry| entry.in_proc && entry.in_sysfs && entry.address.is_none()));
    assert_eq!(
        gaps,
        [
            "modules.dep: entity not found",
            "modules.builtin: entity not found",
            "line of /proc/modules odd line: it is not as the kernel writes them",
            "addresses of modules: the kernel tells them only who has CAP_SYSLOG (kernel.kptr_restrict)",
        ]
    );
    let host = Host::new(&[]);
    let (entries, gaps) = host.list(&Loads::default(), false);
    assert_eq!(
        (entries.len(), &gaps[2][..], &gaps[3][..]),
        (0, "/proc/modules: entity not found", "/sys/module: entity not found")
    );
    let host = Host::new(&BOTH[1..]);
    let (entries, gaps) = host.list(&Loads::default(), false);
    assert_eq!((entries.len(), &gaps[0][..]), (2, "/proc/modules: entity not found"));
    assert!(!gaps.iter().any(|gap| gap.contains("does not list it")), "nothing follows from a list that is not there");
}
