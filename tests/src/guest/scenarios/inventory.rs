//! What `lkm-monitor inventory` lists, against what the kernel, modinfo, stat and sha256sum say of the same.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{MetadataExt as _, symlink},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

use super::changes::sha256;
use crate::{
    machine,
    module_file::installed,
    process::{ANALYST, program},
    sensor,
    stage::Stage,
};

/// A list in JSON, as root sees it.
fn listed(arguments: &[&str]) -> Value {
    let all = [&["inventory"], arguments, &["--format", "json"]].concat();
    let output = program(sensor::PROGRAM, all).succeeded().output;
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// The entries by their names or paths, each of which there is once.
fn by<'a>(list: &'a Value, subject: &str, key: &str) -> BTreeMap<&'a str, &'a Value> {
    let entries = list[subject].as_array().unwrap_or_else(|| panic!("no {subject}: {list}"));
    let by: BTreeMap<_, _> = entries.iter().map(|entry| (entry[key].as_str().expect("a name"), entry)).collect();
    assert_eq!(by.len(), entries.len(), "something is listed twice: {list}");
    by
}

fn said(tool: &str, arguments: &[&str]) -> String {
    program(tool, arguments).succeeded().output.trim_end().to_owned()
}

pub(super) fn modules(stage: &mut Stage) {
    for (name, parameter) in [("dummy", "numdummies=2"), ("rds", ""), ("brd", "rd_nr=1")] {
        let path = installed(name);
        let arguments = [path.to_str().expect("plain path"), parameter];
        program("/sbin/insmod", arguments.into_iter().filter(|word| !word.is_empty())).succeeded();
    }
    let load = stage.load_of("dummy");
    let events = "/tmp/events.ndjson";
    let lines: String = stage.sensor.documents().iter().map(|document| format!("{}\n", document.value())).collect();
    fs::write(events, lines).expect("write the documents");

    let list = listed(&["modules", "--events", events]);
    let names_gap = |what: &str| list["gaps"].as_array().into_iter().flatten().any(|gap| gap["what"] == what);
    assert!(!names_gap("records of kept images"), "none are kept here: {list}");
    let listed_modules = by(&list, "modules", "name");
    let kernels = fs::read_to_string("/proc/modules").expect("read the list of modules");
    assert_eq!(listed_modules.len(), kernels.lines().count(), "{list}");
    for line in kernels.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [name, size, refcount, used_by, state, address, taints @ ..] = &fields[..] else { panic!("{line}") };
        let module = listed_modules.get(name).unwrap_or_else(|| panic!("{name} is not listed: {list}"));
        let users: Vec<_> = used_by.split(',').filter(|user| !["", "-", "[permanent]"].contains(user)).collect();
        assert_eq!(module["size"].to_string(), *size, "{module}");
        assert_eq!(module["refcount"].to_string(), *refcount, "{module}");
        assert_eq!(module["used_by"], json!(users), "{module}");
        assert_eq!(module["permanent"], used_by.contains("[permanent]"), "{module}");
        assert_eq!(module["state"], state.to_lowercase(), "{module}");
        assert_eq!(module["address"], *address, "{module}");
        let letters = taints.first().map_or("", |flags| flags.trim_matches(['(', ')']));
        assert_eq!(module["taints"], letters, "{module}");
        assert_eq!((&module["views"], &module["built_in"]), (&json!(["proc", "sysfs"]), &json!(false)));
        same_as_sysfs(name, module);
        same_as_modinfo(name, module);
    }
    assert_eq!(listed_modules["brd"]["parameters"]["rd_nr"], "1");
    assert!(listed_modules["rds"]["version"].is_string(), "{list}");

    // Who loaded it is known by the documents.
    let known = &listed_modules["dummy"]["load"];
    assert_eq!(known["event_id"], *load.at("event.id"), "{known}");
    assert_eq!((&known["executable"], &known["user"]), (&json!("/usr/bin/kmod"), &json!("root")), "{known}");
    assert_eq!(known["path"], *load.at("file.path"));
    assert_eq!(known["source"], "document");
    let [at, told] = [known["at"].as_str(), load.at("@timestamp").as_str()].map(|time| time.expect("a time"));
    assert_eq!(at.trim_end_matches('Z'), told.trim_end_matches(['Z', '0']), "the same moment");

    let built_in = listed(&["modules", "--builtin"]);
    let kernel = by(&built_in, "modules", "name")["kernel"].clone();
    assert_eq!((&kernel["built_in"], &kernel["state"]), (&json!(true), &Value::Null));
    let panic = fs::read_to_string("/sys/module/kernel/parameters/panic").expect("read a parameter of the kernel");
    assert_eq!(kernel["parameters"]["panic"], panic.trim_end());
}

