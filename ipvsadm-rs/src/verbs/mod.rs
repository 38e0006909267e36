//! The modern verbs: one file each, from arguments to library call to output.

mod generate;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::say;
use crate::program::Arguments;

/// A director of the Linux Virtual Server: ipvsadm's language, and more.
///
/// Called with an option first, this is ipvsadm: `ipvsadm-rs -Ln`, `ipvsadm-rs -A -t 192.0.2.1:80 -s rr`; `ipvsadm-rs -h`
/// shows that language.
#[derive(Debug, Parser)]
#[command(name = "ipvsadm-rs", version, max_term_width = 100)]
struct Modern {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Generate(generate::Generate),
}

/// Run as `ipvsadm-rs VERB …`.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let words = std::iter::once("ipvsadm-rs".into()).chain(arguments.os_words().iter().cloned());
    let modern = match Modern::command().try_get_matches_from(words).and_then(|found| Modern::from_arg_matches(&found))
    {
        Ok(modern) => modern,
        Err(error) => {
            // Help and version go to standard output and are no errors.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 1 } else { 0 });
        }
    };
    let result = match modern.verb {
        Verb::Generate(generate) => generate.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(1)
        }
    }
}

/// The command line of the modern verbs, for what is made from it.
fn command() -> clap::Command {
    Modern::command()
}
