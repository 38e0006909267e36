//! Completion of command lines, for the shells.
//!
//! The scripts in `dist/completions` pass the words of a command line to `ipvsadm-rs complete`, which prints the words
//! that can follow. clap_complete's engine finds the argument to complete. The grammar is that of clap's `Command`, so
//! new verbs and options are completed without further work. [`values`] completes values by their names in the help.
//!
//! A completion changes nothing, prints no errors, and does not wait: without root, values of the kernel's table are
//! missing.

mod classic;
mod line;
mod live;
mod values;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};

use clap::Command;

pub(crate) use line::Line;
pub(crate) use values::Paths;

use crate::generate::commands;
use crate::program::is_classic;

/// The words that can follow a command line.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Paths that the shell completes by itself. `None`: the word is not a path.
    pub(crate) paths: Option<Paths>,
    pub(crate) candidates: Vec<Candidate>,
}

/// A word, and its description of one line, which may be empty.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) word: String,
    pub(crate) help: String,
}

/// Completes the last of `words`. `verbs` is the command `ipvsadm-rs`.
pub(crate) fn complete(program: &str, words: Vec<OsString>, verbs: Command) -> Answer {
    let line = Arc::new(Line::new(words));
    match program {
        "ipvsadm" => of_command(classic::command(&line), &line),
        "ipvsadm-save" => of_command(commands::save(), &line),
        "ipvsadm-restore" => of_command(commands::restore(), &line),
        _ if line.before().is_empty() => {
            // The first word may be an option of both languages.
            let mut answer = of_command(verbs, &line);
            let is_option = line.current().to_string_lossy().starts_with('-');
            if is_option {
                answer.candidates.extend(of_command(classic::command(&line), &line).candidates);
            }
            answer
        }
        _ if is_classic(line.before()) => of_command(classic::command(&line), &line),
        _ => of_command(verbs, &line),
    }
}

fn of_command(command: Command, line: &Arc<Line>) -> Answer {
    let paths = Arc::new(Mutex::new(None));
    let mut command = values::attach(command, line, &paths);
    let words: Vec<OsString> = std::iter::once("ipvsadm-rs".into()).chain(line.words().iter().cloned()).collect();
    let last = words.len() - 1;
    let found = clap_complete::engine::complete(&mut command, words, last, None).unwrap_or_default();
    let candidates = found.into_iter().filter(|candidate| !candidate.is_hide_set()).filter_map(|candidate| {
        let word = candidate.get_value().to_str()?.to_owned();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default().to_owned();
        // Words and descriptions are separated by a tab and end with the line.
        let is_printable = |text: &str| !text.contains(char::is_control);
        (is_printable(&word) && is_printable(&help)).then_some(Candidate { word, help })
    });
    let mut answer = Answer { paths: paths.lock().map_or(None, |paths| *paths), candidates: candidates.collect() };
    answer.keep_what_fits(line);
    answer
}

impl Answer {
    /// Removes paths if the word is an option, and options if the word is empty and something else can follow. The
    /// engine offers both.
    fn keep_what_fits(&mut self, line: &Line) {
        let current = line.current().as_bytes();
        if current.starts_with(b"-") && !current.contains(&b'=') {
            self.paths = None;
        }
        let is_option = |candidate: &Candidate| candidate.word.starts_with('-');
        let has_others = self.paths.is_some() || !self.candidates.iter().all(is_option);
        if current.is_empty() && has_others {
            self.candidates.retain(|candidate| !is_option(candidate));
        }
    }
}

#[cfg(test)]
mod tests;
