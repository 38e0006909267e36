//! Failures of commands: their messages and exit codes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::terminal::text;

/// A failure of a command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A message for standard error (nothing is printed if it is empty), and the exit code.
    Message(String, u8),
    /// The error of a failed write to standard output.
    Output(io::Error),
}

/// Exit codes of ipvsadm 1.31.
pub(crate) mod code {
    /// The exit code for a failed listing and for lost output.
    pub(crate) const LISTING: u8 = 1;
    /// The exit code for invalid values or combinations of options, and if IPVS is not available.
    pub(crate) const MEANING: u8 = 2;
    /// The exit code for a command line that cannot be parsed, and for a change that the kernel refused.
    pub(crate) const REFUSED: u8 = 255;
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Prints the message of a failure and returns the exit code.
pub(crate) fn conclude(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Message(text, code)) => {
            print_error(&text);
            ExitCode::from(code)
        }
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => die_of_broken_pipe(),
        Err(Failure::Output(error)) => {
            print_error(&format!("cannot write to standard output: {error}"));
            ExitCode::from(code::LISTING)
        }
    }
}

/// Prints a line to standard error, unless it is empty. On a terminal, control characters are escaped. While
/// [`HeldMessages`] exist, the line is printed later. Errors are ignored, because there is nowhere to report them.
pub(crate) fn print_error(text: &str) {
    if text.is_empty() {
        return;
    }
    let is_held = HELD.with_borrow_mut(|held| {
        if held.holders > 0 {
            held.lines.push(text.to_owned());
        }
        held.holders > 0
    });
    if !is_held {
        print_now(text);
    }
}

fn print_now(text: &str) {
    let shown = match text::lines(text) {
        // Programs compare the messages with those of ipvsadm 1.31, which escapes nothing.
        Cow::Owned(_) if !io::stderr().is_terminal() => Cow::Borrowed(text),
        shown => shown,
    };
    let _ = writeln!(io::stderr(), "{shown}");
}

/// The lines that are held back, and the number of [`HeldMessages`] that hold them.
#[derive(Default)]
struct Held {
    holders: usize,
    lines: Vec<String>,
}

thread_local! {
    static HELD: RefCell<Held> = RefCell::default();
}

/// Holds back the lines of [`print_error`]. They are printed when the last value of this type is dropped.
///
/// A process that locks the table holds one. Otherwise a terminal that was cut off, or a full pipe, would block this
/// process while others wait for the table.
#[derive(Debug)]
pub(crate) struct HeldMessages(());

impl HeldMessages {
    pub(crate) fn new() -> Self {
        HELD.with_borrow_mut(|held| held.holders += 1);
        Self(())
    }
}

impl Drop for HeldMessages {
    fn drop(&mut self) {
        let lines = HELD.with_borrow_mut(|held| {
            held.holders -= 1;
            if held.holders == 0 { std::mem::take(&mut held.lines) } else { Vec::new() }
        });
        lines.iter().for_each(|line| print_now(line));
    }
}

/// Returns and removes the lines that are held back.
#[cfg(test)]
pub(crate) fn take_held_messages() -> Vec<String> {
    HELD.with_borrow_mut(|held| std::mem::take(&mut held.lines))
}

/// Ends the process by SIGPIPE, without a message, because the reader of its output has exited. A shell with `pipefail`
/// then gets the usual status of a program that does not handle the signal.
fn die_of_broken_pipe() -> ExitCode {
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    ExitCode::from(code::LISTING)
}
