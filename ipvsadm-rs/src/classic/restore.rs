//! `--restore`: all lines are parsed before the first is executed.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};

use ipvs::rules::{Command, Line, LineError, Lines, ParseError};
use ipvs::{Change, Client, Director};

use crate::classic::commands;
use crate::classic::help;
use crate::classic::history::History;
use crate::classic::messages;
use crate::file::diagnostic::{SourceText, indent};
use crate::file::limit::{Limit, VARIABLE};
use crate::hints::{self, Once};
use crate::plan::progress::WithProgress;
use crate::resolver::System;
use crate::terminal::exit::{Failure, code, print_error};
use crate::terminal::{stdout, text};

/// Executes the lines on standard input.
pub(crate) fn run(program: &str) -> Result<(), Failure> {
    let text = read_input()?;
    let script = Script::read(&text)?;
    drop(text);
    if script.is_empty() {
        return Ok(());
    }
    let mut director = commands::open()?;
    let history = History::begin("ipvsadm -R", &mut director, &script.changes);
    script.execute(&mut director, program, history, &[])
}

/// Reads all of standard input. Fails if it is longer than the limit in the environment.
pub(crate) fn read_input() -> Result<Vec<u8>, Failure> {
    /// The initial capacity of the buffer, in bytes. It saves a dozen reallocations. Unused memory costs nothing,
    /// because the kernel never maps it.
    const ROOM: usize = 256 * 1024;
    let mut text = Vec::with_capacity(ROOM);
    limit()?.read_to_end(io::stdin().lock(), &mut text).map_err(|error| unreadable(&error))?;
    Ok(text)
}

fn limit() -> Result<Limit, Failure> {
    Limit::from_environment().map_err(|message| Failure::Message(message, code::LISTING))
}

fn unreadable(error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::FileTooLarge => format!("\nTo read more, set the environment variable {VARIABLE}."),
        _ => String::new(),
    };
    Failure::Message(format!("cannot read standard input: {error}{hint}"), code::LISTING)
}

/// Lines that have been parsed. The changes are stored separately from the rest, so that they can be submitted as a
/// slice.
#[derive(Default)]
pub(crate) struct Script {
    changes: Vec<Change>,
    /// The line number of each change.
    lines: Vec<u32>,
    /// Commands that change nothing, each with the number of changes before it.
    others: Vec<(usize, Command)>,
}

impl Script {
    /// Parses all lines. Reports every line with an error, and fails if there are any.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Failure> {
        let mut script = Self::default();
        let lines = memchr::memchr_iter(b'\n', text).count() + 1;
        script.changes.reserve_exact(lines);
        script.lines.reserve_exact(lines);
        let mut first_bad = None;
        let (mut source, mut hints) = (None, Once::default());
        for line in Lines::classic(text, &mut System::default()) {
            match &line {
                Ok(line) => match script.take(line) {
                    Ok(()) => {}
                    Err((what, code)) => {
                        print_error(&format!("line {}: {what}", line.number));
                        first_bad.get_or_insert(code);
                    }
                },
                Err(error) => {
                    let source = source.get_or_insert_with(|| SourceText::new(text));
                    print_bad_line(error, error.number, source, &mut hints);
                    first_bad.get_or_insert(messages::exit_code(&error.error));
                }
            }
        }
        match first_bad {
            Some(code) => Err(nothing_changed(text, code)),
            None => Ok(script),
        }
    }

    fn take(&mut self, line: &Line) -> Result<(), (String, u8)> {
        match &line.command {
            Command::Change(change) => {
                change.validate().map_err(|why| (format!("{why}: {change}"), code::REFUSED))?;
                self.changes.push(*change);
                self.lines.push(u32::try_from(line.number).unwrap_or(u32::MAX));
            }
            // Standard input is already being read.
            Command::Restore { .. } => return Err(("--restore within --restore".into(), code::REFUSED)),
            other @ (Command::List(_) | Command::Save { .. } | Command::Help | Command::Version) => {
                self.others.push((self.changes.len(), *other));
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.others.is_empty()
    }

    /// Executes all lines, and records the changes after those of `first`, which were made before. If the kernel refuses a
    /// change, its line is reported and the other lines are executed. The first failure determines the exit code.
    pub(crate) fn execute(
        &self,
        director: &mut Client,
        program: &str,
        history: Option<History>,
        first: &[Change],
    ) -> Result<(), Failure> {
        let mut outcome = Outcome::default();
        let result = self.execute_all(director, program, &mut outcome);
        if let Some(history) = history {
            history.end(&self.made(&outcome, first));
        }
        result
    }

    /// Returns the changes that were made.
    fn made<'s>(&'s self, outcome: &Outcome, first: &[Change]) -> Cow<'s, [Change]> {
        let done = &self.changes[..outcome.done];
        if first.is_empty() && outcome.refused.is_empty() {
            return Cow::Borrowed(done);
        }
        let made = done.iter().enumerate().filter(|(index, _)| !outcome.refused.contains(index));
        first.iter().chain(made.map(|(_, change)| change)).copied().collect()
    }

    fn execute_all(&self, director: &mut Client, program: &str, outcome: &mut Outcome) -> Result<(), Failure> {
        for (before, command) in &self.others {
            self.submit(director, *before, outcome)?;
            match command {
                // As in 1.31, these end the run wherever they appear.
                Command::Help => return commands::write_out(|out| help::write(out, program)),
                Command::Version => return commands::write_out(help::write_version),
                command => keep_first(&mut outcome.first_failure, run_other(director, command))?,
            }
        }
        self.submit(director, self.changes.len(), outcome)?;
        outcome.first_failure.map_or(Ok(()), |code| Err(Failure::Message(String::new(), code)))
    }

    /// Submits the changes up to this index.
    fn submit(&self, director: &mut Client, end: usize, outcome: &mut Outcome) -> Result<(), Failure> {
        let start = outcome.done;
        let changes = &self.changes[start..end];
        let Some(first) = changes.first() else { return Ok(()) };
        let refused = WithProgress(director).submit(changes).map_err(|error| messages::refused(first, &error))?;
        outcome.done = end;
        outcome.refused.extend(refused.iter().map(|(index, _)| start + index));
        let mut hints = Once::default();
        for (index, error) in refused {
            let change = &changes[index];
            if let refused @ Failure::Message(_, code::MEANING) = messages::refused(change, &error) {
                return Err(refused);
            }
            let (line, refusal) = (self.lines[start + index], messages::refusal(change, &error));
            print_error(&format!("line {line}: {refusal}: {change}"));
            hints.print(hints::for_refusal(change, &error));
            outcome.first_failure.get_or_insert(code::REFUSED);
        }
        Ok(())
    }
}

