//! Whether everything is what was kept.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    cli::terminal::harmless,
    evidence::Archive,
    model::text::{brief, hex},
};

/// Each problem in a line. Files that are not evidence are told, and are none.
pub(super) fn run(archive: &Archive, hash: Option<&str>, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let digests = match hash {
        Some(hash) => vec![archive.find(hash)?],
        None => archive.digests()?,
    };
    let (mut problems, mut written) = (0_u64, Ok::<(), io::Error>(()));
    archive.verify(&digests, |digest, problem| {
        problems += 1;
        if written.is_ok() {
            written = writeln!(out, "{}: {}", hex(digest), harmless(&problem.to_string()));
        }
    });
    written?;
    if hash.is_none() {
        let strangers = archive.strangers()?;
        for name in &strangers.shown {
            tracing::warn!(of = strangers.number, "`{}` is not evidence", harmless(&brief(name)));
        }
    }
    tracing::info!(images = digests.len(), problems, "evidence is checked");
    Ok(ExitCode::from(u8::from(problems > 0)))
}