fn same_as_sysfs(name: &str, module: &Value) {
    let folder = Path::new("/sys/module").join(name);
    let attribute = |file: &str| fs::read_to_string(folder.join(file)).ok().map(|text| text.trim_end().to_owned());
    for file in ["version", "srcversion"] {
        assert_eq!(module[file], json!(attribute(file)), "{name}: {file}");
    }
    let mut parameters = BTreeMap::new();
    for entry in fs::read_dir(folder.join("parameters")).into_iter().flatten() {
        let parameter = entry.expect("list parameters").file_name().into_string().expect("a plain name");
        let value = attribute(&format!("parameters/{parameter}"));
        parameters.insert(parameter, value);
    }
    assert_eq!(module["parameters"], json!(parameters), "{name}");
}

fn same_as_modinfo(name: &str, module: &Value) {
    let path = fs::canonicalize(said("/sbin/modinfo", &["-F", "filename", name])).expect("modinfo names a file");
    let content = fs::read(&path).expect("read the module's file");
    assert_eq!(module["file"]["path"], path.to_str().expect("plain path"), "{module}");
    assert_eq!(module["file"]["sha256"], sha256(&content), "{module}");
    assert_eq!(module["file"]["size"], content.len(), "{module}");
    for (member, field) in [("signer", "signer"), ("key_id", "sig_key")] {
        let told = Some(said("/sbin/modinfo", &["-F", field, name])).filter(|told| !told.is_empty());
        assert_eq!(module["signature"][member], json!(told), "{module}");
    }
    let srcversion = said("/sbin/modinfo", &["-F", "srcversion", name]);
    let same = (!srcversion.is_empty() && !module["srcversion"].is_null()).then(|| module["srcversion"] == srcversion);
    assert_eq!(module["same_srcversion"], json!(same), "{module}");
}

