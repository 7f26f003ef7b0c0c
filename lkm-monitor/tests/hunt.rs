//! The hunt as it is called.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::{fd::FromRawFd as _, unix::fs::PermissionsExt as _},
    path::Path,
    process::{Command, Output, Stdio},
    ptr, thread,
    time::Duration,
};

const FILE: &str = r#"{"@timestamp":"2026-01-31T00:00:00Z","agent":{"id":"a"},"event":{"type":["creation"]},"file":{"path":"/tmp/x.ko"}}"#;

fn hunt(input: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lkm-monitor"));
    command.args(["hunt", "files", "--format", "csv", "--since", "2026-01-01T00:00:00Z", "--input"]).arg(input);
    command
}

fn with_report(input: &Path, report: &Path) -> Output {
    hunt(input).arg("--html").arg(report).output().unwrap()
}

#[test]
fn a_report_is_for_its_owner_and_changes_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let (input, report) = (folder.path().join("a.ndjson"), folder.path().join("report.html"));
    fs::write(&input, format!("{FILE}\n")).unwrap();
    fs::write(&report, "an older one").unwrap();
    fs::set_permissions(&report, fs::Permissions::from_mode(0o644)).unwrap();
    let output = with_report(&input, &report);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, hunt(&input).output().unwrap().stdout);
    assert!(fs::read_to_string(&report).unwrap().contains("<bdi>/tmp/x.ko</bdi>"));
    assert_eq!(fs::metadata(&report).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_reading() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("missing/report.html");
    let output = with_report(Path::new("/missing.ndjson"), &report);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains(&format!("cannot write the report {}", report.display())), "{said}");
}

/// Both ends of a terminal that is 100 columns wide.
fn terminal() -> (File, File) {
    let (mut main, mut other) = (0, 0);
    let size = libc::winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: all pointers are to values that outlive the call, or null where that is allowed.
    let opened = unsafe { libc::openpty(&mut main, &mut other, ptr::null_mut(), ptr::null(), &size) };
    assert_eq!(opened, 0);
    // SAFETY: the call has opened both, and nobody else has them.
    unsafe { (File::from_raw_fd(main), File::from_raw_fd(other)) }
}

/// What a hunt says on standard error that takes `pause` and longer to read its input.
fn said_while_reading(pause: Duration, (mut stderr, other): (File, Stdio)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("a.ndjson");
    assert!(Command::new("mkfifo").arg(&input).status().unwrap().success());
    let mut command = hunt(&input);
    let mut child = command.env("TERM", "xterm").stdout(Stdio::piped()).stderr(other).spawn().unwrap();
    // Its end of the terminal is to be the only one.
    drop(command);
    let mut pipe = OpenOptions::new().write(true).open(&input).unwrap();
    writeln!(pipe, "{FILE}").unwrap();
    // The time that passes is what this is about.
    thread::sleep(pause);
    writeln!(pipe, "{FILE}").unwrap();
    drop(pipe);
    let mut rows = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rows).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rows.lines().count(), 2, "{rows}");
    let mut said = Vec::new();
    // A terminal whose other end is closed is an error, and not an end.
    let _ = stderr.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn progress_is_for_who_waits_at_a_terminal() {
    let (main, other) = terminal();
    let said = said_while_reading(Duration::from_millis(1200), (main, other.into()));
    assert!(said.contains("left"), "{said:?}");
    assert!(said.ends_with("\u{1b}[2K") || said.ends_with("\r"), "nothing stays: {said:?}");
}

#[test]
fn no_progress_where_reading_is_soon_done() {
    let (main, other) = terminal();
    assert_eq!(said_while_reading(Duration::ZERO, (main, other.into())), "");
}

#[test]
fn no_progress_without_a_terminal() {
    let (reader, writer) = std::io::pipe().unwrap();
    let reader = File::from(std::os::fd::OwnedFd::from(reader));
    assert_eq!(said_while_reading(Duration::from_millis(1200), (reader, writer.into())), "");
}
