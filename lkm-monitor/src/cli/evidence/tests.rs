use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use clap::Parser as _;
use serde_json::Value;

use super::*;
use crate::{
    evidence::{
        Store,
        samples::{digest, image, load, part, settings},
    },
    model::{KeptImage, KeptLoad, text::hex},
};

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    args: EvidenceArgs,
}

fn command(place: &Path, words: &[&str]) -> anyhow::Result<ExitCode> {
    let folder = place.join("evidence");
    let words = [&["evidence"], words, &["--folder", folder.to_str().unwrap()]].concat();
    run(CommandLine::try_parse_from(words)?.args)
}

fn kept(images: &[(KeptImage, KeptLoad)]) -> (tempfile::TempDir, Archive) {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(settings(place.path())).unwrap();
    images.iter().for_each(|(image, load)| {
        store.keep(image, load).unwrap();
    });
    let archive = Archive::open(&place.path().join("evidence")).unwrap();
    (place, archive)
}

fn listed(archive: &Archive, list: fn(&Archive, &mut Vec<u8>) -> anyhow::Result<()>) -> String {
    let mut out = Vec::new();
    list(archive, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn verified(archive: &Archive, hash: Option<&str>) -> (bool, String) {
    let mut out = Vec::new();
    let code = verify::run(archive, hash, &mut out).unwrap();
    (code == ExitCode::SUCCESS, String::from_utf8(out).unwrap())
}

#[test]
fn what_is_exported_is_the_image() {
    let evil = image(1, 200_000);
    let (place, archive) = kept(&[(evil.clone(), load(0))]);
    let (hash, to) = (hex(&digest(&evil)), place.path().join("out.ko"));
    command(place.path(), &["export", &hash[..8], "--to", to.to_str().unwrap()]).unwrap();
    assert_eq!(fs::read(&to).unwrap(), *evil.content);
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o600);
    let mut piped = Vec::new();
    export::to_writer(&archive, &hash, &mut piped).unwrap();
    assert_eq!(*piped, *evil.content);
    assert!(command(place.path(), &["export", &hash[..7], "--to", "x"]).is_err());
}

#[test]
fn nothing_that_is_there_is_written_over() {
    let evil = image(1, 1000);
    let (place, archive) = kept(&[(evil.clone(), load(0))]);
    let hash = hex(&digest(&evil));
    let (there, link) = (place.path().join("there"), place.path().join("link"));
    fs::write(&there, "mine").unwrap();
    symlink(place.path().join("nowhere"), &link).unwrap();
    for path in [&there, &link] {
        let error = export::to_file(&archive, &hash, path).unwrap_err().to_string();
        assert!(error.ends_with("is there already"), "{error}");
    }
    assert_eq!(fs::read(&there).unwrap(), b"mine");
    assert!(!place.path().join("nowhere").exists());
}

#[test]
fn of_an_image_that_is_damaged_nothing_is_written() {
    let evil = image(1, 200_000);
    let (place, archive) = kept(&[(evil.clone(), load(0))]);
    let hash = hex(&digest(&evil));
    let file = place.path().join(format!("evidence/{hash}.evidence"));
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    let to = tempfile::tempdir().unwrap();
    export::to_file(&archive, &hash, &to.path().join("out.ko")).unwrap_err();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    let mut piped = Vec::new();
    export::to_writer(&archive, &hash, &mut piped).unwrap_err();
    assert_eq!(piped, b"");
    assert_eq!(verified(&archive, None), (false, format!("{hash}: the image: its content is damaged\n")));
    assert!(!verified(&archive, Some(&hash[..10])).0);
    assert!(listed(&archive, list::table).contains("whole"), "its header is well");
}

#[test]
fn the_list_tells_what_is_there_oldest_first() {
    let first = part(&image(2, 1000), 5000);
    let (place, archive) =
        kept(&[(image(1, 1000), load(86_400)), (first.clone(), load(0)), (image(1, 1000), load(90_000))]);
    let table = listed(&archive, list::table);
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("evil.ko")).collect();
    let [old, new] = rows.as_slice() else { panic!("{table}") };
    for cell in [&hex(&digest(&first))[..16], "5000", "first 1000", "evil", "1970-01-01T00:00:00Z"] {
        assert!(old.contains(cell), "{cell}: {old}");
    }
    for cell in ["whole", "1970-01-02T00:00:00Z", "1970-01-02T01:00:00Z", "/tmp/evil.ko"] {
        assert!(new.contains(cell), "{cell}: {new}");
    }
    let json = listed(&archive, list::json);
    let objects: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let object = objects.iter().find(|object| object["sha256"] == hex(&digest(&first))).unwrap();
    assert_eq!((&object["size"], &object["kept_bytes"], &object["whole"]), (&5000.into(), &1000.into(), &false.into()));
    assert_eq!((&object["loads"], &object["shown_loads"][0]["event_id"]), (&1.into(), &"event-0".into()));
    assert_eq!(objects.len(), 2);
    assert_eq!(command(place.path(), &["verify"]).unwrap(), ExitCode::SUCCESS);
}

#[test]
fn a_name_does_not_rule_the_terminal() {
    let evil =
        KeptLoad { module_name: b"\x1b[2Jok".to_vec(), path: Some("/tmp/\u{202e}ok\u{9b}2J.ko".into()), ..load(0) };
    let (place, archive) = kept(&[(image(1, 1000), evil)]);
    let table = listed(&archive, list::table);
    assert!(table.contains("\\x1b[2Jok") && table.contains("\\u{202e}ok\\xc2\\x9b2J.ko"), "{table}");
    // What somebody else wrote in our files does not, either.
    let path = place.path().join(format!("evidence/{}.json", hex(&digest(&image(1, 1000)))));
    let json = fs::read_to_string(&path).unwrap();
    for escape in ["\u{1b}", "\\u001b", "\u{9b}", "\\u009b"] {
        fs::write(&path, json.replace("\\\\x1b", escape)).unwrap();
        let shown = [listed(&archive, list::table), listed(&archive, list::json), verified(&archive, None).1];
        assert!(shown.iter().all(|text| !text.contains(['\u{1b}', '\u{9b}'])), "{shown:?}");
        assert!(shown[2].contains("the record"), "{shown:?}");
    }
}

#[test]
fn files_that_are_not_evidence_hinder_nobody() {
    let (place, archive) = kept(&[(image(1, 1000), load(0))]);
    let folder = place.path().join("evidence");
    fs::write(folder.join("\u{1b}[2J"), "").unwrap();
    fs::write(folder.join("ab".repeat(32) + ".json.new"), "").unwrap();
    assert_eq!(verified(&archive, None), (true, String::new()));
    // Nor does what only looks like it.
    fs::create_dir(folder.join("ab".repeat(32) + ".evidence")).unwrap();
    symlink("/dev/zero", folder.join("cd".repeat(32) + ".evidence")).unwrap();
    symlink("/dev/zero", folder.join("cd".repeat(32) + ".json")).unwrap();
    fs::write(folder.join("ef".repeat(32) + ".json"), "[".repeat(100_000)).unwrap();
    let (is_well, problems) = verified(&archive, None);
    assert!(!is_well);
    for (digits, number) in [("ab", 2), ("cd", 2), ("ef", 2)] {
        assert_eq!(problems.lines().filter(|line| line.starts_with(&digits.repeat(32))).count(), number, "{problems}");
    }
    assert_eq!(listed(&archive, list::json).lines().count(), 4);
    assert!(listed(&archive, list::table).contains("evil"));
}