pub(super) fn files(_: &mut Stage) {
    let path = "/etc/modprobe.d/inventory.conf";
    fs::write(path, "# One\ninstall a-b /tmp/x\nblacklist edd\n").expect("write a file");
    rustix::fs::chownat(
        rustix::fs::CWD,
        path,
        Some(rustix::fs::Uid::from_raw(ANALYST)),
        Some(rustix::fs::Gid::from_raw(ANALYST)),
        rustix::fs::AtFlags::empty(),
    )
    .expect("give it away");
    symlink("../modules", "/etc/modules-load.d/inventory.conf").expect("make a link");
    let list = listed(&["files"]);
    fs::remove_file("/etc/modules-load.d/inventory.conf").expect("remove the link");
    let files = by(&list, "files", "path");

    let own = files[path];
    assert_eq!(
        (&own["owner"], &own["group"], &own["kind"]),
        (&json!("analyst"), &json!("analyst"), &json!("modprobe"))
    );
    assert_eq!(own["meaning"], json!(["install a_b /tmp/x", "blacklist edd"]));
    assert_eq!(own["dangers"], json!(["an install command for a_b runs \"/tmp/x\""]));
    let link = files["/etc/modules-load.d/inventory.conf"];
    assert_eq!((&link["link"], &link["leads_to"]), (&json!("../modules"), &json!("/etc/modules")));
    assert_eq!((&link["meaning"], &link["sha256"]), (&json!(["loop"]), &files["/etc/modules"]["sha256"]));
    assert_eq!(files["/proc/sys/kernel/modules_disabled"]["meaning"], json!(["0"]));
    for (path, file) in files.iter().filter(|(path, file)| !path.starts_with("/proc/") && file["link"].is_null()) {
        let metadata = fs::metadata(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((&file["size"], &file["inode"]), (&json!(metadata.len()), &json!(metadata.ino())), "{path}");
        assert_eq!((&file["uid"], &file["gid"]), (&json!(metadata.uid()), &json!(metadata.gid())), "{path}");
        assert_eq!(file["mode"], format!("{:04o}", metadata.mode() & 0o7777), "{path}");
        assert_eq!(file["mtime"], stamp(metadata.mtime(), metadata.mtime_nsec()), "{path}");
        assert_eq!(file["ctime"], stamp(metadata.ctime(), metadata.ctime_nsec()), "{path}");
        let sum = said("/usr/bin/busybox", &["sha256sum", path]);
        assert_eq!(file["sha256"], sum.split(' ').next().unwrap_or_default(), "{path}");
    }
    let index = format!("/usr/lib/modules/{}/modules.dep", machine::kernel_release());
    assert_eq!(files[index.as_str()]["kind"], "module-index");
    assert!(!files.keys().any(|path| path.starts_with("/lib/")), "what a link leads to is listed once");
    fs::remove_file(path).expect("remove the file");
}

/// RFC 3339 with nanoseconds, in UTC.
fn stamp(seconds: i64, nanoseconds: i64) -> String {
    let at = format!("@{seconds}");
    let text = said("/usr/bin/busybox", &["date", "-u", "-d", &at, "+%Y-%m-%dT%H:%M:%S"]);
    format!("{text}.{nanoseconds:09}Z")
}

pub(super) fn tools(_: &mut Stage) {
    let list = listed(&["tools"]);
    let tools = by(&list, "tools", "path");
    let kmod = tools["/usr/bin/kmod"];
    let names: Vec<_> = kmod["names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for name in ["/usr/bin/kmod", "/usr/sbin/modprobe", "/sbin/modprobe", "/usr/sbin/rmmod", "/sbin/lsmod"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(kmod["kernels"], true, "kernel.modprobe leads there: {list}");
    assert_eq!(kmod["sha256"], sha256(fs::read("/usr/bin/kmod").expect("read the tool")));
    assert_eq!(
        (&tools["/usr/bin/busybox"]["kind"], &tools["/usr/bin/busybox"]["kernels"]),
        (&json!("many-tools"), &json!(false))
    );
    assert_eq!(tools.len(), 2, "{list}");
}

/// What root alone may know is missing, and named.
pub(super) fn without_root(_: &mut Stage) {
    program("/sbin/insmod", [installed("dummy")]).succeeded();
    let of_analyst = |subject: &str| -> Value {
        let output = Command::new(sensor::PROGRAM)
            .args(["inventory", subject, "--format", "json"])
            .uid(ANALYST)
            .gid(ANALYST)
            .output()
            .expect("run the program");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("the inventory is JSON")
    };
    let gaps = |list: &Value| list["gaps"].as_array().cloned().unwrap_or_default();
    let secret = "/etc/modprobe.d/secret.conf";
    fs::write(secret, "blacklist edd\n").expect("write a file");
    fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("close it");

    let (own, roots) = (of_analyst("modules"), listed(&["modules"]));
    let (own_modules, roots_modules) = (by(&own, "modules", "name"), by(&roots, "modules", "name"));
    assert!(own_modules.keys().eq(roots_modules.keys()), "{own}");
    for (name, module) in &own_modules {
        let of_root = roots_modules[name];
        assert_eq!((&module["size"], &module["file"]["sha256"]), (&of_root["size"], &of_root["file"]["sha256"]));
        assert_eq!((&module["address"], of_root["address"].is_string()), (&Value::Null, true));
    }
    let is_told = gaps(&own).iter().any(|gap| gap["what"] == "addresses of modules");
    assert!(is_told && !gaps(&roots).iter().any(|gap| gap["what"] == "addresses of modules"), "{own}");

    let files = of_analyst("files");
    let closed = by(&files, "files", "path")[secret];
    assert_eq!(
        (&closed["content"], &closed["sha256"], &closed["mode"]),
        (&json!("failed"), &Value::Null, &json!("0600"))
    );
    let told = gaps(&files).into_iter().find(|gap| gap["examples"] == json!([secret]));
    assert_eq!(told.map(|gap| gap["why"].clone()), Some(json!("permission denied")), "{files}");
    fs::remove_file(secret).expect("remove the file");
    of_analyst("tools");
}

/// For people, for spreadsheets, for the SIEM: the same modules.
pub(super) fn formats(_: &mut Stage) {
    program("/sbin/insmod", [installed("dummy")]).succeeded();
    let listed_as = |format: &str| {
        let arguments = ["inventory", "modules", "--format", format];
        program(sensor::PROGRAM, arguments).succeeded().output
    };
    assert!(listed_as("table").lines().any(|line| line.contains("dummy") && line.contains("/dummy.ko")));
    assert!(listed_as("csv").lines().any(|line| line.starts_with("dummy,no,live,")));
    let documents = listed_as("ecs");
    let documents: Vec<Value> = documents.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (end, modules) = documents.split_last().expect("an inventory ends");
    assert_eq!(modules.len(), machine::loaded_modules().len());
    let module = modules.iter().find(|document| document["lkm_monitor"]["module"]["name"] == "dummy");
    let module = module.unwrap_or_else(|| panic!("dummy is not listed: {documents:?}"));
    assert_eq!((&module["event"]["kind"], &module["event"]["action"]), (&json!("state"), &json!("module-listed")));
    assert_eq!(module["file"]["hash"]["sha256"], sha256(fs::read(installed("dummy")).expect("read the module")));
    assert_eq!(end["event"]["action"], "inventory-listed");
    assert_eq!(end["lkm_monitor"]["inventory"]["entries"], modules.len());
}
