//! Errors and warnings about a file, with line, column and a mark under the position.

use std::cell::Cell;
use std::fmt;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::hints::Once;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::text;

/// An error or a warning about a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Diagnostic {
    /// The name of the file, if it is not the one that was specified.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Box<str>>,
    /// The line, from 1. 0 means the file as a whole.
    pub(crate) line: usize,
    /// The column in characters, from 1. 0 if the line is 0.
    pub(crate) column: usize,
    pub(crate) message: String,
    /// The reason or the remedy, in a line of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The line, or the part of a long line around the position. Hidden characters are escaped, except tabs.
    #[serde(skip)]
    excerpt: String,
    /// Blanks and tabs as wide as the excerpt before the position.
    #[serde(skip)]
    indent: Box<str>,
}

impl Diagnostic {
    /// Creates a diagnostic about the file as a whole.
    pub(crate) fn about_all(message: impl fmt::Display) -> Self {
        Self {
            file: None,
            line: 0,
            column: 0,
            message: message.to_string(),
            hint: None,
            excerpt: String::new(),
            indent: "".into(),
        }
    }

    /// Returns the diagnostic with a hint.
    pub(crate) fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// Returns the diagnostic as one about an included file.
    pub(crate) fn in_file(self, file: String) -> Self {
        Self { file: Some(file.into()), ..self }
    }

    /// Formats the diagnostic as a single line, without the text of the file.
    pub(crate) fn show_line(&self, file: &str, kind: &str) -> String {
        let Self { file: other, line, column, message, .. } = self;
        let (file, message) = (text::escaped(other.as_deref().unwrap_or(file)), text::escaped(message));
        format!("{file}:{line}:{column}: {kind}: {message}")
    }

    /// Formats the diagnostic as compilers do, so that editors can jump to the position. Hidden characters are escaped.
    pub(crate) fn show(&self, file: &str, kind: &str) -> String {
        let Self { file: other, line, column, message, excerpt, indent, hint: _ } = self;
        let (file, message) = (text::escaped(other.as_deref().unwrap_or(file)), text::escaped(message));
        if *line == 0 {
            return format!("{file}: {kind}: {message}");
        }
        format!("{file}:{line}:{column}: {kind}: {message}\n    {excerpt}\n    {indent}^")
    }
}

/// Prints the first 100 diagnostics, and the number of the others. A hint is printed only once.
pub(crate) fn print_all(found: &[Diagnostic], file: &str, kind: &str) {
    const MOST: usize = 100;
    let mut hints = Once::default();
    for diagnostic in found.iter().take(MOST) {
        print_error(&diagnostic.show(file, kind));
        hints.print(diagnostic.hint.clone());
    }
    if let Some(more @ 1..) = found.len().checked_sub(MOST) {
        print_error(&format!("{}: {} not shown", text::escaped(file), count(more, &format!("more {kind}"))));
    }
}

/// A text with an index of its lines.
pub(crate) struct SourceText<'t> {
    bytes: &'t [u8],
    /// The offset of each line, in bytes.
    starts: Vec<usize>,
    /// The last position found: line number, bytes and characters before it on the line. Lines may be long. If the next
    /// position is later on the same line, only the characters between the two are counted.
    last: Cell<(usize, usize, usize)>,
}

impl<'t> SourceText<'t> {
    pub(crate) fn new(bytes: &'t [u8]) -> Self {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { bytes, starts, last: Cell::default() }
    }

    /// Creates a diagnostic at a line and a column, both from 1. The column is in bytes.
    pub(crate) fn at(&self, line: usize, column: usize, message: impl fmt::Display) -> Diagnostic {
        let found = self.line(line);
        let at = column.saturating_sub(1).min(found.len());
        let column = self.characters(line, found, at) + 1;
        let (excerpt, indent) = excerpt(found, at);
        Diagnostic {
            file: None,
            line,
            column,
            message: message.to_string(),
            hint: None,
            excerpt,
            indent: indent.into(),
        }
    }

    /// Creates a diagnostic at an offset in bytes.
    pub(crate) fn at_offset(&self, offset: usize, message: impl fmt::Display) -> Diagnostic {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        self.at(line, offset - start + 1, message)
    }

