//! The size of the terminal.

use std::io::IsTerminal;

/// The rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Size {
    /// The size of a terminal that does not report one.
    const USUAL: Self = Self { rows: 24, columns: 80 };

    /// Returns the size of the terminal of standard output. `None` if standard output is not a terminal. The environment
    /// variable COLUMNS takes precedence, as in ls(1).
    pub(crate) fn of_stdout() -> Option<Self> {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        let found = rustix::termios::tcgetwinsize(stdout).ok();
        let known = |size: u16, usual: usize| if size == 0 { usual } else { usize::from(size) };
        let size = found.map_or(Self::USUAL, |found| Self {
            rows: known(found.ws_row, Self::USUAL.rows),
            columns: known(found.ws_col, Self::USUAL.columns),
        });
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
        Some(Self { columns: columns.unwrap_or(size.columns), ..size })
    }
}
