//! Settings as a whole: what is taken, and what is said of mistakes.

use std::{fs, path::Path};

use super::{source::Sources, *};

fn load_text(text: &str) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    load(Some(&path)).map_err(|problems| {
        let place = format!("{}/", folder.path().display());
        problems.lines().iter().map(|problem| problem.replace(&place, "")).collect()
    })
}

#[test]
fn nothing_set_gives_the_defaults() {
    assert_eq!(load_text("").unwrap().config, Config::default());
}

#[test]
fn settings_are_taken() {
    let loaded = load_text("[sensor]\nsyscall_hooks = \"tracepoint\"\ncalls_ring_bytes = 65536\n").unwrap();
    assert_eq!(loaded.config.sensor.syscall_hooks, SyscallHooks::Tracepoint);
    assert_eq!(loaded.config.sensor.calls_ring_bytes, 65536);
    let shown = loaded.effective.to_toml();
    assert!(shown.contains("/config.toml:3\n") && shown.contains("truth_ring_bytes = 524288 # default\n"), "{shown}");
}

#[test]
fn a_flood_of_problems_is_cut() {
    let unknown: String = (0..1000).map(|number| format!("k{number} = 1\n")).collect();
    let told = load_text(&unknown).unwrap_err();
    assert_eq!((told.len(), told[200].as_str()), (201, "and at least 1 more"), "and it is not looked for all of them");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "\
[sensor]
syscal_hooks = \"auto\"
calls_ring_bytes = 100000
truth_ring_bytes = -1
syscall_hooks = \"fentri\"
[[files.watch]]
path = \"/etc/[x/y\"
kind = \"modprobe\"
[[files.watch]]
path = \"/etc/x/y\"
kind = \"modprob\"
[[files.watch]]
path = \"/etc/x/y\"
[[files.exclude]]
path = \"/x\"
executable = 5
[rarity]
window_days = 0
max_groups = \"many\"
store = \"redis\"
[rarity.files]
max_agents = 64
keys = [\"path\", \"args\"]
[rarity.redis]
addresses = [\"http://a\"]
deadline_ms = 5
[else]
";
    assert_eq!(
        load_text(text).unwrap_err(),
        [
            "config.toml:2: sensor.syscal_hooks: there is no such key; did you mean `syscall_hooks`?",
            "config.toml:3: sensor.calls_ring_bytes: it is 100000, but must be a power of two from 65536 to 1073741824",
            "config.toml:4: sensor.truth_ring_bytes: it is -1, but must be a whole number from 0 to 4294967295",
            "config.toml:5: sensor.syscall_hooks: it is `fentri`, but must be one of `auto`, `fentry`, `tracepoint`; did you \
             mean `fentry`?",
            "config.toml:7: files.watch.path: `/etc/[x/y` is no path pattern: invalid range pattern",
            "config.toml:11: files.watch.kind: there is no kind `modprob`; there are module, modprobe, modules-load, depmod, \
             initramfs, pam, module-index, kernel-setting, sensor-file",
            "config.toml:12: files.watch: `kind` is not set, but must be",
            "config.toml:16: files.exclude.executable: it is 5, but must be a text",
            "config.toml:18: rarity.window_days: it is 0, but must be from 1 to 366",
            "config.toml:19: rarity.max_groups: it is the text \"many\", but must be a whole number from 0 to \
             9223372036854775807",
            "config.toml:20: rarity.store: it is \"redis\", but rarity.redis.addresses names no server",
            "config.toml:22: rarity.files.max_agents: it is 64, but must be from 1 to 63",
            "config.toml:23: rarity.files.keys: these events have no `args`",
            "config.toml:25: rarity.redis.addresses: `http://a`: Redis URL did not parse - InvalidClientConfig",
            "config.toml:26: rarity.redis.deadline_ms: it is 5, but must be from 10 to 10000",
            "config.toml:27: else: there is no such key; there are `sensor`, `files`, `rarity`, `heartbeat`, `metrics`, \
             `signatures`, `evidence`, `integrity`, `state`, `spool`, `sinks`",
        ]
    );
}

#[test]
fn two_images_have_room_in_their_ring() {
    let with =
        |ring: u32, image: u32| load_text(&format!("[sensor]\nimages_ring_bytes = {ring}\nimage_bytes = {image}\n"));
    let sensor = with(65536, 32768).unwrap().config.sensor;
    assert_eq!((sensor.images_ring_bytes, sensor.image_bytes), (65536, 32768));
    assert_eq!(with(65536, 0).unwrap().config.sensor.image_bytes, 0, "none are captured");
    let said = with(65536, 32769).unwrap_err();
    assert_eq!(
        said,
        ["config.toml:3: sensor.image_bytes: it is 32769, but must be at most 32768: half of sensor.images_ring_bytes"]
    );
    let said = load_text("[sensor]\nimages_ring_bytes = 65536\n").unwrap_err();
    assert_eq!(said.len(), 1, "what nobody has set is too much for a ring that somebody has made small: {said:?}");
}

#[test]
fn values_of_any_wrong_type_are_told() {
    for (value, said) in [
        ("true", "true"),
        ("1.5", "floating point `1.5`"),
        ("[1]", "a list"),
        ("{ a = 1 }", "a table"),
        ("2026-01-01", "2026-01-01"),
        ("99999999999999999999", "99999999999999999999"),
    ] {
        for (section, key, wanted) in
            [("rarity", "window_days", "a whole number from 0 to 4294967295"), ("rarity", "store", "a text")]
        {
            let problems = load_text(&format!("[{section}]\n{key} = {value}\n")).unwrap_err();
            let wanted = format!("config.toml:2: {section}.{key}: it is {said}, but must be {wanted}");
            assert_eq!(problems, [wanted]);
        }
    }
    assert_eq!(load_text("rarity = 1\n").unwrap_err(), ["config.toml:1: rarity: it is 1, but must be a table"]);
    assert_eq!(
        load_text("[files]\nwatch = 1\n").unwrap_err(),
        ["config.toml:2: files.watch: it is 1, but must be a list"]
    );
}

#[test]
fn what_is_shown_can_be_read() {
    let text = "[[files.exclude]]\npath = \"/a\\\"\\u007f/*\"\n[[files.exclude]]\npath = \"/b\"\n[rarity.files]\nkeys = [\"path\"]\n";
    let loaded = load_text(text).unwrap();
    let again = load_text(&loaded.effective.to_toml()).unwrap();
    assert_eq!(again.effective.values(), loaded.effective.values());
    assert_eq!(again.config.files, loaded.config.files);
}

#[test]
fn the_sink_that_there_is_without_any_is_shown() {
    for nothing in ["", "[sinks]\n"] {
        let loaded = load_text(nothing).unwrap();
        let shown = loaded.effective.to_toml();
        assert!(shown.contains("\n[sinks.file.file]\n"), "{shown}");
        let again = load_text(&shown).unwrap().config;
        assert_eq!(again.sinks.len(), 1);
        let plans = |config: &Config| format!("{:?}", config.plans().unwrap());
        assert_eq!(plans(&again), plans(&loaded.config));
    }
    let other = load_text("[sinks.a.journald]\n").unwrap().effective;
    assert!(!other.values().contains_key("sinks.file.file"), "{}", other.to_toml());
}

#[test]
fn a_file_that_is_not_there_is_a_problem_when_it_is_named() {
    assert!(
        load(Some(Path::new("/none/config.toml"))).unwrap_err().to_string().starts_with("/none/config.toml: No such")
    );
}

/// A folder as `/etc/lkm-monitor`, with these files.
fn load_files(files: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    load::settle(Sources::around(&folder.path().join("config.toml"))).map_err(|problems| {
        let place = format!("{}/", folder.path().display());
        problems.lines().iter().map(|problem| problem.replace(&place, "")).collect()
    })
}

#[test]
fn later_files_override_single_keys_and_add_to_lists() {
    let watch = |path: &str| format!("[[files.watch]]\npath = \"{path}\"\nkind = \"pam\"\n");
    let config = load_files(&[
        ("config.toml", &("[rarity]\nwindow_days = 7\nmax_groups = 2000\n".to_owned() + &watch("/a/b"))),
        ("conf.d/2.toml", &("[rarity]\nwindow_days = 9\n".to_owned() + &watch("/a/c"))),
        ("conf.d/1.toml", "[rarity]\nwindow_days = 8\n"),
    ]);
    let config = config.unwrap().config;
    assert_eq!((config.rarity.window_days, config.rarity.max_groups), (9, 2000));
    assert_eq!(config.files.watch.iter().map(|watch| watch.path.as_str()).collect::<Vec<_>>(), ["/a/b", "/a/c"]);
}

#[test]
fn problems_of_all_files_are_told_even_of_what_is_overridden() {
    let problems = load_files(&[
        ("config.toml", "[rarity]\nwindow_days = \"x\"\n"),
        ("conf.d/1.toml", "[rarity\n"),
        ("conf.d/2.toml", "[rarity]\nwindow_days = 500\nmax_grups = 1\n"),
    ]);
    let problems = problems.unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:#?}");
    for (problem, start) in problems.iter().zip([
        "conf.d/1.toml:1: ",
        "conf.d/2.toml:2: rarity.window_days: it is 500",
        "conf.d/2.toml:3: rarity.max_grups: there is no such key; did you mean `max_groups`?",
        "config.toml:2: rarity.window_days: it is the text \"x\"",
    ]) {
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn all_that_is_wrong_with_sinks_is_told_and_nothing_else() {
    let text = "\
[sinks.a]
timeout_s = 0
[sinks.a.splunk]
source = \"\"
endpoints = [\"splunk\"]
[sinks.b.webhook]
url = 5
header_file = \"/none\"
[sinks.c.syslog]
addres = \"siem:514\"
[sinks.d.elastic]
[sinks.e.file]
path = \"events\"
";
    let said = load_text(text).unwrap_err();
    let starts = [
        "config.toml:2: sinks.a.timeout_s: it is 0, but must be from 1 to 600",
        "config.toml:3: sinks.a.splunk.token_file: is missing",
        "config.toml:4: sinks.a.splunk.source: is empty",
        "config.toml:5: sinks.a.splunk.endpoints: `splunk`: it must begin with",
        "config.toml:7: sinks.b.webhook.url: it is 5, but must be a text",
        "config.toml:8: sinks.b.webhook.header_file: /none: No such file",
        "config.toml:10: sinks.c.syslog.addres: there is no such key",
        "config.toml:11: sinks.d.elastic: there is no such key",
        "config.toml:13: sinks.e.file.path: is `events`, but must be",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (said, start) in said.iter().zip(starts) {
        assert!(said.starts_with(start), "{said}");
    }
}

#[test]
fn two_sinks_do_not_write_to_one_target() {
    let files = "[sinks.a.file]\n[sinks.b.file]\npath = \"/var/log//lkm-monitor/./events.ndjson\"\n";
    assert_eq!(load_text(files).unwrap_err(), ["config.toml:3: sinks.b.file.path: the sink a writes there already"]);
    let outputs = "[sinks.a.stdout]\n[sinks.b.stdout]\n";
    assert_eq!(load_text(outputs).unwrap_err(), ["config.toml:2: sinks.b.stdout: the sink a writes there already"]);
    // What is wrong with one is no reason to take it for another that writes where the second does.
    let said = load_text("[sinks.a.file]\npath = \"events\"\n[sinks.b.file]\n").unwrap_err();
    assert!(said.len() == 1 && said[0].starts_with("config.toml:2: sinks.a.file.path: "), "{said:?}");
    assert!(load_text("[sinks.a.file]\n[sinks.b.file]\npath = \"/b\"\n[sinks.c.stdout]\n").is_ok());
}
