//! `ipvsadm-save` and `ipvsadm-restore`.

use std::process::ExitCode;

use ipvs::apply::{ApplyError, apply_plan};
use ipvs::plan::Options;
use ipvs::rules::{self, ParseError};
use ipvs::{Change, Config, Counters};

use crate::arguments::Arguments;
use crate::classic::commands;
use crate::classic::history::History;
use crate::classic::messages;
use crate::classic::restore::{self, Script};
use crate::classic::warnings;
use crate::file::diagnostic::SourceText;
use crate::hints::{self, Once};
use crate::plan::other_writers;
use crate::plan::progress::WithProgress;
use crate::resolver::System;
use crate::terminal::exit::{Failure, code, conclude, print_error};

/// `ipvsadm-save [-n]`: prints the table as lines, with numbers instead of names for `-n`. Words that are not options
/// are ignored, as by the script of 1.31.
pub(crate) fn save(arguments: &Arguments) -> ExitCode {
    let words = arguments.words();
    if words.iter().any(|word| word.starts_with(b"-") && *word != b"-n") {
        print_error(&format!(
            "{}: Script to save the IPVS table to stdout.\n   With the -n option, prints out the table in numeric format.",
            arguments.program()
        ));
        return ExitCode::from(code::LISTING);
    }
    let numeric = words.contains(&&b"-n"[..]);
    conclude(commands::open().and_then(|mut director| commands::save(&mut director, numeric)))
}

/// `ipvsadm-restore`: parses all lines of standard input, then changes the table to match them, with as few changes as
/// possible. `--flush` empties the table first, as 1.31 does.
pub(crate) fn restore(arguments: &Arguments) -> ExitCode {
    let mut flush = false;
    for word in arguments.words() {
        match word {
            b"--flush" => flush = true,
            word => print_error(&format!("{}: {} is ignored", arguments.program(), String::from_utf8_lossy(word))),
        }
    }
    conclude(replace_table(&arguments.program(), flush))
}

fn replace_table(program: &str, flush: bool) -> Result<(), Failure> {
    let text = restore::read_input()?;
    if flush {
        return flush_and_execute(&text, program);
    }
    match rules::read_config(&text, &mut System::default()) {
        Ok(read) if read.lines == 0 => refuse_unless_empty(program),
        Ok(read) => {
            warnings::print_of_rules(&read);
            go_there(&read.config)
        }
        // The only errors are commands that do not change the table, such as -L or -Z. They cannot be planned, so the
        // lines are executed one after the other.
        Err(errors) if errors.iter().all(|error| error.error == ParseError::NotAChange) => {
            print_error(&format!(
                "note: line {} lists or resets counters: the table is emptied, and all lines are run in order",
                errors[0].number
            ));
            flush_and_execute(&text, program)
        }
        Err(errors) => {
            let (source, mut hints) = (SourceText::new(&text), Once::default());
            errors.iter().for_each(|error| restore::print_bad_line(error, error.number, &source, &mut hints));
            Err(restore::nothing_changed(&text, messages::exit_code(&errors[0].error)))
        }
    }
}

/// Parses all lines, then flushes the table and executes the lines, as 1.31 does.
fn flush_and_execute(text: &[u8], program: &str) -> Result<(), Failure> {
    let script = Script::read(text)?;
    if script.is_empty() {
        return refuse_unless_empty(program);
    }
    let mut director = commands::open()?;
    let history = History::begin("ipvsadm-restore", &mut director, &[Change::Flush]);
    commands::change(&mut director, &Change::Flush)?;
    script.execute(&mut director, program, history, &[Change::Flush])
}

/// Fails if the table is not empty. An input without rules is more likely a mistake than a request for an empty table.
fn refuse_unless_empty(program: &str) -> Result<(), Failure> {
    let services = commands::open()?.services().map_err(|error| messages::read_error(&error))?;
    if services.is_empty() {
        return Ok(());
    }
    let text = "the input contains no rules: nothing was changed\nUse `ipvsadm -C` to empty the table.";
    Err(Failure::Message(format!("{program}: {text}"), code::LISTING))
}

fn go_there(desired: &Config) -> Result<(), Failure> {
    let mut director = commands::open()?;
    let before = director.state_with(Counters::Skip).map_err(|error| messages::read_error(&error))?;
    let options = Options::default();
    let plan = ipvs::plan(desired, &before, &options);
    let changes = plan.changes.clone();
    let history = if changes.is_empty() { None } else { History::of("ipvsadm-restore", &before) };
    let result = apply_plan(&mut WithProgress(&mut director), desired, &options, before, plan);
    if let Some(history) = history {
        let refused = match &result {
            Ok(_) => Vec::new(),
            Err(ApplyError::NotReached { refused, .. }) => refused.iter().map(|(change, _)| *change).collect(),
            Err(_) => changes.clone(),
        };
        history.end(&changes.into_iter().filter(|change| !refused.contains(change)).collect::<Vec<_>>());
    }
    match result {
        Ok(_) => Ok(()),
        Err(ApplyError::Director(error)) => Err(messages::read_error(&error)),
        Err(ApplyError::NotReached { refused, .. }) if refused.is_empty() => Err(Failure::Message(
            format!("the table does not match the input: {}", other_writers::suspects()),
            code::LISTING,
        )),
        Err(ApplyError::NotReached { refused, .. }) => {
            let mut hints = Once::default();
            for (change, error) in &refused {
                print_error(&format!("{}: {change}", messages::refusal(change, error)));
                hints.print(hints::for_refusal(change, error));
            }
            Err(Failure::Message(String::new(), code::REFUSED))
        }
        Err(error) => Err(Failure::Message(error.to_string(), code::MEANING)),
    }
}
