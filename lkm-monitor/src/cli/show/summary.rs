//! A few lines about one document.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    fields::{Fields, MAX_TEXT_BYTES},
    image, kernel,
};
use crate::model::{Severity, text::shorten};

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) colored: bool,
}

impl Palette {
    /// `text` in a style: the parameters of the control sequence SGR (ECMA-48).
    fn paint(self, style: &str, text: &str) -> String {
        if self.colored { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";

/// The summary, without a newline at its end.
pub(super) fn summary(document: &Value, palette: Palette) -> String {
    let fields = Fields(document);
    let (word, style) = headline(&fields);
    let time = fields.text("/@timestamp").unwrap_or_else(|| "-".to_owned());
    let title = fields.text("/message").unwrap_or_else(|| "document without a message".to_owned());
    let mut lines = format!(
        "{} {} {}",
        palette.paint(style, &format!("{word:<8}")),
        palette.paint(DIM, &time),
        palette.paint(BOLD, &title)
    );
    if let Some(reason) = fields.text("/event/reason") {
        let _ = write!(lines, "\n  {reason}");
    }
    for (label, text) in rows(&fields).into_iter().filter(|(_, text)| !text.is_empty()) {
        let _ = write!(lines, "\n  {} {text}", palette.paint(DIM, &format!("{label:<9}")));
    }
    lines
}

/// The first word and its style.
fn headline(fields: &Fields<'_>) -> (&'static str, &'static str) {
    let severity = fields.value("/event/severity").and_then(Value::as_u64);
    match (severity, fields.text("/event/kind").as_deref()) {
        (Some(number), _) => severity_word(number),
        (None, Some("metric")) => ("LOSS", "1;35"),
        (None, Some("state")) => ("STATE", "1;34"),
        _ => ("EVENT", DIM),
    }
}

fn severity_word(number: u64) -> (&'static str, &'static str) {
    let at_least = |severity: Severity| number >= u64::from(severity.number());
    match () {
        () if at_least(Severity::Critical) => ("CRITICAL", "1;97;41"),
        () if at_least(Severity::High) => ("HIGH", "1;31"),
        () if at_least(Severity::Medium) => ("MEDIUM", "1;33"),
        () => ("LOW", "1;36"),
    }
}

fn rows(fields: &Fields<'_>) -> Vec<(&'static str, String)> {
    if fields.value("/lkm_monitor/sensor").is_some() {
        return vec![("sensor", sensor(fields)), ("blind", fields.list("/lkm_monitor/sensor/blind", " "))];
    }
    if fields.value("/lkm_monitor/loss").is_some() {
        return vec![("lost", loss(fields))];
    }
    if fields.value("/lkm_monitor/excluded").is_some() {
        return vec![("excluded", excluded(fields))];
    }
    let mut rows = vec![
        ("module", module(fields)),
        ("file", file(fields)),
        ("sha256", fields.text("/file/hash/sha256").unwrap_or_default()),
    ];
    rows.extend(kernel::rows(fields));
    rows.extend(image::rows(fields));
    rows.extend([
        ("change", change(fields)),
        ("added", fields.list("/lkm_monitor/change/diff/added", "; ")),
        ("removed", fields.list("/lkm_monitor/change/diff/removed", "; ")),
        ("danger", fields.list("/lkm_monitor/change/dangers", "; ")),
        ("burst", burst(fields)),
        ("tool", tool(fields)),
        ("rarity", rarity(fields)),
        ("request", request(fields)),
        ("process", process(fields)),
        ("ancestry", ancestry(fields)),
        ("call", call(fields)),
        ("also", other_findings(fields)),
    ]);
    rows
}

fn module(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/module/name"),
        ("version ", "/lkm_monitor/module/version"),
        ("taints ", "/lkm_monitor/module/taint_flags"),
        ("parameters ", "/lkm_monitor/module/params"),
    ])
}

fn file(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/file/path"),
        ("in truth ", "/lkm_monitor/file/absolute_path"),
        ("bytes ", "/file/size"),
        ("owner ", "/file/owner"),
        ("mode ", "/file/mode"),
        ("on ", "/lkm_monitor/file/fs_type"),
        ("mounted at ", "/lkm_monitor/file/mount_point"),
    ])
}

fn change(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/change/operation"),
        ("from ", "/lkm_monitor/change/old_path"),
        ("to ", "/file/target_path"),
        ("content ", "/lkm_monitor/change/content"),
        ("was ", "/lkm_monitor/change/value_before"),
        ("is ", "/lkm_monitor/change/value"),
    ])
}

fn burst(fields: &Fields<'_>) -> String {
    if fields.value("/lkm_monitor/burst").is_none() {
        return String::new();
    }
    fields.join(&[
        ("files ", "/lkm_monitor/burst/count"),
        ("below ", "/file/directory"),
        ("first ", "/lkm_monitor/burst/first_name"),
        ("last ", "/lkm_monitor/burst/last_name"),
    ])
}

