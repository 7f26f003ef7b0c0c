//! `lkm-monitor doctor`: what can be seen on this host, by trying.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    config, inspect,
    integrity::Scanner,
    lifecycle::exit,
    model::{ModuleHistory, Sight},
    sensor::{
        attach::{self, AttachError, Attached, Programs, State},
        btf::{BtfError, Types},
        kernel::KernelSupport,
        probes::Set,
        report,
    },
};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// How to print what was found
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Settings to use, and no others [default: /etc/lkm-monitor/config.toml and /etc/lkm-monitor/conf.d/*.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What was found. The keys of `--format json`.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// `full`, `partial` or `blind`.
    status: &'static str,
    kernel: KernelSupport,
    /// `fentry`, `tracepoint` or `none`.
    syscall_hooks: &'static str,
    probes: Vec<ProbeDiagnosis>,
    /// What is not seen.
    blind: Vec<String>,
    /// What looks for hidden modules cannot look at, and why.
    not_looked_at: Vec<String>,
    /// What to do.
    advice: Vec<String>,
    /// Why nothing can be attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct ProbeDiagnosis {
    name: &'static str,
    kind: &'static str,
    hook: String,
    minimum_kernel: &'static str,
    fallback: &'static str,
    /// What is not seen without it.
    lost_without: &'static str,
    /// `attached`, `unneeded`, `absent` or `failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Attaches every probe, reports, and takes them away again. Exit code 69 where nothing can be attached.
pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = match config::load(args.config.as_deref()) {
        Ok(loaded) => loaded.config,
        Err(problems) => {
            problems.lines().iter().for_each(|problem| tracing::error!("{problem}"));
            return Ok(ExitCode::from(exit::CONFIG));
        }
    };
    // Checked when the settings were read.
    let watch_list = config.files.watch_list()?;
    // What is diagnosed does not depend on the tools.
    let tools = inspect::installed_tools().unwrap_or_default();
    let types = Types::of_kernel();
    let not_looked_at = not_looked_at(types.as_ref());
    let mut attached = types
        .map_err(AttachError::from)
        .and_then(|types| attach::attach(&types, &config.sensor, watch_list.filter(), &tools));
    if let Ok(programs) = &mut attached {
        programs.not_the_kernels = inspect::not_the_kernels();
    }
    let diagnosis = Diagnosis { not_looked_at, ..diagnose(attached) };
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&diagnosis)? + "\n",
        Format::Text => describe(&diagnosis),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::from(if diagnosis.status == "blind" { exit::SENSOR_UNAVAILABLE } else { 0 }))
}

/// Looks once at the kernel, as the daemon does again and again.
fn not_looked_at(types: Result<&Types, &BtfError>) -> Vec<String> {
    let root = Path::new("/");
    if !Scanner::has_modules(root) {
        return Vec::new();
    }
    let look = Scanner::start(root, types).look(&ModuleHistory::default());
    let views = look.views.iter().map(|(view, sight)| (view.place(), sight));
    let all = views.chain(look.checks.iter().map(|(check, sight)| (check.place(), sight)));
    let unavailable = all.filter_map(|(place, sight)| match sight {
        Sight::Unavailable { why } => Some(format!("{place}: {why}")),
        _ => None,
    });
    unavailable.collect()
}

fn diagnose(attached: Result<Programs, AttachError>) -> Diagnosis {
    let kernel = KernelSupport::read();
    let mut advice = kernel.advice();
    match attached {
        Ok(programs) => {
            let blind = programs.blind_spots();
            if programs.syscalls == Some(Set::Tracepoint) {
                advice.push(
                    "Trampolines do not work on this kernel, or were not wanted, so the syscall tracepoints are used: they slow every system \
                     call of the host down a little and do not report 32-bit programs."
                        .to_owned(),
                );
            }
            Diagnosis {
                status: if blind.is_empty() { "full" } else { "partial" },
                kernel,
                syscall_hooks: report::syscall_hooks(&programs).name(),
                probes: programs.probes.iter().map(probe).collect(),
                blind,
                not_looked_at: Vec::new(),
                advice,
                error: None,
            }
        }
        Err(error) => {
            if advice.is_empty() {
                advice.push(
                    "The kernel offers what is needed but refuses it. Look for a sandbox, a container without \
                     CAP_SYS_ADMIN, or a security module that forbids bpf(2)."
                        .to_owned(),
                );
            }
            Diagnosis {
                status: "blind",
                kernel,
                syscall_hooks: "none",
                probes: Vec::new(),
                blind: vec!["every load and unload of a kernel module".to_owned()],
                not_looked_at: Vec::new(),
                advice,
                error: Some(error.to_string()),
            }
        }
    }
}

fn probe(Attached { probe, hook, state }: &Attached) -> ProbeDiagnosis {
    let (state, error) = match state {
        State::Attached => ("attached", None),
        State::Unneeded => ("unneeded", None),
        State::Absent => ("absent", None),
        State::Failed(error) | State::Lost(error) => ("failed", Some(error.clone())),
    };
    ProbeDiagnosis {
        name: probe.program,
        kind: hook.kind(),
        hook: hook.target(),
        minimum_kernel: probe.minimum_kernel,
        fallback: probe.fallback,
        lost_without: probe.lost,
        state,
        error,
    }
}

fn describe(diagnosis: &Diagnosis) -> String {
    let Diagnosis { status, kernel, syscall_hooks, probes, blind, not_looked_at, advice, error } = diagnosis;
    let yes = |value: bool| if value { "yes" } else { "no" };
    let mut text = format!(
        "Kernel            {}\n\
         Type information  {}\n\
         Modules           {}{}\n\
         Lockdown          {}\n\
         Trace file system {}\n\
         Privileged        {}\n\
         System calls      {syscall_hooks}\n",
        kernel.release,
        yes(kernel.btf),
        yes(kernel.modules),
        if kernel.modules_disabled { ", loading is disabled until the next boot" } else { "" },
        kernel.lockdown.as_deref().unwrap_or("not in this kernel"),
        yes(kernel.tracefs),
        yes(kernel.privileged),
    );
    if !probes.is_empty() {
        text.push_str("\nProbes\n");
    }
    for probe in probes {
        text.push_str(&format!("  {:<9} {:<10} {}\n", probe.state, probe.kind, probe.hook));
        if let Some(error) = &probe.error {
            text.push_str(&format!(
                "            why: {error}\n            not seen: {}\n            instead: {}\n            needs Linux {}\n",
                probe.lost_without, probe.fallback, probe.minimum_kernel
            ));
        }
    }
    list(&mut text, "Not seen", blind);
    list(&mut text, "Not looked at for what hides in the kernel", not_looked_at);
    list(&mut text, "What to do", advice);
    if let Some(error) = error {
        text.push_str(&format!("\nError: {error}\n"));
    }
    let verdict = match *status {
        "full" => "Every load, unload and request of kernel modules on this host can be seen.",
        "partial" => "This host can be watched, with the gaps above.",
        _ => "This host cannot be watched.",
    };
    text + "\n" + verdict + "\n"
}

fn list(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    for line in lines {
        text.push_str(&format!("  - {line}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_refuses_is_explained() {
        let diagnosis = diagnose(Err(AttachError::Blind("module_load: Operation not permitted".to_owned())));
        let not_looked_at = vec!["kprobes and kretprobes: no symbols".to_owned()];
        let diagnosis = Diagnosis { not_looked_at, ..diagnosis };
        let text = describe(&diagnosis);
        assert!(
            text.contains("\nNot looked at for what hides in the kernel\n  - kprobes and kretprobes: no symbols\n")
        );
        assert_eq!(diagnosis.status, "blind");
        assert!(text.contains("This host cannot be watched."), "{text}");
        assert!(text.contains("Operation not permitted"), "{text}");
        assert!(!diagnosis.advice.is_empty());
    }
}
