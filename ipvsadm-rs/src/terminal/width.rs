//! The size of the terminal, and whether it has a cursor to move.

use std::io::IsTerminal;

use unicode_width::UnicodeWidthStr;

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

/// Returns the words of a text in lines that fit a width. An empty text has no lines.
pub(crate) fn folded(text: &str, width: Option<usize>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width.is_none_or(|width| line.width() + 1 + word.width() <= width) => {
                line.extend([" ", word]);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns the lines of [`folded`], each with its line break. `first` precedes the first line, and `rest` the others. The
/// lines fit the width if `first` is not wider than `rest`. Colours in `first` take no columns.
pub(crate) fn folded_after(first: &str, rest: &str, text: &str, width: Option<usize>) -> String {
    let lines = folded(text, width.map(|width| width.saturating_sub(rest.width())));
    lines.iter().zip(std::iter::once(first).chain(std::iter::repeat(rest))).fold(
        String::new(),
        |mut text, (line, prefix)| {
            text.extend([prefix, line, "\n"]);
            text
        },
    )
}

/// Returns whether the terminal can move the cursor: TERM is set, and not `dumb`.
pub(crate) fn can_move_cursor() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Pads or cuts a text to a number of columns. A text that is cut ends with `…`.
pub(crate) fn cell(text: &str, width: usize) -> String {
    if text.width() <= width {
        return format!("{text}{}", " ".repeat(width - text.width()));
    }
    let mut cut = String::new();
    for character in text.chars() {
        if format!("{cut}{character}").width() >= width {
            break;
        }
        cut.push(character);
    }
    format!("{cut}…{}", " ".repeat(width.saturating_sub(cut.width() + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_folded_at_blanks() {
        assert_eq!(folded("  sh sh-port  persistent 360 s", Some(16)), ["sh sh-port", "persistent 360 s"]);
        assert_eq!(folded("aaaaaaaa bb", Some(1)), ["aaaaaaaa", "bb"], "a word is never cut");
        assert_eq!(folded("a b", None), ["a b"]);
        assert!(folded("", Some(80)).is_empty());
        assert_eq!(folded_after("- ", "  ", "aa bb cc", Some(7)), "- aa bb\n  cc\n");
        assert_eq!(folded_after("- ", "  ", "", Some(7)), "");
    }

    #[test]
    fn cells_have_their_width() {
        assert_eq!(cell("root", 6), "root  ");
        assert_eq!(cell("administrator", 10), "administr…");
        assert_eq!(cell("日本語日本語", 10), "日本語日… ");
        assert_eq!((cell("a\u{4e2d}b", 2), cell("a", 3)), ("a…".to_owned(), "a  ".to_owned()));
    }
}
