//! Questions to the person at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

/// Returns whether a question can be asked: a person can read it and answer.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question, which can be preceded by its reasons. Returns whether the answer is yes. Everything else is no.
pub(crate) fn ask(question: &str) -> io::Result<bool> {
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
