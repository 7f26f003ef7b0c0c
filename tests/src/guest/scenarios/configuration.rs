//! Files that tell which modules are loaded and how: what they said, what they say now, and what that does.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink},
    ptr,
};

use rustix::{
    fs::{AtFlags, CWD, RenameFlags, Timestamps, UTIME_NOW, renameat_with, utimensat},
    mm::{MapFlags, ProtFlags, mmap, munmap},
    time::Timespec,
};
use serde_json::{Value, json};

use super::changes::{HIGH, LOW, MEDIUM, change, change_after, change_to, create, expect_no_change, remove, sha256};
use crate::{process::ANALYST, stage::Stage};

const RULE: &str = "module-configuration-changed";
const OWN: &str = "/etc/modprobe.d/lkm-own.conf";
/// Files that the machine had when the daemon started, with their subjects.
const BASELINE: &str = "/etc/modprobe.d/guest.conf";
const LISTS: [(&str, &str); 5] = [
    ("/etc/depmod.d/guest.conf", "depmod"),
    ("/etc/dracut.conf.d/guest.conf", "initramfs"),
    ("/etc/initramfs-tools/modules", "initramfs"),
    ("/etc/modules", "modules-load"),
    ("/etc/modules-load.d/guest.conf", "modules-load"),
];
const PAM: &str = "/usr/lib/x86_64-linux-gnu/security/pam_guest.so";

fn append(path: &str, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("open a file of the machine");
    file.write_all(text.as_bytes()).expect("append to it");
}

fn severity(severity: u64) -> Value {
    json!({ "event": { "severity": severity } })
}

/// What is said of a file with this content.
fn holds(content: &str) -> Value {
    json!({ "sha256": sha256(content), "size": content.len() })
}

pub(super) fn created_and_written(stage: &mut Stage) {
    let options = "options loop max_loop=8\n";
    create(stage, OWN, options)
        .contains(json!({
            "message": "Kernel module configuration changed",
            "event": {
                "category": ["configuration", "file"],
                "type": ["creation"],
                "action": "created-module-configuration",
                "outcome": "success",
                "severity": MEDIUM,
                "code": "401",
                "provider": "kernel",
                "reason": format!(
                    "modprobe configuration {OWN} was created by /init run by root: 1 line added and 0 removed"
                ),
            },
            "file": {
                "path": OWN,
                "name": "lkm-own.conf",
                "directory": "/etc/modprobe.d",
                "extension": "conf",
                "size": options.len(),
                "type": "file",
                "mode": "0644",
                "uid": "0",
                "owner": "root",
            },
            "process": { "pid": 1, "executable": "/init", "user": { "id": "0" } },
            "lkm_monitor": { "change": {
                "subject": "modprobe",
                "content": "read",
                "size_before": 0,
                "before": null,
                "after": null,
                "diff": { "added": ["options loop max_loop=8"], "removed": null, "reordered": null },
                "directives": { "added": ["options loop max_loop=8"], "removed": null },
                "dangers": null,
                "untouched": null,
                "still_open": null,
                "folder": null,
            } },
        }))
        .has_findings(&[RULE]);
    let command = "install loop /bin/sh -c id\n";
    append(OWN, command);
    let both = [options, command].concat();
    change_to(stage, "modified", OWN, &both)
        .contains(json!({
            "event": {
                "type": ["change"],
                "action": "modified-module-configuration",
                "severity": HIGH,
                "reason": format!(
                    "modprobe configuration {OWN} was modified by /init run by root: \
                     an install command for loop runs \"/bin/sh -c id\""
                ),
            },
            "lkm_monitor": { "change": {
                "content": "read",
                "size_before": options.len(),
                "before": holds(options),
                "after": holds(&both),
                "diff": { "added": ["install loop /bin/sh -c id"], "removed": null },
                "directives": { "added": ["install loop /bin/sh -c id"], "removed": null },
                "dangers": ["an install command for loop runs \"/bin/sh -c id\""],
            } },
        }))
        .has_findings(&[RULE]);
    // As editors do that write in place: cut to nothing, and written anew.
    fs::write(OWN, options).expect("write the first version");
    change(stage, "modified", OWN, json!({ "lkm_monitor": { "change": { "after": holds(options) } } }))
        .contains(severity(MEDIUM))
        .contains(json!({ "lkm_monitor": { "change": {
            "before": holds(&both),
            "diff": { "added": null, "removed": ["install loop /bin/sh -c id"] },
            "directives": { "added": null, "removed": ["install loop /bin/sh -c id"] },
            "dangers": null,
        } } }))
        .has_findings(&[RULE]);
    remove(stage, OWN)
        .contains(severity(MEDIUM))
        .contains(json!({
            "event": { "type": ["deletion"], "action": "removed-module-configuration" },
            "file": { "hash": null },
            "lkm_monitor": { "change": {
                "content": "gone",
                "before": holds(options),
                "after": null,
                "diff": { "added": null, "removed": ["options loop max_loop=8"] },
            } },
        }))
        .has_findings(&[RULE]);
}

