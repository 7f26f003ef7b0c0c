use std::collections::BTreeSet;

use super::*;
use crate::model::{
    Bytes, FileEntry, FoundFile, KnownLoad, LoadSource, ModuleEntry, ModuleFile, ParameterValue, Subject, ToolEntry,
    ToolKind, samples,
};

fn module() -> ModuleEntry {
    let parameter =
        |name: &str, value: Option<&str>| ParameterValue { name: name.into(), value: value.map(Bytes::whole) };
    ModuleEntry {
        name: b"foo\n".to_vec(),
        in_proc: true,
        state: Some("live"),
        size: Some(16384),
        used_by: vec![b"a".to_vec(), b"b".to_vec()],
        address: Some(0xffff_ffff_c000_0000),
        taints: "OE".to_owned(),
        parameters: vec![parameter("depth", Some("=3")), parameter("secret", None)],
        file: Some(ModuleFile {
            file: FoundFile { path: b"/x/foo.ko".to_vec(), ..FoundFile::default() },
            ..ModuleFile::default()
        }),
        load: Some(KnownLoad {
            at: "2026-01-31T00:00:00Z".parse().unwrap(),
            source: LoadSource::Document,
            event_id: Some("i".to_owned()),
            path: None,
            executable: Some("/usr/bin/kmod".to_owned()),
            pid: Some(7),
            user: None,
        }),
        ..ModuleEntry::default()
    }
}

fn file() -> FileEntry {
    FileEntry {
        file: FoundFile { path: b"/etc/modprobe.d/a.conf".to_vec(), ..FoundFile::default() },
        subject: Subject::Modprobe,
        meaning: vec!["blacklist a".to_owned()],
        more_meaning: 0,
        dangers: Vec::new(),
        ignored: None,
    }
}

fn tool() -> ToolEntry {
    let file = FoundFile { path: b"/usr/bin/kmod".to_vec(), ..FoundFile::default() };
    ToolEntry { file, kind: ToolKind::Tool, names: vec![b"/sbin/modprobe".to_vec()], is_kernels: true }
}

#[test]
fn an_object_has_text_that_is_safe_and_null_for_what_is_not_known() {
    let object = modules::object(&module(), &samples::accounts());
    assert_eq!(object["name"], "foo\\x0a");
    assert_eq!(object["parameters"], json!({ "depth": "=3", "secret": null }));
    assert_eq!(object["address"], "0xffffffffc0000000");
    assert_eq!((&object["version"], &object["signature"]), (&Value::Null, &Value::Null));
    assert_eq!(object["load"]["executable"], "/usr/bin/kmod");
    assert_eq!(object["file"]["mode"], "0000");
}

/// A column that no object has would be empty for ever.
#[test]
fn columns_point_at_members() {
    let accounts = samples::accounts();
    let objects = [
        (modules::object(&module(), &accounts), [&modules::TABLE[..], &modules::CSV].concat()),
        (files::object(&file(), &accounts), [&files::TABLE[..], &files::CSV].concat()),
        (tools::object(&tool(), &accounts), [&tools::TABLE[..], &tools::CSV].concat()),
    ];
    for (object, columns) in objects {
        let known: BTreeSet<_> = object.as_object().unwrap().keys().cloned().collect();
        for (header, pointer) in columns {
            let first = pointer.split('/').nth(1).unwrap();
            assert!(known.contains(first), "{header}: {pointer}");
            // Members of what is not known here are not there.
            let parent = pointer.rsplit_once('/').unwrap().0;
            let is_known = object.pointer(parent).is_some_and(Value::is_object);
            assert!(!is_known || object.pointer(pointer).is_some(), "{header}: {pointer}");
        }
    }
}

#[test]
fn a_cell_shows_any_value() {
    let shown = |value: Value| cell(Some(&value));
    assert_eq!(shown(json!({ "a": "1", "b": null })), "a=1; b");
    assert_eq!(shown(json!(["a", "b"])), "a; b");
    assert_eq!([shown(json!(true)), shown(json!(false)), shown(json!(7)), shown(Value::Null)], ["yes", "no", "7", ""]);
    assert_eq!(cell(None), "");
}
