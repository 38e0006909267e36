//! The places where lines come from: files, definitions and sequences.

use std::rc::Rc;
use std::sync::Arc;

use super::IncludedFile;
use super::limits::LONGEST_LINE;
use super::sequence::Sequence;
use crate::convert::Position;

/// A logical line: words, or a single brace.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// The position of its first byte. For the lines of a definition, that of its use.
    pub(super) position: Position,
    /// True if the text is a part of the file. Then columns in the text are columns of the file.
    pub(super) is_exact: bool,
    /// True if the text is a whole line of a file.
    pub(super) is_plain: bool,
}

impl Line {
    /// Returns the position of a byte of the text.
    pub(super) fn at(&self, offset: usize) -> Position {
        let column = self.position.column + if self.is_exact { offset } else { 0 };
        Position { column, ..self.position.clone() }
    }

    pub(super) fn rest(&self, offset: usize) -> Self {
        Self { text: self.text[offset..].to_owned(), position: self.at(offset), ..*self }
    }
}

pub(super) enum Source {
    /// A file, or the files of an `include`.
    Files {
        current: File,
        following: std::vec::IntoIter<IncludedFile>,
    },
    /// The lines of a definition after the first.
    Lines {
        lines: Rc<[String]>,
        next: usize,
        position: Position,
    },
    Sequence {
        sequence: Sequence,
        position: Position,
    },
}

pub(super) struct File {
    name: Arc<str>,
    text: String,
    offset: usize,
    line: usize,
}

impl File {
    pub(super) fn new(name: &str, text: &[u8]) -> Self {
        Self { name: name.into(), text: String::from_utf8_lossy(text).into_owned(), offset: 0, line: 0 }
    }

    /// Returns the next line with its position.
    pub(super) fn next(&mut self) -> Option<(String, Position)> {
        let rest = self.text.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let raw = rest.split('\n').next().unwrap_or_default();
        self.offset += raw.len() + 1;
        self.line += 1;
        let raw = raw.trim_end_matches('\r');
        // A longer line is an error, so that its end is not needed.
        let mut end = raw.len().min(LONGEST_LINE + 4);
        while !raw.is_char_boundary(end) {
            end -= 1;
        }
        Some((raw[..end].to_owned(), Position { file: self.name.clone(), line: self.line, column: 1 }))
    }
}
