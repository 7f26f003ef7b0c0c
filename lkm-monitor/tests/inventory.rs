//! `lkm-monitor inventory` as a program: the same files in all forms, and what goes to which stream.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// Settings that watch nothing but `modprobe.d` and `depmod.d` in a folder of the test.
struct Host {
    root: PathBuf,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let watch = |name: &str, kind: &str| {
            format!("[[files.watch]]\npath = \"{}/{name}/*\"\nkind = \"{kind}\"\n", root.display())
        };
        let watched = watch("modprobe.d", "modprobe") + &watch("depmod.d", "depmod");
        fs::write(root.join("config.toml"), format!("[files]\nwatch_defaults = false\n{watched}")).unwrap();
        fs::create_dir(root.join("modprobe.d")).unwrap();
        fs::write(root.join("modprobe.d/a.conf"), "=1\nblacklist  a-b\n").unwrap();
        Self { root, _folder: folder }
    }

    fn listed(&self, format: &str) -> Output {
        inventory(&["files", "--format", format, "--config", self.root.join("config.toml").to_str().unwrap()])
    }
}

fn inventory(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lkm-monitor")).arg("inventory").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Of the host that the tests run on there may be indexes of modules, too.
fn is_own(root: &Path) -> impl Fn(&&Value) -> bool {
    move |entry| entry["path"].as_str().unwrap().starts_with(root.to_str().unwrap())
}

#[test]
fn the_same_file_is_in_all_forms() {
    let host = Host::new();
    let path = host.root.join("modprobe.d/a.conf");
    let metadata = fs::metadata(&path).unwrap();

    let output = host.listed("json");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let own: Vec<_> = list["files"].as_array().unwrap().iter().filter(is_own(&host.root)).collect();
    let [file] = &own[..] else { panic!("{list}") };
    assert_eq!((&file["path"], &file["kind"]), (&path.to_str().unwrap().into(), &"modprobe".into()));
    assert_eq!((&file["size"], &file["inode"]), (&metadata.len().into(), &metadata.ino().into()));
    assert_eq!(file["meaning"], serde_json::json!(["=1", "blacklist a_b"]));
    assert_eq!(file["content"], "read");

    let csv = host.listed("csv").stdout;
    let mut rows = csv::Reader::from_reader(csv.as_slice());
    let mut at = |name: &str| rows.headers().unwrap().iter().position(|header| header == name).unwrap();
    let (path_at, meaning_at, sha256_at) = (at("path"), at("meaning"), at("sha256"));
    let row = rows.records().map(Result::unwrap).find(|row| &row[path_at] == path.to_str().unwrap()).unwrap();
    assert_eq!(&row[meaning_at], "'=1; blacklist a_b", "no formula");
    assert_eq!(&row[sha256_at], file["sha256"].as_str().unwrap());

    assert!(text(&host.listed("table").stdout).contains("modprobe.d/a.conf"));

    let ecs = host.listed("ecs").stdout;
    let documents: Vec<Value> = text(&ecs).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (end, files) = documents.split_last().unwrap();
    let document = files.iter().find(|document| document["file"]["path"] == path.to_str().unwrap()).unwrap();
    assert_eq!(document["event"]["action"], "file-listed");
    assert_eq!(document["file"]["hash"]["sha256"], file["sha256"]);
    assert_eq!(end["lkm_monitor"]["inventory"]["entries"], files.len());
}

#[test]
fn what_cannot_be_seen_is_told_and_is_no_failure() {
    let host = Host::new();
    symlink("depmod.d", host.root.join("depmod.d")).unwrap();
    let output = host.listed("csv");
    assert!(output.status.success());
    let place = host.root.join("depmod.d");
    let told = format!("not seen: place {}: it cannot be opened, or leads through too many links\n", place.display());
    assert!(text(&output.stderr).contains(&told), "{}", text(&output.stderr));
    let list: Value = serde_json::from_slice(&host.listed("json").stdout).unwrap();
    let gap = list["gaps"].as_array().unwrap().iter().find(|gap| gap["what"] == "place").unwrap();
    assert_eq!((&gap["count"], &gap["examples"][0]), (&1.into(), &place.to_str().unwrap().into()));
}

#[test]
fn what_is_asked_for_wrongly_is_a_failure() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "[files]\nwatch_default = false\n").unwrap();
    let output = inventory(&["tools", "--config", file.path().to_str().unwrap()]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(78), ""));
    let output = inventory(&["modules", "--events", "/nowhere/events.ndjson"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert!(text(&output.stderr).contains("/nowhere/events.ndjson"), "{}", text(&output.stderr));
}
