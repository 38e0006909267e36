//! The verbs, one file each: arguments → library call → output.

mod apply;
mod check;
mod complete;
mod confirm;
mod drain;
mod generate;
mod go_back;
mod history;
mod plan;
mod restore;
mod rollback_timer;
mod rs_setup;
mod save;
mod select;
mod set;
mod shift;
mod show;
mod snat_rules;
mod undo;
mod undrain;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use ipvs::ApplyError;

use crate::arguments::Arguments;
use crate::context::{Context, StdoutError, code};
use crate::hints;
use crate::terminal::exit::{Failure, conclude, print_error};
use crate::terminal::text;

/// Administer the table of a Linux Virtual Server (LVS) director
///
/// If the first argument is an option, the arguments are those of ipvsadm: `ipvsadm-rs -Ln`, `ipvsadm-rs -A -t
/// 192.0.2.1:80 -s rr`. `ipvsadm-rs -h` prints the help of ipvsadm.
#[derive(Debug, Parser)]
#[command(name = "ipvsadm-rs", version, max_term_width = 100, subcommand_required = true)]
struct Modern {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Plan(plan::Plan),
    Apply(apply::Apply),
    Undo(undo::Undo),
    History(history::History),
    Restore(restore::Restore),
    Confirm(confirm::Confirm),
    Drain(drain::Drain),
    Undrain(undrain::Undrain),
    Shift(shift::Shift),
    Save(save::Save),
    Check(check::Check),
    Show(show::Show),
    Set(Box<set::Set>),
    RsSetup(rs_setup::RsSetup),
    SnatRules(snat_rules::SnatRules),
    Generate(generate::Generate),
    #[command(hide = true)]
    Complete(complete::Complete),
    #[command(hide = true)]
    RollbackTimer(rollback_timer::RollbackTimer),
}

/// Runs as `ipvsadm-rs VERB …`.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let Modern { context, verb } = match parse(arguments.os_words().iter().cloned()) {
        Ok(modern) => modern,
        Err(error) => {
            print_parse_error(&error, arguments);
            // Help and version go to standard output and are not errors.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let result = match verb {
        Verb::Plan(verb) => verb.run(&context),
        Verb::Apply(verb) => verb.run(&context),
        Verb::Undo(verb) => verb.run(&context),
        Verb::History(verb) => verb.run(&context),
        Verb::Restore(verb) => verb.run(&context),
        Verb::Confirm(verb) => verb.run(&context),
        Verb::Drain(verb) => verb.run(&context),
        Verb::Undrain(verb) => verb.run(&context),
        Verb::Shift(verb) => verb.run(&context),
        Verb::Save(verb) => verb.run(&context),
        Verb::Check(verb) => verb.run(&context),
        Verb::Show(verb) => verb.run(&context),
        Verb::Set(verb) => verb.run(&context),
        Verb::RsSetup(verb) => verb.run(&context),
        Verb::SnatRules(verb) => verb.run(&context),
        Verb::Generate(verb) => verb.run(&context),
        Verb::Complete(verb) => verb.run(&context),
        Verb::RollbackTimer(verb) => verb.run(&context),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast::<StdoutError>() {
            Ok(StdoutError(error)) => conclude(Err(Failure::Output(error))),
            Err(error) => {
                print_error(&text::lines(&format!("ipvsadm-rs: {error:#}")));
                print_error(hint(&error).unwrap_or_default());
                ExitCode::from(code::ERROR)
            }
        },
    }
}

fn parse(words: impl Iterator<Item = OsString>) -> Result<Modern, clap::Error> {
    let words = std::iter::once("ipvsadm-rs".into()).chain(words);
    command().try_get_matches_from(words).and_then(|found| Modern::from_arg_matches(&found))
}

/// Prints an error of clap. clap repeats the arguments as they are. If one contains control characters, the error that
/// is printed is that of the escaped arguments.
fn print_parse_error(error: &clap::Error, arguments: &Arguments) {
    let escaped = |word: &OsString| match text::path(Path::new(word)) {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(OsString::from(text)),
    };
    let words = arguments.os_words();
    let _ = if words.iter().any(|word| escaped(word).is_some()) {
        match parse(words.iter().map(|word| escaped(word).unwrap_or_else(|| word.clone()))) {
            Err(same) if same.kind() == error.kind() => same.print(),
            // Without the styles of clap, which are control characters, too.
            _ => return print_error(text::lines(&error.render().to_string()).trim_end()),
        }
    } else {
        error.print()
    };
}

/// Returns the hint for an error. `None` if there is no hint.
fn hint(error: &anyhow::Error) -> Option<&'static str> {
    let of_director = |cause: &'_ (dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(ApplyError::Director(error)) => hints::for_read(error),
        _ => cause.downcast_ref().and_then(hints::for_read),
    };
    error.chain().find_map(of_director)
}

/// Returns the clap command with all verbs, also for manual pages and completions.
pub(crate) fn command() -> clap::Command {
    Modern::command()
}
