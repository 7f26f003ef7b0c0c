//! `lkm-monitor show`: documents as people read them.

mod fields;
mod image;
mod kernel;
mod summary;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal as _, Read as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::Value;

use summary::Palette;

/// More than any document has. Of a longer line each piece counts as malformed.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// File of documents, one JSON object per line; standard input without it
    file: Option<PathBuf>,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// Shows the documents of a file or of standard input. Fails, once all is shown, if a line was no document.
pub(super) fn run(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let reader: Box<dyn BufRead> = match args.file.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => {
            Box::new(BufReader::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?))
        }
        None => Box::new(io::stdin().lock()),
    };
    let stdout = io::stdout().lock();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colored = match args.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => stdout.is_terminal() && !no_color,
    };
    match show(reader, stdout, io::stderr().lock(), Palette { colored }) {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        // The reader at the other end, `head` for instance, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("cannot show the documents"),
    }
}

/// Writes a summary of every document, and names the lines that are none, which it counts.
fn show(mut reader: impl BufRead, mut output: impl Write, mut errors: impl Write, palette: Palette) -> io::Result<u64> {
    let (mut number, mut malformed) = (0_u64, 0_u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(document) if document.is_object() => {
                writeln!(output, "{}", summary::summary(&document, palette))?;
                output.flush()?;
            }
            Ok(_) => {
                malformed += 1;
                writeln!(errors, "line {number}: not a JSON object")?;
            }
            Err(error) => {
                malformed += 1;
                writeln!(errors, "line {number}: {error}")?;
            }
        }
    }
    if malformed > 0 {
        writeln!(errors, "{malformed} of {number} lines are malformed")?;
    }
    Ok(malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(input: &[u8]) -> (u64, String, String) {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let malformed = show(input, &mut output, &mut errors, Palette { colored: false }).unwrap();
        (malformed, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
    }

    #[test]
    fn malformed_lines_are_counted_and_named() {
        let (malformed, output, errors) = shown(b"{\"message\":\"one\"}\n\nnonsense\n[1]\n{\"message\":\"two\"}");
        assert_eq!(malformed, 2);
        assert!(output.contains("one") && output.contains("two"));
        assert!(errors.starts_with("line 3: ") && errors.contains("line 4: not a JSON object"), "{errors}");
        assert!(errors.ends_with("2 of 5 lines are malformed\n"), "{errors}");
    }

    #[test]
    fn deep_nesting_is_malformed() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(shown(deep.as_bytes()).0, 1);
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(input in any::<Vec<u8>>()) {
            shown(&input);
        }
    }
}
