//! `ipvsadm`: a command line, understood and carried out.

use std::process::ExitCode;

use ipvs::rules::{self, Command, Listing};

use crate::arguments::Arguments;
use crate::classic::{self, write_out};
use crate::failure::{Failure, conclude};
use crate::names::System;
use crate::{help, messages, restore};

/// Run as `ipvsadm`.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    conclude(run(arguments))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let program = arguments.program();
    let words = arguments.words();
    let command = if words.is_empty() {
        Command::List(Listing::default())
    } else {
        parse(&words).map_err(|problem| messages::problem(&program, &problem.kind))?
    };
    match command {
        Command::Help => write_out(|out| help::write(out, &program)),
        Command::Version => write_out(help::write_version),
        Command::Change(change) => classic::change(&mut classic::open()?, &change),
        Command::List(listing) => classic::list(&mut classic::open()?, &listing),
        Command::Save { numeric } => classic::save(&mut classic::open()?, numeric),
        Command::Restore { stream: false } => restore::run(&program),
        Command::Restore { stream: true } => restore::stream(&program),
    }
}

/// Read a command line with the system's names; the environment may ask for POSIX's end of options.
fn parse(words: &[&[u8]]) -> Result<Command, rules::Problem> {
    let posix = ["POSIXLY_CORRECT", "POSIX_ME_HARDER"].iter().any(|name| std::env::var_os(name).is_some());
    let names = &mut System::default();
    if posix { rules::parse_posix(words, names) } else { rules::parse(words, names) }
}
