//! `lkm-monitor inventory modules`

use std::path::Path;

use rustix::fs::PROC_SUPER_MAGIC;
use serde_json::{Value, json};

use super::{Column, Inventory, found};
use crate::{
    alert::Renderer,
    config::Config,
    inspect::own_word::{SYSFS_MAGIC, is_covered},
    inventory::{
        Gaps, Loads, Survey,
        modules::{self, Means},
    },
    model::{
        Accounts, Host, KnownLoad, ModuleEntry, SignatureFacts,
        text::{readable, text},
    },
    signature::Keys,
};

pub(super) const TABLE: [Column; 11] = [
    ("Module", "/name"),
    ("Size", "/size"),
    ("Used by", "/used_by"),
    ("State", "/state"),
    ("Taints", "/taints"),
    ("Parameters", "/parameters"),
    ("File", "/file/path"),
    ("Package", "/file/package/name"),
    ("Digest", "/file/package/digest"),
    ("Signer", "/signature/signer"),
    ("Loaded", "/load/at"),
];

pub(super) const CSV: [Column; 30] = [
    ("name", "/name"),
    ("built_in", "/built_in"),
    ("state", "/state"),
    ("size", "/size"),
    ("refcount", "/refcount"),
    ("used_by", "/used_by"),
    ("permanent", "/permanent"),
    ("address", "/address"),
    ("taints", "/taints"),
    ("version", "/version"),
    ("srcversion", "/srcversion"),
    ("parameters", "/parameters"),
    ("views", "/views"),
    ("file.path", "/file/path"),
    ("file.sha256", "/file/sha256"),
    ("file.size", "/file/size"),
    ("file.mtime", "/file/mtime"),
    ("file.same_srcversion", "/same_srcversion"),
    ("package.manager", "/file/package/manager"),
    ("package.name", "/file/package/name"),
    ("package.version", "/file/package/version"),
    ("package.digest", "/file/package/digest"),
    ("signature.status", "/signature/status"),
    ("signature.signer", "/signature/signer"),
    ("load.at", "/load/at"),
    ("load.source", "/load/source"),
    ("load.path", "/load/path"),
    ("load.executable", "/load/executable"),
    ("load.user", "/load/user"),
    ("load.event_id", "/load/event_id"),
];

pub(super) fn list(
    with_built_in: bool,
    config: &Config,
    host: &Host,
    mut survey: Option<Survey>,
    loads: &Loads,
    mut gaps: Gaps,
) -> anyhow::Result<Inventory<ModuleEntry>> {
    let root = Path::new("/");
    for (path, file_system) in [("/proc/modules", PROC_SUPER_MAGIC), ("/sys/module", SYSFS_MAGIC)] {
        if is_covered(Path::new(path), file_system) {
            gaps.add(path, "something is mounted over it: what it shows need not be the kernel's word");
        }
    }
    // Checked when the settings were read.
    let keys = Keys::read(&config.signatures.sources(&host.kernel_release)?);
    for problem in keys.problems() {
        gaps.add_one("keys in", problem.path.as_os_str().as_encoded_bytes(), &problem.reason);
    }
    let release = &host.kernel_release;
    let mut means = Means { root, release, survey: survey.as_mut(), keys: &keys, loads, with_built_in };
    let (entries, gaps) = modules::list(&mut means, gaps);
    Ok(Inventory {
        subject: "modules",
        entries,
        gaps,
        object,
        table: &TABLE,
        csv: &CSV,
        document: Renderer::render_module_entry,
    })
}

pub(super) fn object(entry: &ModuleEntry, accounts: &Accounts) -> Value {
    let known = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(text);
    let views = [("proc", entry.in_proc), ("sysfs", entry.in_sysfs)];
    let parameter = |value: Option<&[u8]>| value.map_or(Value::Null, |value| text(value).into());
    let parameters = entry.parameters.iter().map(|found| {
        let value = found.value.as_ref().map(|value| value.bytes.as_slice());
        (readable(&found.name).into_owned(), parameter(value))
    });
    let file = entry.file.as_ref();
    json!({
        "name": text(&entry.name),
        "built_in": entry.built_in,
        "state": entry.state,
        "size": entry.size,
        "refcount": entry.refcount,
        "used_by": entry.used_by.iter().map(|name| text(name)).collect::<Vec<_>>(),
        "permanent": entry.permanent,
        "address": entry.address.map(|address| format!("{address:#x}")),
        "taints": entry.taints,
        "version": known(&entry.version),
        "srcversion": known(&entry.srcversion),
        "parameters": parameters.collect::<serde_json::Map<_, _>>(),
        "more_parameters": entry.more_parameters,
        "views": views.into_iter().filter_map(|(name, is)| is.then_some(name)).collect::<Vec<_>>(),
        "file": file.map(|file| found::object(&file.file, accounts)),
        "same_srcversion": entry.is_of_file(),
        "signature": file.and_then(|file| file.signature.as_ref()).map(signature),
        "load": entry.load.as_ref().map(load),
    })
}

fn signature(facts: &SignatureFacts) -> Value {
    let signer = facts.signer.as_ref();
    json!({
        "status": facts.verdict.name(),
        "verdict": facts.verdict.reason(),
        "signer": signer.and_then(|signer| signer.name.as_deref()),
        "key_id": signer.map(|signer| signer.key_id.as_str()),
        "digest_algorithm": signer.map(|signer| signer.digest_algorithm.as_str()),
    })
}

fn load(load: &KnownLoad) -> Value {
    json!({
        "at": load.at.to_string(),
        "source": load.source.name(),
        "event_id": load.event_id,
        "path": load.path,
        "executable": load.executable,
        "pid": load.pid,
        "user": load.user,
    })
}
