//! Why a command did not succeed: what is said of it, and the exit code.

use std::io;
use std::process::ExitCode;

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be said on standard error, and the exit code.
    Message(String, u8),
    /// Standard output did not take what was written.
    Output(io::Error),
}

/// Exit codes of ipvsadm's.
pub(crate) mod code {
    /// A listing failed, or output was lost.
    pub(crate) const LISTING: u8 = 1;
    /// Something is wrong with values or combinations; or there is no IPVS to talk to.
    pub(crate) const MEANING: u8 = 2;
    /// Something is wrong with the words; or the kernel refused.
    pub(crate) const REFUSED: u8 = 255;
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Say what went wrong, and give the exit code.
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

/// A line on standard error. If nobody can read it, there is nothing to be done about it.
pub(crate) fn print_error(text: &str) {
    use io::Write;
    if !text.is_empty() {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Whoever read the output has gone. Die as a program does that knows nothing of it, silently and by the signal: a
/// shell with `pipefail` looks at that.
fn die_of_broken_pipe() -> ExitCode {
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    ExitCode::from(code::LISTING)
}
