//! What is wrong with a file, and where: line, column, the line, and a mark under the place.

use std::fmt;

use serde::Serialize;

/// Something that is wrong with a file, or hardly meant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Diagnostic {
    /// The first line is 1; 0 if it is about the file as a whole.
    pub(crate) line: usize,
    /// In characters; the first is 1.
    pub(crate) column: usize,
    /// What it is.
    pub(crate) message: String,
    /// The line.
    #[serde(skip)]
    text: String,
}

impl Diagnostic {
    /// At a line and a column, both from 1; the column in bytes.
    pub(crate) fn at(text: &str, line: usize, column: usize, message: impl fmt::Display) -> Self {
        let found = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let before = found.get(..column.saturating_sub(1)).unwrap_or(found);
        Self { line, column: before.chars().count() + 1, message: message.to_string(), text: found.to_owned() }
    }

    /// At an offset in bytes.
    pub(crate) fn at_offset(text: &str, offset: usize, message: impl fmt::Display) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = offset - before.rfind('\n').map_or(0, |end| end + 1) + 1;
        Self::at(text, line, column, message)
    }

    /// About the file as a whole.
    pub(crate) fn about_all(message: impl fmt::Display) -> Self {
        Self { line: 0, column: 0, message: message.to_string(), text: String::new() }
    }

    /// In the form of compilers, which editors understand.
    pub(crate) fn show(&self, file: &str, kind: &str) -> String {
        let Self { line, column, message, text } = self;
        if *line == 0 {
            return format!("{file}: {kind}: {message}");
        }
        let blanks: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        format!("{file}:{line}:{column}: {kind}: {message}\n    {text}\n    {blanks}^")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_place() {
        let text = "one\n\tzwölf drei\n";
        let diagnostic = Diagnostic::at_offset(text, text.find("drei").expect("there"), "no");
        assert_eq!(diagnostic.show("f", "error"), "f:2:8: error: no\n    \tzwölf drei\n    \t      ^");
        assert_eq!(Diagnostic::at(text, 9, 3, "no").show("f", "error"), "f:9:1: error: no\n    \n    ^");
    }
}
