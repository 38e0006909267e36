//! The verbs, one file each: arguments → library call → output.

mod apply;
mod check;
mod complete;
mod confirm;
mod connections;
mod convert;
mod diff;
mod directors;
mod doctor;
mod drain;
mod examples;
mod fleet;
pub(crate) mod follow;
mod generate;
mod go_back;
mod history;
pub(crate) mod metrics;
mod monitor;
mod other_names;
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
mod top;
mod undo;
mod undrain;
mod which;
mod why;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use ipvs::ApplyError;

use crate::arguments::Arguments;
use crate::context::{Context, StdoutError, code};
use crate::hints;
use crate::journal::Busy;
use crate::terminal::exit::{Failure, conclude, print_error};
use crate::terminal::text;

/// Administer the table of a Linux Virtual Server (LVS) director
///
/// If the first argument is an option, the arguments are those of ipvsadm: `ipvsadm-rs -Ln`, `ipvsadm-rs -A -t
/// 192.0.2.1:80 -s rr`. `ipvsadm-rs -h` prints the help of ipvsadm.
#[derive(Debug, Parser)]
#[command(name = "ipvsadm-rs", version, max_term_width = 100, subcommand_required = true, disable_help_flag = true)]
struct Modern {
    /// Print this help. `ipvsadm-rs VERB --help` prints the help of a verb
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
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
    Convert(convert::Convert),
    Diff(diff::Diff),
    Doctor(doctor::Doctor),
    Show(show::Show),
    Connections(Box<connections::Connections>),
    Which(Box<which::Which>),
    Monitor(monitor::Monitor),
    Top(Box<top::Top>),
    Metrics(metrics::Metrics),
    Set(Box<set::Set>),
    Why(Box<why::Why>),
    RsSetup(rs_setup::RsSetup),
    SnatRules(snat_rules::SnatRules),
    Follow(Box<follow::Follow>),
    Fleet(fleet::Fleet),
    Generate(generate::Generate),
    #[command(hide = true)]
    Complete(complete::Complete),
    #[command(hide = true)]
    RollbackTimer(rollback_timer::RollbackTimer),
}

/// Runs as `ipvsadm-rs VERB …`.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let Modern { help: _, context, verb } = match parse(arguments.os_words().iter().cloned()) {
        Ok(modern) => modern,
        Err(error) => {
            print_parse_error(&error, arguments);
            // Help and version go to standard output and are not errors.
            let code = if error.use_stderr() { check::usage_error_code(arguments.os_words()) } else { code::DONE };
            return ExitCode::from(code);
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
        Verb::Convert(verb) => verb.run(&context),
        Verb::Diff(verb) => verb.run(&context),
        Verb::Doctor(verb) => verb.run(&context),
        Verb::Show(verb) => verb.run(&context),
        Verb::Connections(verb) => verb.run(&context),
        Verb::Which(verb) => verb.run(&context),
        Verb::Monitor(verb) => verb.run(&context),
        Verb::Top(verb) => verb.run(&context),
        Verb::Metrics(verb) => verb.run(&context),
        Verb::Set(verb) => verb.run(&context),
        Verb::Why(verb) => verb.run(&context),
        Verb::RsSetup(verb) => verb.run(&context),
        Verb::SnatRules(verb) => verb.run(&context),
        Verb::Follow(verb) => verb.run(&context),
        Verb::Fleet(verb) => verb.run(&context),
        Verb::Generate(verb) => verb.run(&context),
        Verb::Complete(verb) => verb.run(&context),
        Verb::RollbackTimer(verb) => verb.run(&context),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast::<StdoutError>() {
            Ok(StdoutError(error)) => conclude(Err(Failure::Output(error))),
            Err(error) => {
                print_failure(&error);
                ExitCode::from(code::ERROR)
            }
        },
    }
}

/// Prints an error of a verb, and a hint if there is one.
fn print_failure(error: &anyhow::Error) {
    print_error(&text::lines(&format!("error: {}", sentence(error))));
    print_error(hint(error).unwrap_or_default());
}

fn parse(words: impl Iterator<Item = OsString>) -> Result<Modern, clap::Error> {
    let words: Vec<OsString> = std::iter::once("ipvsadm-rs".into()).chain(words).collect();
    // For all verbs, this would take longer than the parsing.
    let named = |verb: &clap::Command| {
        let mut names = std::iter::once(verb.get_name()).chain(verb.get_all_aliases());
        names.any(|name| words.iter().any(|word| word == name))
    };
    let found = command_with(named).try_get_matches_from(&words).map_err(|mut error| {
        other_names::suggest(&mut error, command().get_subcommands().map(clap::Command::get_name));
        error
    })?;
    ensure_used(&found)?;
    Modern::from_arg_matches(&found)
}

