//! `ipvsadm`: parses a command line and runs its command.

pub(crate) mod commands;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod messages;
pub(crate) mod restore;
pub(crate) mod scripts;
pub(crate) mod warnings;

use std::process::ExitCode;

use ipvs::Change;
use ipvs::rules::{self, Command, Listing};

use crate::arguments::Arguments;
use crate::resolver::System;
use crate::terminal::exit::{Failure, conclude};

/// Runs as `ipvsadm`.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    conclude(run(arguments))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let program = arguments.program();
    let words = arguments.words();
    let command = if words.is_empty() {
        Command::List(Listing::default())
    } else {
        parse(&words).map_err(|error| messages::parse_error(&program, &error, &words))?
    };
    match command {
        Command::Help => commands::write_out(|out| help::write(out, &program)),
        Command::Version => commands::write_out(help::write_version),
        Command::Change(Change::Flush) => commands::flush(&mut commands::open()?),
        Command::Change(change) => commands::change(&mut commands::open()?, &change),
        Command::List(listing) => commands::list(&mut commands::open()?, &listing),
        Command::Save { numeric } => commands::save(&mut commands::open()?, numeric),
        Command::Restore { stream: false } => restore::run(&program),
        Command::Restore { stream: true } => restore::stream(&program),
    }
}

/// Parses a command line, with names from the system. As in popt, the environment variables POSIXLY_CORRECT and
/// POSIX_ME_HARDER end the options at the first word that is not an option.
fn parse(words: &[&[u8]]) -> Result<Command, rules::ParseError> {
    let posix = ["POSIXLY_CORRECT", "POSIX_ME_HARDER"].iter().any(|name| std::env::var_os(name).is_some());
    let names = &mut System::default();
    if posix { rules::program::parse_posix(words, names) } else { rules::parse(words, names) }
}
