//! Failures of commands: their messages and exit codes.

use std::borrow::Cow;
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

/// Prints a line to standard error, unless it is empty. On a terminal, control characters are escaped. Errors are
/// ignored, because there is nowhere to report them.
pub(crate) fn print_error(text: &str) {
    if text.is_empty() {
        return;
    }
    let shown = match text::lines(text) {
        // Programs compare the messages with those of ipvsadm 1.31, which escapes nothing.
        Cow::Owned(_) if !io::stderr().is_terminal() => Cow::Borrowed(text),
        shown => shown,
    };
    let _ = writeln!(io::stderr(), "{shown}");
}

/// Ends the process by SIGPIPE, without a message, because the reader of its output has exited. A shell with `pipefail`
/// then gets the usual status of a program that does not handle the signal.
fn die_of_broken_pipe() -> ExitCode {
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    ExitCode::from(code::LISTING)
}