/// Verbs without a journal and its lock.
const WITHOUT_JOURNAL: &[&str] = &[
    "connections",
    "which",
    "monitor",
    "metrics",
    "save",
    "check",
    "convert",
    "diff",
    "doctor",
    "why",
    "rs-setup",
    "snat-rules",
    "fleet",
    "generate",
];

/// Common options that some verbs do not use: the name of the argument, and these verbs.
const UNUSED: [(&str, &[&str]); 4] = [
    ("state_dir", WITHOUT_JOURNAL),
    ("lock_timeout", WITHOUT_JOURNAL),
    // They read the journal without the lock.
    ("lock_timeout", &["plan", "history", "show"]),
    // Their output is not one object.
    ("json", &["monitor", "top", "metrics"]),
];

/// Common options that have no effect on some verbs, and that wrappers may specify nevertheless: the name of the argument,
/// and these verbs. Their help does not list the option.
const WITHOUT_EFFECT: [(&str, &[&str]); 4] = [
    ("netns", &["convert", "rs-setup", "snat-rules", "fleet", "generate"]),
    ("json", &["generate"]),
    (
        "color",
        &[
            "confirm",
            "drain",
            "undrain",
            "shift",
            "save",
            "check",
            "convert",
            "diff",
            "which",
            "metrics",
            "rs-setup",
            "snat-rules",
            "generate",
        ],
    ),
    (
        "max_input",
        &[
            "undo",
            "restore",
            "confirm",
            "drain",
            "undrain",
            "shift",
            "save",
            "show",
            "connections",
            "monitor",
            "top",
            "metrics",
            "doctor",
            "set",
            "why",
            "rs-setup",
            "snat-rules",
            "generate",
        ],
    ),
];

/// Fails if an option was specified that the verb does not use.
fn ensure_used(found: &clap::ArgMatches) -> Result<(), clap::Error> {
    let Some((verb, _)) = found.subcommand() else { return Ok(()) };
    let is_specified = |id: &str| found.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
    match UNUSED.iter().find(|(id, verbs)| verbs.contains(&verb) && is_specified(id)) {
        Some((id, _)) => {
            let lines =
                |verb: &clap::Command| verb.get_arguments().any(|option| option.get_long() == Some("json-lines"));
            let has_lines = *id == "json" && command().find_subcommand(verb).is_some_and(lines);
            let advice = if has_lines { ": use --json-lines" } else { "" };
            let message = format!("`{verb}' does not use --{}{advice}", id.replace('_', "-"));
            Err(command().error(clap::error::ErrorKind::ArgumentConflict, message))
        }
        None => Ok(()),
    }
}

/// Returns the text of an error. The number of a system call's error is omitted if the kernel's reason is known.
fn sentence(error: &anyhow::Error) -> String {
    let of_director = match error.downcast_ref() {
        Some(ApplyError::Director(error)) => Some(error),
        _ => error.downcast_ref(),
    };
    match of_director {
        Some(error) if error.kind().is_explained() => format!("{}: {}", error.operation(), error.kind()),
        _ => format!("{error:#}"),
    }
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
    // Not if it has a context: after a drain, the command cannot be repeated.
    if error.chain().next().is_some_and(|error| error.is::<Busy>()) {
        return Some("Try again later, or wait longer with --lock-timeout.");
    }
    let of_director = |cause: &'_ (dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(ApplyError::Director(error)) => hints::for_verb(error),
        _ => cause.downcast_ref().and_then(hints::for_verb),
    };
    error.chain().find_map(of_director)
}

/// Returns the clap command with all verbs, also for manual pages and completions.
pub(crate) fn command() -> clap::Command {
    command_with(|_| true)
}

/// Returns the clap command with all verbs, and with the help and the hidden options of those that are needed.
fn command_with(is_needed: impl Fn(&clap::Command) -> bool) -> clap::Command {
    let command = Modern::command();
    let needed = command.get_subcommands().filter(|verb| is_needed(verb));
    let verbs: Vec<String> = needed.map(|verb| verb.get_name().to_owned()).collect();
    let with_examples = |verb: clap::Command, name: &str| {
        let help = verb.get_after_long_help().map(ToString::to_string);
        verb.after_long_help(examples::append(help, name))
    };
    let without_unused = |verb: clap::Command, name: &str| {
        let unused = UNUSED.iter().chain(&WITHOUT_EFFECT).filter(|(_, verbs)| verbs.contains(&name));
        // Replaces the common option of this name, so that the help of the verb does not list it.
        verb.args(unused.map(|(id, _)| Context::argument(id).global(false).hide(true)))
    };
    verbs.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |verb| without_unused(with_examples(with_help(verb), name), name))
    })
}

