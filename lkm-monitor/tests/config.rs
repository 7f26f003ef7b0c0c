//! `lkm-monitor config` as a program: exit codes, and what goes to which stream.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

fn config(arguments: &[&str], file: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lkm-monitor"));
    command.arg("config").args(arguments);
    if let Some(file) = file {
        command.arg("--config").arg(file);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn all_that_is_wrong_is_said_and_nothing_is_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "[rarity]\nwindow_days = 0\nwindow_day = 1\n").unwrap();
    for action in ["check", "show"] {
        let Output { status, stdout, stderr } = config(&[action], Some(file.path()));
        assert_eq!((status.code(), text(&stdout)), (Some(78), ""));
        let path = file.path().display();
        let wanted = format!(
            "{path}:2: rarity.window_days: it is 0, but must be from 1 to 366\n\
             {path}:3: rarity.window_day: there is no such key; did you mean `window_days`?\n"
        );
        assert_eq!(text(&stderr), wanted);
    }
}

#[test]
fn what_holds_is_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, file) = (folder.path().join("password"), folder.path().join("config.toml"));
    fs::write(&secret, "hush\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let redis = format!("addresses = [\"redis://127.0.0.1\"]\npassword_file = \"{}\"\n", secret.display());
    fs::write(&file, format!("[rarity]\nstore = \"redis\"\n[rarity.redis]\n{redis}")).unwrap();
    assert!(config(&["check"], Some(&file)).status.success());
    let Output { status, stdout, stderr } = config(&["show"], Some(&file));
    assert!(status.success(), "{}", text(&stderr));
    let shown = text(&stdout);
    assert!(shown.contains(&format!("password_file = \"{}\" # {}:5\n", secret.display(), file.display())), "{shown}");
    assert!(shown.contains("window_days = 30 # default\n") && !shown.contains("hush"), "{shown}");

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = config(&["check"], Some(&file));
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains(":5: rarity.redis.password_file: "), "{}", text(&refused.stderr));
}

#[test]
fn the_default_file_is_one_that_can_be_used() {
    let default = config(&["default"], None);
    assert!(default.status.success());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &default.stdout).unwrap();
    let checked = config(&["check"], Some(file.path()));
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), ""));
}