/// Who opens a file and writes nothing does not change it; who writes what it held may have written something else in between.
pub(super) fn opened_and_not_changed(stage: &mut Stage) {
    let content = "blacklist brd\n";
    create(stage, OWN, content);
    drop(OpenOptions::new().write(true).open(OWN).expect("open a file for writing"));
    change(stage, "modified", OWN, json!({ "lkm_monitor": { "change": { "untouched": true } } }))
        .contains(json!({
            "message": "Modprobe configuration opened for writing and not changed",
            // The times of a file in memory do not tell, so that somebody looked.
            "lkm_monitor": { "change": { "content": "read", "before": holds(content), "after": holds(content) } },
        }))
        .has_findings(&[]);
    fs::write(OWN, content).expect("write what is there");
    let same = json!({ "lkm_monitor": { "change": { "before": holds(content), "untouched": null } } });
    let restored = change(stage, "modified", OWN, same);
    restored
        .contains(severity(LOW))
        .contains(json!({ "lkm_monitor": { "change": {
            "after": holds(content),
            "diff": { "added": null, "removed": null },
        } } }))
        .has_findings(&[RULE]);
    let ending = "; when it was looked at, it held what it had held before";
    assert!(restored.text("event.reason").ends_with(ending), "{}", restored.value());
    remove(stage, OWN);
}

/// As many bytes as before, in the tick in which somebody gave the file new times, or through a mapping that was read before.
pub(super) fn written_without_moving_its_times(stage: &mut Stage) {
    let (harmless, command) = ("#nstall loop /bin/sh -c id\n", "install loop /bin/sh -c id\n");
    for write in [write_in_the_tick_of_its_times as fn(u8), write_through_a_mapping] {
        let number = create(stage, OWN, harmless).number("event.sequence").unwrap_or_default();
        write(command.as_bytes()[0]);
        // While somebody writes it, it may be looked at for its new times, too.
        let new = json!({
            "event": { "severity": HIGH },
            "lkm_monitor": { "change": { "before": holds(harmless), "after": holds(command) } },
        });
        change_after(stage, number, "modified", OWN, new)
            .contains(json!({ "lkm_monitor": { "change": {
                "before": holds(harmless),
                "dangers": ["an install command for loop runs \"/bin/sh -c id\""],
            } } }))
            .has_findings(&[RULE]);
        remove(stage, OWN);
    }
}

fn write_in_the_tick_of_its_times(byte: u8) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    utimensat(CWD, OWN, &times, AtFlags::empty()).expect("give it the times of now");
    let file = OpenOptions::new().write(true).open(OWN).expect("open the file");
    file.write_all_at(&[byte], 0).expect("write its first byte");
}

fn write_through_a_mapping(byte: u8) {
    let file = OpenOptions::new().read(true).write(true).open(OWN).expect("open the file");
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of a file that nobody cuts, and a byte of it.
    unsafe {
        let memory = mmap(ptr::null_mut(), 1, access, MapFlags::SHARED, &file, 0).expect("map the file").cast::<u8>();
        assert_eq!(memory.read_volatile(), b'#', "it is read first");
        memory.write_volatile(byte);
        munmap(memory.cast(), 1).expect("take the mapping away");
    }
}