    /// Returns a line without its end. Empty if there is no such line.
    pub(crate) fn line(&self, number: usize) -> &'t [u8] {
        let Some(start) = number.checked_sub(1).and_then(|index| self.starts.get(index)) else { return &[] };
        let end = self.starts.get(number).map_or(self.bytes.len(), |next| next - 1);
        let line = &self.bytes[*start..end];
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Returns the number of characters before a position on a line.
    fn characters(&self, number: usize, line: &[u8], at: usize) -> usize {
        let (from, before) = match self.last.get() {
            (last, bytes, characters) if last == number && bytes <= at => (bytes, characters),
            _ => (0, 0),
        };
        let characters = before + count_characters(&line[from..at]);
        self.last.set((number, at, characters));
        characters
    }
}

fn count_characters(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).chars().count()
}

/// Returns blanks and tabs that are as wide as a text.
pub(crate) fn indent(text: &str) -> String {
    let blanks = |text: &str| " ".repeat(text.width());
    text.split('\t').map(blanks).collect::<Vec<_>>().join("\t")
}

/// Returns a line, or the part of a long line around a position. Also returns the blanks for the text before the
/// position.
fn excerpt(line: &[u8], at: usize) -> (String, String) {
    const LONGEST: usize = 120;
    // Escaped in two parts, because an invalid character at the position must not change the part before it.
    let show = |before: &[u8], after: &[u8]| {
        let before = text::line(before);
        (format!("{before}{}", text::line(after)), indent(&before))
    };
    if line.len() <= LONGEST {
        return show(&line[..at], &line[at..]);
    }
    // Do not cut inside a character.
    let is_inside = |place: usize| line.get(place).is_some_and(|byte| byte & 0xc0 == 0x80);
    let boundary = |place: usize| (place..line.len()).find(|place| !is_inside(*place)).unwrap_or(line.len());
    let start = boundary(at.saturating_sub(LONGEST / 2).min(line.len() - LONGEST)).min(at);
    let end = boundary(start + LONGEST);
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    let (part, blanks) = show(&line[start..at], &line[at..end]);
    (format!("{before}{part}{after}"), indent(before) + &blanks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_position() {
        let text = "one\n\tzwölf drei\n";
        let lines = SourceText::new(text.as_bytes());
        let diagnostic = lines.at_offset(text.find("drei").expect("there"), "no");
        assert_eq!(diagnostic.show("f", "error"), "f:2:8: error: no\n    \tzwölf drei\n    \t      ^");
        assert_eq!(lines.at(9, 3, "no").show("f", "error"), "f:9:1: error: no\n    \n    ^");
        assert_eq!(lines.at_offset(text.len(), "no").line, 3);
    }

    #[test]
    fn hidden_characters_do_not_move_the_mark() {
        let text = b"\t\x1b[2J\xff \xe6\x97\xa5 here\n";
        let lines = SourceText::new(text);
        let at = |offset| lines.at_offset(offset, "a\nb\x07").show("f\x1b", "error");
        let offset = text.iter().position(|byte| *byte == b'h').expect("there");
        assert_eq!(at(offset), "f\\x1b:1:10: error: a\\nb\\x07\n    \t\\x1b[2J\\xff 日 here\n    \t               ^");
        // In the middle of a character.
        assert_eq!(
            at(8),
            "f\\x1b:1:9: error: a\\nb\\x07\n    \t\\x1b[2J\\xff \\xe6\\x97\\xa5 here\n    \t                ^"
        );
    }

    #[test]
    fn long_lines_are_cut_around_the_position() {
        let text = format!("{}MARK{}\r\n", "ä ".repeat(1000), "x".repeat(1000));
        let lines = SourceText::new(text.as_bytes());
        // Forwards, backwards, forwards: the remembered position must not change the result.
        for word in ["ä", "MARK", "x", "MARK", "ä", "x"] {
            let offset = text.find(word).expect("there");
            let shown = lines.at_offset(offset, "no").show("f", "error");
            let shown: Vec<&str> = shown.lines().collect();
            let column = text[..offset].chars().count() + 1;
            assert_eq!(shown[0], format!("f:1:{column}: error: no"));
            let mark = shown[2].chars().position(|c| c == '^').expect("a mark");
            assert!(shown[1].chars().skip(mark).collect::<String>().starts_with(word), "{shown:?}");
            assert!(shown[1].len() < 140, "{shown:?}");
        }
    }
}
