//! What an inventory lists.

use serde_json::json;

use super::{SECOND_NS, parse, renderer};
use crate::{
    alert::Document,
    model::{
        Bytes, ContentStatus, DigestCheck, FileEntry, FileState, FileTime, FoundFile, Gap, KnownLoad, LoadSource,
        Manager, ModuleEntry, ModuleFile, ParameterValue, Provenance, SignatureFacts, SignatureVerdict, Subject,
        ToolEntry, ToolKind, samples,
    },
};

fn found(path: &str) -> FoundFile {
    let time = |seconds| Some(FileTime { seconds, nanoseconds: 5000 });
    FoundFile {
        path: path.into(),
        device: (254, 1),
        status: ContentStatus::Read,
        state: FileState {
            sha256: Some([0xab; 32]),
            inode: 4711,
            size: 100,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            accessed: time(4),
            modified: time(1),
            changed: time(2),
            created: time(3),
            link_target: None,
        },
        leads_to: None,
        provenance: Some(Provenance {
            manager: Manager::Dpkg,
            package: Some(b"linux-image".to_vec()),
            version: Some(b"6.1".to_vec()),
            architecture: Some(b"amd64".to_vec()),
            digest: DigestCheck::Matches,
            problems: Vec::new(),
        }),
    }
}

fn module() -> ModuleEntry {
    let parameter =
        |name: &str, value: Option<&[u8]>| ParameterValue { name: name.into(), value: value.map(Bytes::whole) };
    ModuleEntry {
        name: b"foo".to_vec(),
        in_proc: true,
        in_sysfs: true,
        built_in: false,
        state: Some("live"),
        size: Some(16384),
        refcount: Some(1),
        used_by: vec![b"bar".to_vec()],
        permanent: true,
        address: Some(0xffff_ffff_c000_1000),
        taints: "OE".to_owned(),
        version: Some(b"1.2".to_vec()),
        srcversion: Some(b"ABC".to_vec()),
        parameters: vec![parameter("depth", Some(b"3\xff")), parameter("secret", None)],
        more_parameters: 1,
        file: Some(ModuleFile {
            file: found("/usr/lib/modules/6.1/extra/foo.ko"),
            signature: Some(SignatureFacts {
                verdict: SignatureVerdict::Absent,
                signature_bytes: 0,
                signer: None,
                signers: 0,
            }),
            host_keys: 2,
            srcversion: Some(b"DEF".to_vec()),
        }),
        load: Some(KnownLoad {
            at: "2026-01-31T00:00:00Z".parse().unwrap(),
            source: LoadSource::Document,
            event_id: Some("0123".to_owned()),
            path: Some("/tmp/foo.ko".to_owned()),
            executable: Some("/usr/bin/kmod".to_owned()),
            pid: Some(7),
            user: Some("root".to_owned()),
        }),
    }
}

fn link() -> FileEntry {
    let mut file = found("/etc/modules-load.d/modules.conf");
    file.state.link_target = Some(b"../modules".to_vec());
    file.leads_to = Some(b"/etc/modules".to_vec());
    FileEntry {
        file,
        subject: Subject::ModulesLoad,
        meaning: vec!["rootkit".to_owned()],
        more_meaning: 1,
        dangers: vec!["rootkit is to be loaded at boot, which this host does not have".to_owned()],
        ignored: Some("its name does not end in .conf".to_owned()),
    }
}

fn tool() -> ToolEntry {
    let names = ["/sbin/modprobe", "/usr/bin/kmod"].map(|name| name.as_bytes().to_vec()).into();
    ToolEntry { file: found("/usr/bin/kmod"), kind: ToolKind::Tool, names, is_kernels: true }
}

fn gap() -> Gap {
    Gap {
        what: "parameter".to_owned(),
        why: "permission denied".to_owned(),
        count: 3,
        examples: vec!["a.b".to_owned()],
    }
}

/// Documents that together have every field of an inventory.
pub(super) fn documents() -> Vec<Document> {
    let (renderer, accounts) = (renderer(), samples::accounts());
    vec![
        renderer.render_module_entry(&module(), &accounts, SECOND_NS),
        renderer.render_file_entry(&link(), &accounts, SECOND_NS),
        renderer.render_tool_entry(&tool(), &accounts, SECOND_NS),
        renderer.render_inventory_end("modules", 3, &[gap()], SECOND_NS),
    ]
}

#[test]
fn a_module_with_all_that_is_known_of_it() {
    let document = parse(&renderer().render_module_entry(&module(), &samples::accounts(), SECOND_NS));
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn a_module_of_which_only_the_name_is_known() {
    let entry = ModuleEntry { name: b"a\n".to_vec(), in_proc: true, state: Some("live"), ..ModuleEntry::default() };
    let document = parse(&renderer().render_module_entry(&entry, &samples::accounts(), SECOND_NS));
    assert_eq!(
        document["lkm_monitor"],
        json!({
            "module": { "name": "a\\x0a", "name_source": "kernel", "built_in": false, "state": "live", "taints": 0 },
            "inventory": { "views": ["proc"] },
        })
    );
    assert!(document.get("file").is_none());
}

#[test]
fn a_file_is_what_it_is_and_what_it_says() {
    let document = parse(&renderer().render_file_entry(&link(), &samples::accounts(), SECOND_NS));
    assert_eq!(document["event"]["action"], "file-listed");
    assert_eq!(document["event"]["category"], json!(["configuration", "file"]));
    assert_eq!(document["file"]["owner"], "root");
    assert_eq!(document["file"]["target_path"], "../modules");
    assert_eq!(document["file"]["created"], "1970-01-01T00:00:03.000005Z");
    assert_eq!(document["lkm_monitor"].get("file"), None);
    let own = &document["lkm_monitor"]["inventory"];
    assert_eq!((&own["subject"], &own["leads_to"]), (&json!("modules-load"), &json!("/etc/modules")));
    assert_eq!((&own["meaning"], &own["content"]), (&json!(["rootkit"]), &json!("read")));
    assert_eq!(document["lkm_monitor"]["truncated"], json!(["lkm_monitor.inventory.meaning"]));
    assert_eq!(document["related"]["hash"], json!(["ab".repeat(32)]));
}

#[test]
fn an_inventory_ends_with_what_is_missing() {
    let whole = parse(&renderer().render_inventory_end("tools", 0, &[], SECOND_NS));
    assert_eq!((&whole["message"], &whole["event"]["kind"]), (&json!("Inventory is complete"), &json!("state")));
    assert_eq!(whole["lkm_monitor"]["inventory"], json!({ "subject": "tools", "entries": 0 }));
    let gaps = parse(&renderer().render_inventory_end("tools", 0, &[gap()], SECOND_NS));
    assert_eq!(gaps["message"], "Inventory is not complete");
    let told = json!([{ "what": "parameter", "why": "permission denied", "count": 3, "examples": ["a.b"] }]);
    assert_eq!(gaps["lkm_monitor"]["inventory"]["gaps"], told);
}

#[test]
fn each_entry_has_an_id_of_its_own() {
    let (renderer, accounts) = (renderer(), samples::accounts());
    let named = |name: &str, boot_ns| {
        let entry = ModuleEntry { name: name.into(), ..ModuleEntry::default() };
        renderer.render_module_entry(&entry, &accounts, boot_ns).id
    };
    assert_ne!(named("a", 1), named("b", 1));
    assert_ne!(named("a", 1), named("a", 2));
    assert_eq!(named("a", 1), named("a", 1));
}