/// Returns a verb with the options for its help. clap adds none to the verbs, because the program itself has no `-h`.
fn with_help(verb: clap::Command) -> clap::Command {
    let parts: Vec<String> = verb.get_subcommands().map(|part| part.get_name().to_owned()).collect();
    let verb = parts.iter().fold(verb, |verb, part| verb.mut_subcommand(part, with_help));
    let help = clap::Arg::new("help").short('h').long("help").action(clap::ArgAction::Help);
    verb.disable_help_flag(true)
        .arg(help.help("Print help (see more with '--help')").long_help("Print help (see a summary with '-h')"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Modern, clap::Error> {
        parse(line.split(' ').skip(1).map(OsString::from))
    }

    #[test]
    fn every_verb_has_examples_that_parse() {
        for verb in command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let examples = examples::of(verb.get_name());
            assert!(!examples.is_empty(), "{}", verb.get_name());
            for example in examples {
                assert!(parse_line(example).is_ok(), "{example}");
            }
            let help = verb.clone().render_long_help().to_string();
            assert!(help.contains(examples[0]), "{help}");
        }
    }

    #[test]
    fn every_verb_has_help() {
        use clap::error::ErrorKind::DisplayHelp;
        let mut lines: Vec<String> = vec!["ipvsadm-rs --help".into(), "ipvsadm-rs history show --help".into()];
        for verb in command().get_subcommands() {
            lines.extend(["-h", "--help"].map(|option| format!("ipvsadm-rs {} {option}", verb.get_name())));
        }
        for line in lines {
            assert_eq!(parse_line(&line).expect_err("help").kind(), DisplayHelp, "{line}");
        }
    }

    #[test]
    fn help_lists_only_options_that_the_verb_uses() {
        let mut command = command();
        command.build();
        let help = |verb: &str| command.find_subcommand(verb).expect("a verb").clone().render_long_help().to_string();
        for (verb, state_dir, lock_timeout) in
            [("apply", true, true), ("set", true, true), ("show", true, false), ("check", false, false)]
        {
            let help = help(verb);
            assert_eq!(help.contains("--state-dir"), state_dir, "{help}");
            assert_eq!(help.contains("--lock-timeout"), lock_timeout, "{help}");
            let line = format!("ipvsadm-rs {verb} --lock-timeout 5s x");
            let error = parse_line(&line).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(
                error.contains("does not use --lock-timeout"),
                !lock_timeout && verb != "show",
                "{line}: {error}"
            );
        }
        for (verb, option, is_listed) in [
            ("plan", "--max-input", true),
            ("show", "--max-input", false),
            ("show", "--netns", true),
            ("rs-setup", "--netns", false),
            ("drain", "--color", false),
        ] {
            assert_eq!(help(verb).contains(option), is_listed, "{verb} {option}");
        }
        for line in [
            "show --max-input 1M",
            "--max-input 1M show",
            "history show --max-input 1M 3",
            "check --netns x --color never rules",
            "drain --color never x",
        ] {
            assert!(parse_line(&format!("ipvsadm-rs {line}")).is_ok(), "{line}");
        }
        assert!(parse_line("ipvsadm-rs --state-dir x check rules").is_err());
        assert!(parse_line("ipvsadm-rs --state-dir x apply rules").is_ok());
        let error = parse_line("ipvsadm-rs monitor --json").expect_err("endless output").to_string();
        assert!(error.contains("`monitor' does not use --json: use --json-lines"), "{error}");
    }

    #[test]
    fn other_names_of_verbs() {
        let error = parse_line("ipvsadm-rs status").expect_err("no such verb").to_string();
        assert!(error.contains("'show'"), "{error}");
        let error = parse_line("ipvsadm-rs delete x").expect_err("no such verb").to_string();
        assert!(error.contains("-D (a service)"), "{error}");
    }

    #[test]
    fn durations_of_people() {
        for (line, part) in [
            ("ipvsadm-rs apply --confirm-within 0s rules", "must be longer than 0"),
            ("ipvsadm-rs apply --confirm-within abc rules", "not a duration, such as 30s or 5m"),
        ] {
            let error = parse_line(line).expect_err(line).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