/// The outcome of a script so far.
#[derive(Default)]
struct Outcome {
    first_failure: Option<u8>,
    /// The number of changes that were submitted.
    done: usize,
    /// The indices of those that the kernel refused.
    refused: HashSet<usize>,
}

fn run_other(director: &mut Client, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(listing) => commands::list(director, listing),
        Command::Save { numeric } => commands::save(director, *numeric),
        Command::Change(change) => commands::change(director, change),
        Command::Restore { .. } | Command::Help | Command::Version => Ok(()),
    }
}

/// Prints a failure, and records its exit code if it is the first, so that the run can continue. Returns an error only
/// if standard output fails.
fn keep_first(first_failure: &mut Option<u8>, result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure::Message(text, code)) => {
            print_error(&text);
            first_failure.get_or_insert(code);
            Ok(())
        }
        result => result,
    }
}

/// Returns the failure for an input with invalid lines, with a hint if it looks like a file of another kind.
pub(crate) fn nothing_changed(input: &[u8], code: u8) -> Failure {
    let hint = hints::file::looks_like(input).map_or_else(String::new, |hint| format!("\n{hint}"));
    Failure::Message(format!("nothing was changed{hint}"), code)
}

/// Prints an error, its line, and a mark under the word with the error, and a hint if there is one. `number` is that of
/// the line for people. `input` is the text in which the error has its own number.
pub(crate) fn print_bad_line(error: &LineError, number: usize, input: &SourceText<'_>, hints: &mut Once) {
    let LineError { column, error: what, text, .. } = error;
    let line = input.line(error.number);
    let before = String::from_utf8_lossy(&line[..line.len().min(column - 1)]);
    let (column, blanks) = (before.chars().count() + 1, indent(&text::line(before.as_bytes())));
    print_error(&format!("line {number}, column {column}: {what}\n    {}\n    {blanks}^", text::line(text.as_bytes())));
    let list_of_commands =
        || matches!(what, ParseError::NoCommand).then(|| "Use `ipvsadm -h' to list the commands.".into());
    hints.print(hints::for_line(error, input).or_else(list_of_commands));
}

/// Executes standard input line by line as it arrives (`--stream`), for programs that wait for the result of each line.
/// Lines with errors are reported and skipped.
pub(crate) fn stream(program: &str) -> Result<(), Failure> {
    let mut director = None;
    let mut first_failure = None;
    let mut hints = Once::default();
    let limit = limit()?;
    let mut input = io::stdin().lock();
    let lines = std::iter::from_fn(|| limit.read_line(&mut input).transpose());
    for (number, line) in lines.enumerate() {
        let line = line.map_err(|error| unreadable(&error))?;
        let command = match Lines::classic(&line, &mut System::default()).next() {
            None => continue,
            Some(Ok(line)) => line.command,
            Some(Err(error)) => {
                print_bad_line(&error, number + 1, &SourceText::new(&line), &mut hints);
                first_failure.get_or_insert(messages::exit_code(&error.error));
                continue;
            }
        };
        let result = match command {
            Command::Help => return commands::write_out(|out| help::write(out, program)),
            Command::Version => return commands::write_out(help::write_version),
            Command::Restore { .. } => Err(Failure::Message("--restore within --restore".into(), code::REFUSED)),
            command => {
                let director = match &mut director {
                    Some(director) => director,
                    none => none.insert(commands::open()?),
                };
                run_other(director, &command)
            }
        };
        let named = result.map_err(|failure| match failure {
            Failure::Message(text, code) => Failure::Message(format!("line {}: {text}", number + 1), code),
            output => output,
        });
        keep_first(&mut first_failure, named)?;
        stdout::standard().flush()?;
    }
    first_failure.map_or(Ok(()), |code| Err(Failure::Message(String::new(), code)))
}