/// modprobe reads it as it is: who keeps it open does not decide when it is read here.
pub(super) fn kept_open(stage: &mut Stage) {
    let (command, more) = ("install loop /bin/sh -c id\n", "blacklist brd\n");
    let mut file = File::create(OWN).expect("make a file");
    file.write_all(command.as_bytes()).expect("write a line");
    change(stage, "created", OWN, json!({ "lkm_monitor": { "change": { "still_open": true } } }))
        .contains(severity(HIGH))
        .contains(json!({
            "file": { "hash": { "sha256": sha256(command) } },
            "lkm_monitor": {
                "change": {
                    "content": "read",
                    "diff": { "added": [command.trim_end()] },
                    "dangers": ["an install command for loop runs \"/bin/sh -c id\""],
                },
                "late": null,
            },
        }))
        .has_findings(&[RULE]);
    file.write_all(more.as_bytes()).expect("write another line");
    drop(file);
    change_to(stage, "created", OWN, &[command, more].concat())
        .contains(severity(MEDIUM))
        .contains(json!({ "lkm_monitor": {
            "change": {
                "still_open": null,
                "before": holds(command),
                "diff": { "added": [more.trim_end()], "removed": null },
                "dangers": null,
            },
            "late": true,
        } }))
        .has_findings(&[RULE]);
    remove(stage, OWN);
}

/// Who makes another file before anybody could look at the place of the first one hides nothing behind the removal.
pub(super) fn removed_and_made_anew(stage: &mut Stage) {
    create(stage, OWN, "blacklist brd\n");
    let command = "install loop /bin/sh -c id\n";
    fs::remove_file(OWN).expect("remove the first file");
    fs::write(OWN, command).expect("make another one");
    change(stage, "removed", OWN, json!({}))
        .contains(severity(MEDIUM))
        .contains(json!({ "lkm_monitor": { "change": { "diff": { "removed": ["blacklist brd"] }, "dangers": null } } }))
        .has_findings(&[RULE]);
    change_to(stage, "created", OWN, command)
        .contains(severity(HIGH))
        .contains(json!({ "lkm_monitor": { "change": {
            "before": null,
            "diff": { "added": [command.trim_end()], "removed": null },
            "dangers": ["an install command for loop runs \"/bin/sh -c id\""],
        } } }))
        .has_findings(&[RULE]);
    remove(stage, OWN);
}

pub(super) fn with_other_attributes(stage: &mut Stage) {
    let content = "blacklist brd\nblacklist ifb\n";
    create(stage, OWN, content);
    fs::set_permissions(OWN, Permissions::from_mode(0o666)).expect("change the mode");
    change(stage, "mode-changed", OWN, json!({}))
        .contains(severity(LOW))
        .contains(json!({
            "event": {
                "type": ["change"],
                "action": "mode-changed-module-configuration",
                "outcome": "success",
            },
            "file": { "mode": "0666", "hash": { "sha256": sha256(content) } },
            "lkm_monitor": { "change": {
                "mode_given": "0666",
                "before": { "mode": "0644", "owner": "root" },
                "after": { "mode": "0666", "owner": "root" },
                "diff": null,
                "dangers": null,
            } },
        }))
        .has_findings(&[RULE]);
    chown(OWN, Some(ANALYST), Some(ANALYST)).expect("change the owner");
    change(stage, "owner-changed", OWN, json!({}))
        .contains(severity(LOW))
        .contains(json!({
            "file": { "uid": "1000", "owner": "analyst" },
            "lkm_monitor": { "change": {
                "mode_given": null,
                "before": { "uid": "0", "owner": "root", "group": "root" },
                "after": { "uid": "1000", "owner": "analyst", "group": "analyst" },
            } },
        }))
        .has_findings(&[RULE]);
    // SAFETY: a constant text.
    assert_eq!(unsafe { libc::truncate(c"/etc/modprobe.d/lkm-own.conf".as_ptr(), 14) }, 0, "cut the file");
    change_to(stage, "truncated", OWN, "blacklist brd\n")
        .contains(severity(MEDIUM))
        .contains(json!({ "lkm_monitor": { "change": {
            "before": holds(content),
            "diff": { "added": null, "removed": ["blacklist ifb"] },
        } } }))
        .has_findings(&[RULE]);
    remove(stage, OWN);
}

