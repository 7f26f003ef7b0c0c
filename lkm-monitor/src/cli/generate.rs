//! `lkm-monitor generate`: what packages ship beside the program, made from the command line's own description.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub(super) struct GenerateArgs {
    what: What,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The manual page of the program and all its subcommands
    Man,
    Bash,
    Zsh,
    Fish,
}

/// Writes to standard output.
pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let text = generate(args.what)?;
    io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn generate(what: What) -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    let mut text = Vec::new();
    let shell = match what {
        What::Man => {
            manual(command, &mut text)?;
            return Ok(text);
        }
        What::Bash => Shell::Bash,
        What::Zsh => Shell::Zsh,
        What::Fish => Shell::Fish,
    };
    clap_complete::generate(shell, &mut command, "lkm-monitor", &mut text);
    Ok(text)
}

/// One page: the program, then each subcommand with its options.
fn manual(mut command: clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    // Gives subcommands their full names, and the options that they share.
    command.build();
    // A date would make each build another one.
    let program = Man::new(command.clone()).date("");
    program.render_title(page)?;
    program.render_name_section(page)?;
    program.render_synopsis_section(page)?;
    program.render_description_section(page)?;
    program.render_subcommands_section(page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let name = subcommand.get_bin_name().unwrap_or_else(|| subcommand.get_name());
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        let described = Man::new(subcommand.clone());
        let mut sections = Vec::new();
        described.render_description_section(&mut sections)?;
        described.render_options_section(&mut sections)?;
        // Parts of this section, and not sections of the page.
        page.extend(String::from_utf8_lossy(&sections).replace(".SH ", ".SS ").bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(what: What) -> String {
        String::from_utf8(generate(what).unwrap()).unwrap()
    }

    #[test]
    fn everything_is_described() {
        let manual = text(What::Man);
        assert!(manual.contains(".SH \"LKM-MONITOR RUN\""), "{manual}");
        assert_eq!(manual.matches(".SH OPTIONS").count(), 0, "{manual}");
        for what in [What::Man, What::Bash, What::Zsh, What::Fish] {
            let text = text(what).replace('\\', "");
            for word in ["doctor", "hunt", "baseline", "config", "events"] {
                assert!(text.contains(word), "{what:?} does not mention {word}");
            }
        }
    }

    #[test]
    fn a_page_is_the_same_each_time() {
        assert_eq!(text(What::Man), text(What::Man));
        assert!(!text(What::Man).contains("GENERATE"), "hidden");
    }
}