fn tool(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/tool/name"),
        ("did: ", "/lkm_monitor/tool/effect"),
        ("exit status ", "/process/exit_code"),
    ])
}

fn rarity(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("of a ", "/lkm_monitor/rarity/scope"),
        ("events ", "/lkm_monitor/rarity/count"),
        ("agents ", "/lkm_monitor/rarity/agents"),
        ("days ", "/lkm_monitor/rarity/window_days"),
        ("first ", "/lkm_monitor/rarity/first_seen"),
    ])
}

/// The exclusions that kept something back.
fn excluded(fields: &Fields<'_>) -> String {
    let rows = fields.value("/lkm_monitor/excluded").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let row = |row: &Value| {
        let row = Fields(row);
        let count = row.text("/count").filter(|count| count != "0")?;
        Some(format!("{count} by {}", row.text("/path").unwrap_or_else(|| "?".to_owned())))
    };
    rows.iter().filter_map(row).collect::<Vec<_>>().join("; ")
}

fn request(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/request/name"),
        ("by ", "/lkm_monitor/request/process/command_line"),
        ("pid ", "/lkm_monitor/request/process/pid"),
        ("user ", "/lkm_monitor/request/process/user"),
    ])
}

fn process(fields: &Fields<'_>) -> String {
    let command =
        if fields.value("/process/command_line").is_some() { "/process/command_line" } else { "/process/name" };
    let user = if fields.value("/process/user/name").is_some() { "/process/user/name" } else { "/process/user/id" };
    let login = "/lkm_monitor/audit/login_user";
    let login = if fields.value(login).is_some() { login } else { "/lkm_monitor/audit/loginuid" };
    fields.join(&[
        ("", command),
        ("program ", "/process/executable"),
        ("pid ", "/process/pid"),
        ("user ", user),
        ("login user ", login),
        ("container ", "/container/id"),
    ])
}

/// The chain from the first process to the calling one.
fn ancestry(fields: &Fields<'_>) -> String {
    let Some(ancestors) = fields.value("/lkm_monitor/ancestors").and_then(Value::as_array) else {
        return String::new();
    };
    let link = |process: &Value| {
        let process = Fields(process);
        let name = process.text("/name").unwrap_or_else(|| "?".to_owned());
        format!("{name}({})", process.text("/pid").unwrap_or_else(|| "?".to_owned()))
    };
    let caller = fields.value("/process").map(link);
    let chain: Vec<_> = ancestors.iter().rev().map(link).chain(caller).collect();
    shorten(&chain.join(" > "), MAX_TEXT_BYTES)
}

fn call(fields: &Fields<'_>) -> String {
    if fields.value("/lkm_monitor/call").is_none() && fields.value("/lkm_monitor/syscall").is_none() {
        return String::new();
    }
    fields.join(&[
        ("", "/lkm_monitor/syscall/name"),
        ("", "/event/outcome"),
        ("", "/lkm_monitor/syscall/errno"),
        ("stage ", "/lkm_monitor/load/stage"),
        ("from ", "/lkm_monitor/load/source"),
        ("abi ", "/lkm_monitor/syscall/abi"),
    ])
}

/// All findings but the one in the headline.
fn other_findings(fields: &Fields<'_>) -> String {
    let Some(findings) = fields.value("/lkm_monitor/findings").and_then(Value::as_array) else { return String::new() };
    let name = |finding: &Value| {
        let number = finding.get("severity").and_then(Value::as_u64).unwrap_or_default();
        let name = Fields(finding).text("/name").unwrap_or_else(|| "?".to_owned());
        format!("{name} ({})", severity_word(number).0.to_lowercase())
    };
    findings.iter().skip(1).map(name).collect::<Vec<_>>().join("; ")
}

fn sensor(fields: &Fields<'_>) -> String {
    let probes =
        fields.value("/lkm_monitor/sensor/probes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let attached = probes.iter().filter(|probe| probe.get("attached") == Some(&Value::Bool(true))).count();
    let sees = fields.join(&[("", "/lkm_monitor/sensor/status"), ("hooks ", "/lkm_monitor/sensor/syscall_hooks")]);
    format!("{sees}, {attached} of {} probes attached", probes.len())
}

fn loss(fields: &Fields<'_>) -> String {
    fields.join(&[
        ("", "/lkm_monitor/loss/count"),
        ("in the ", "/lkm_monitor/loss/stage"),
        ("", "/lkm_monitor/loss/reason"),
        ("in all ", "/lkm_monitor/loss/total"),
        ("calls unseen ", "/lkm_monitor/loss/calls_unseen"),
    ])
}

#[cfg(test)]
mod tests;