/// Each line does something that an administrator wants to know of at once.
pub(super) fn dangers(stage: &mut Stage) {
    let modprobe = "/etc/modprobe.d/lkm-danger.conf";
    let list = "/etc/modules-load.d/lkm-danger.conf";
    for (path, line, clause) in [
        (modprobe, "install loop /bin/sh -c id", "an install command for loop runs \"/bin/sh -c id\""),
        (modprobe, "remove loop /bin/true", "a remove command for loop runs \"/bin/true\""),
        (modprobe, "blacklist nf_tables", "a blacklist line keeps nf_tables (packet filter) from loading"),
        (modprobe, "install nf-tables /bin/false", "an install command keeps nf_tables (packet filter) from loading"),
        (modprobe, "softdep loop pre: rk", "a softdep makes loop pull in rk, which this host does not have"),
        (modprobe, "options rk hide=1", "options \"hide=1\" are set for rk, which this host does not have"),
        (modprobe, "alias net-pf-9 rk", "an alias makes net_pf_9 load rk, which this host does not have"),
        (list, "root-kit", "root_kit is to be loaded at boot, which this host does not have"),
    ] {
        let document = create(stage, path, &format!("{line}\n"));
        document
            .contains(severity(HIGH))
            .contains(json!({ "lkm_monitor": { "change": { "dangers": [clause], "diff": { "added": [line] } } } }))
            .has_findings(&[RULE]);
        assert!(document.text("event.reason").ends_with(&format!(": {clause}")), "{}", document.value());
        remove(stage, path).contains(severity(MEDIUM)).has_findings(&[RULE]);
    }
    for (path, line) in [(modprobe, "softdep loop pre: dummy"), (modprobe, "blacklist brd"), (list, "nls-utf8")] {
        create(stage, path, &format!("{line}\n"))
            .contains(severity(MEDIUM))
            .contains(json!({ "lkm_monitor": { "change": { "dangers": null } } }))
            .has_findings(&[RULE]);
        remove(stage, path);
    }
}

/// Package managers and most editors write a new file and give it the old one's name.
pub(super) fn renamed_over(stage: &mut Stage) {
    let (old, new) = (fs::read_to_string(BASELINE).expect("the machine has it"), "options rk a=1\n");
    fs::write("/etc/lkm-new", new).expect("write a file that nobody watches");
    fs::rename("/etc/lkm-new", BASELINE).expect("put it in the place of another");
    change(stage, "renamed", BASELINE, json!({}))
        .contains(severity(HIGH))
        .contains(json!({
            "event": { "type": ["creation"], "action": "renamed-module-configuration", "outcome": "success" },
            "file": { "hash": { "sha256": sha256(new) } },
            "lkm_monitor": { "change": {
                "old_path": "/etc/lkm-new",
                "content": "read",
                "before": holds(&old),
                "after": holds(new),
                "diff": { "added": ["options rk a=1"], "removed": old.lines().collect::<Vec<_>>() },
                "directives": { "added": ["options rk a=1"], "removed": ["blacklist softdog"] },
                "dangers": ["options \"a=1\" are set for rk, which this host does not have"],
            } },
        }))
        .has_findings(&[RULE]);
    // Taken away, and put back.
    fs::rename(BASELINE, "/etc/lkm-taken").expect("take it away");
    change(stage, "renamed", "/etc/lkm-taken", json!({}))
        .contains(severity(MEDIUM))
        .contains(json!({
            "event": { "type": ["deletion"], "action": "removed-module-configuration" },
            "lkm_monitor": { "change": { "old_path": BASELINE, "left": true, "before": holds(new) } },
        }))
        .has_findings(&[RULE]);
    fs::hard_link("/etc/lkm-taken", BASELINE).expect("give it its name again");
    change(stage, "linked", BASELINE, json!({}))
        .contains(severity(HIGH))
        .contains(json!({
            "lkm_monitor": { "change": { "old_path": "/etc/lkm-taken", "before": null, "content": "read" } },
            "file": { "hash": { "sha256": sha256(new) } },
        }))
        .has_findings(&[RULE]);
    fs::remove_file("/etc/lkm-taken").expect("remove the other name");
    fs::write("/etc/lkm-old", &old).expect("write the old version");
    renameat_with(CWD, "/etc/lkm-old", CWD, BASELINE, RenameFlags::EXCHANGE).expect("exchange both");
    change(stage, "exchanged", BASELINE, json!({}))
        .contains(severity(MEDIUM))
        .contains(json!({
            "file": { "hash": { "sha256": sha256(&old) } },
            "lkm_monitor": { "change": { "before": holds(new), "after": holds(&old) } },
        }))
        .has_findings(&[RULE]);
    fs::remove_file("/etc/lkm-old").expect("remove what is left");
}

