//! Logical lines → statements with their blocks.

use std::sync::Arc;

use super::limits::DEEPEST_BLOCK;
use super::lines::Lines;
use super::source::Line;
use crate::convert::Position;

#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    column: usize,
}

/// A line of words, perhaps with a block. It has at least one word.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    file: Arc<str>,
    line: usize,
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    /// Returns the position of the first word.
    pub(super) fn position(&self) -> Position {
        self.at(0)
    }

    /// Returns the position of a word, or of the last one if there is no such word.
    pub(super) fn at(&self, index: usize) -> Position {
        let word = self.words.get(index).or(self.words.last());
        Position { file: self.file.clone(), line: self.line, column: word.map_or(1, |word| word.column) }
    }

    pub(super) fn keyword(&self) -> &str {
        self.word(0).unwrap_or_default()
    }

    pub(super) fn word(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(|word| &*word.text)
    }
}

/// Reads all statements.
pub(super) fn read(lines: &mut Lines<'_>) -> Vec<Statement> {
    // The statements of each open block. The last statement of each level but the last has the next block.
    let mut levels: Vec<Vec<Statement>> = vec![Vec::new()];
    let mut can_open = false;
    while let Some(line) = lines.next() {
        match &*line.text {
            "{" if can_open && levels.len() > DEEPEST_BLOCK => {
                lines.report.error(line.position, "too many blocks inside each other");
                return Vec::new();
            }
            "{" if can_open => levels.push(Vec::new()),
            "{" => lines.report.error(line.position, "`{' does not follow a keyword"),
            "}" if levels.len() > 1 => close(&mut levels),
            "}" => lines.report.error(line.position, "`}' does not close a block"),
            _ => {
                let Some(statement) = words(&line, lines) else { continue };
                if let Some(level) = levels.last_mut() {
                    level.push(statement);
                }
                can_open = true;
                continue;
            }
        }
        can_open = false;
    }
    if lines.is_stopped {
        return Vec::new();
    }
    while levels.len() > 1 {
        if let Some(statement) = levels[levels.len() - 2].last() {
            lines.report.error(statement.position(), "the block has no closing `}'");
        }
        close(&mut levels);
    }
    levels.pop().unwrap_or_default()
}

fn close(levels: &mut Vec<Vec<Statement>>) {
    let block = levels.pop();
    if let Some(statement) = levels.last_mut().and_then(|level| level.last_mut()) {
        statement.block = block;
    }
}

/// Splits a line into words. A text in double quotes is one word.
fn words(line: &Line, lines: &mut Lines<'_>) -> Option<Statement> {
    const BLANKS: [char; 5] = [' ', '\t', '\x0c', '\r', '\x0b'];
    let mut words = Vec::new();
    let mut offset = 0;
    loop {
        let rest = &line.text[offset..];
        let text = rest.trim_start_matches(BLANKS);
        offset += rest.len() - text.len();
        if text.is_empty() {
            break;
        }
        let (word, length) = match text.strip_prefix('"') {
            Some(quoted) => match quoted.find('"') {
                Some(end) => (&quoted[..end], end + 2),
                None => {
                    lines.report.error(line.at(offset), "the quote is not closed");
                    (quoted, text.len())
                }
            },
            None => {
                let end = text.find(|c: char| BLANKS.contains(&c) || c == '"').unwrap_or(text.len());
                (&text[..end], end)
            }
        };
        lines.count_word(line.at(offset));
        words.push(Word { text: word.to_owned(), column: line.at(offset).column });
        offset += length;
    }
    let Position { file, line, .. } = line.position.clone();
    (!words.is_empty()).then_some(Statement { file, line, words, block: None })
}
