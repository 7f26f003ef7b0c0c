//! `lkm-monitor evidence`: the images of modules that alerts were about. Works beside a running daemon, and where the folder was copied to.

mod export;
mod list;
mod verify;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};

use crate::evidence::{Archive, PATH};

#[derive(Debug, Args)]
pub(super) struct EvidenceArgs {
    #[command(subcommand)]
    action: Action,
    /// Where the evidence is
    #[arg(long, value_name = "FOLDER", default_value = PATH, global = true)]
    folder: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What is kept, oldest first
    List(List),
    /// Write the exact bytes of an image to a file. They are what was loaded: handle with care
    Export(Export),
    /// Look at every bit of images and records; exit code 1 where something is wrong
    Verify(Verify),
}

#[derive(Debug, Args)]
struct List {
    /// All that is known, one JSON object a line, in the order of their hashes
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Export {
    /// The SHA-256, or its first digits: 8 or more
    hash: String,
    /// File to make, which must not be there; `-` for standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, Args)]
struct Verify {
    /// Only this one: the SHA-256, or its first digits
    hash: Option<String>,
}

pub(super) fn run(args: EvidenceArgs) -> anyhow::Result<ExitCode> {
    let archive = Archive::open(&args.folder)?;
    let stdout = io::stdout();
    match args.action {
        Action::List(List { json: true }) => list::json(&archive, &mut stdout.lock())?,
        Action::List(List { json: false }) => list::table(&archive, &mut stdout.lock())?,
        Action::Export(Export { hash, to }) if to.as_os_str() == "-" => {
            // An image can say anything to a terminal.
            anyhow::ensure!(
                !stdout.is_terminal(),
                "an image is no text for a terminal: name a file, or send it elsewhere"
            );
            export::to_writer(&archive, &hash, &mut stdout.lock())?;
        }
        Action::Export(Export { hash, to }) => export::to_file(&archive, &hash, &to)?,
        Action::Verify(Verify { hash }) => return verify::run(&archive, hash.as_deref(), &mut stdout.lock()),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