/// modprobe follows it to where nobody watches.
pub(super) fn symbolic_link(stage: &mut Stage) {
    fs::write("/tmp/lkm-target", "install loop /bin/sh -c id\n").expect("write a file that nobody watches");
    symlink("/tmp/lkm-target", OWN).expect("link to it");
    change(stage, "symlinked", OWN, json!({}))
        .contains(json!({
            "event": { "type": ["creation"], "action": "symlinked-module-configuration" },
            "file": { "target_path": "/tmp/lkm-target" },
        }))
        .has_findings(&[RULE]);
    remove(stage, OWN).has_findings(&[RULE]);
}

/// The other files of this kind, in place and back again.
pub(super) fn lists(stage: &mut Stage) {
    for (path, subject) in LISTS {
        let old = fs::read_to_string(path).expect("the machine has it");
        append(path, "brd\n");
        let new = format!("{old}brd\n");
        change_to(stage, "modified", path, &new)
            .contains(severity(MEDIUM))
            .contains(json!({ "lkm_monitor": { "change": {
                "subject": subject,
                "before": holds(&old),
                "after": holds(&new),
                "diff": { "added": ["brd"], "removed": null },
                "dangers": null,
            } } }))
            .has_findings(&[RULE]);
        fs::write(path, &old).expect("write the old version");
        change_to(stage, "modified", path, &old).has_findings(&[RULE]);
    }
}

/// Who changes a PAM module decides who may log in. It is no text.
pub(super) fn pam_module(stage: &mut Stage) {
    let old = fs::read_to_string(PAM).expect("the machine has it");
    append(PAM, "backdoor");
    change_to(stage, "modified", PAM, &format!("{old}backdoor"))
        .contains(severity(MEDIUM))
        .contains(json!({
            "event": { "action": "modified-pam-module", "code": "404" },
            "lkm_monitor": { "change": { "subject": "pam", "before": holds(&old), "diff": null, "dangers": null } },
        }))
        .has_findings(&["pam-module-changed"]);
    fs::write("/usr/lib/pam_new.so", &old).expect("write a file that nobody watches");
    fs::rename("/usr/lib/pam_new.so", PAM).expect("put it in the place of another");
    change_to(stage, "renamed", PAM, &old)
        .contains(json!({ "lkm_monitor": { "change": { "subject": "pam", "content": "read" } } }))
        .has_findings(&["pam-module-changed"]);
}

/// Files are read all the time, and names are not unique.
pub(super) fn read_or_elsewhere(stage: &mut Stage) {
    for (path, _) in LISTS.into_iter().chain([(BASELINE, ""), (PAM, "")]) {
        fs::read(path).expect("read a file of the machine");
        File::open(path).and_then(|file| file.metadata()).expect("look at a file of the machine");
    }
    for folder in ["/etc/modprobe.d", "/tmp/etc/modprobe.d", "/tmp/x/security"] {
        fs::create_dir_all(folder).expect("make a folder");
        assert!(fs::read_dir(folder).expect("list a folder").all(|entry| entry.is_ok()));
    }
    for path in ["/tmp/x/modules", "/tmp/etc/modprobe.d/x.conf", "/tmp/x/security/pam_x.so", "/tmp/x/modules.dep"] {
        fs::write(path, "install loop /bin/sh\n").expect("write a file that is not watched");
        fs::rename(path, format!("{path}~")).expect("rename it");
        fs::remove_file(format!("{path}~")).expect("remove it");
    }
    expect_no_change(stage, "a change", |_| true);
}
