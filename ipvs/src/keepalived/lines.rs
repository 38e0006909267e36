//! Files → logical lines: comments, conditions, definitions, sequences and includes are processed, and a brace is a line
//! of its own.

use std::rc::Rc;
use std::sync::Arc;

use super::definitions::{Definition, Definitions, Found};
use super::sequence::Sequence;
use super::{Include, IncludedFile, Options};
use crate::convert::{Position, Report};

/// The size of keepalived's buffer for a line. It splits longer lines.
const LONGEST: usize = 1022;
/// The number of lines that definitions and sequences may produce in total. A short file can describe many.
const MOST_LINES: usize = 500_000;
/// The number of replacements in a line. More are a definition that contains itself.
const MOST_REPLACEMENTS: usize = 1000;
/// The number of files, definitions and sequences that can be in use at once.
const DEEPEST: usize = 64;

/// A logical line: words, or a single brace.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// The position of its first byte. For the lines of a definition, that of its use.
    pub(super) position: Position,
    /// True if the text is a part of the file. Then columns in the text are columns of the file.
    is_exact: bool,
    /// True if the text is a whole line of a file.
    is_plain: bool,
}

impl Line {
    /// Returns the position of a byte of the text.
    pub(super) fn at(&self, offset: usize) -> Position {
        let column = self.position.column + if self.is_exact { offset } else { 0 };
        Position { column, ..self.position.clone() }
    }

    fn rest(&self, offset: usize) -> Self {
        Self { text: self.text[offset..].to_owned(), position: self.at(offset), ..*self }
    }
}

enum Source {
    File {
        name: Arc<str>,
        text: String,
        offset: usize,
        line: usize,
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

/// A definition with several lines that is being read.
struct Unfinished {
    name: String,
    lines: Vec<String>,
}

pub(super) struct Lines<'a> {
    include: &'a mut dyn Include,
    options: &'a Options,
    pub(super) report: &'a mut Report,
    sources: Vec<Source>,
    /// The part of the last line after a brace.
    residue: Option<Line>,
    definitions: Definitions,
    unfinished: Option<Unfinished>,
    produced: usize,
    /// True if an error ended the reading. Lines that were read before it are not used.
    pub(super) is_stopped: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(
        name: &str,
        text: &[u8],
        options: &'a Options,
        include: &'a mut dyn Include,
        report: &'a mut Report,
    ) -> Self {
        let mut lines = Self {
            include,
            options,
            report,
            sources: Vec::new(),
            residue: None,
            definitions: Definitions::new(options),
            unfinished: None,
            produced: 0,
            is_stopped: false,
        };
        lines.open(name, text);
        lines
    }

    fn open(&mut self, name: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        self.sources.push(Source::File { name: name.into(), text, offset: 0, line: 0 });
    }

    /// Returns the next logical line.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let Some(line) = self.next_of_sources() else {
                self.end_definition();
                return None;
            };
            let Some(line) = self.process(line) else { continue };
            if let Some(line) = self.split(line).filter(|line| !line.text.is_empty()) {
                return Some(line);
            }
        }
    }

    /// Returns the next line before conditions and definitions are processed.
    fn next_of_sources(&mut self) -> Option<Line> {
        if let Some(residue) = self.residue.take() {
            return Some(residue);
        }
        loop {
            let derived = |text: String, position: &Position| Line {
                text,
                position: position.clone(),
                is_exact: false,
                is_plain: false,
            };
            let line = match self.sources.last_mut()? {
                Source::File { name, text, offset, line } => {
                    if *offset >= text.len() {
                        self.sources.pop();
                        continue;
                    }
                    let rest = &text[*offset..];
                    let raw = rest.split('\n').next().unwrap_or_default();
                    *offset += raw.len() + 1;
                    *line += 1;
                    let raw = raw.trim_end_matches('\r').to_owned();
                    let position = Position { file: name.clone(), line: *line, column: 1 };
                    return Some(self.file_line(&raw, position));
                }
                Source::Lines { lines, next, position } => {
                    let line = lines.get(*next).map(|line| derived(line.clone(), position));
                    *next += 1;
                    line
                }
                Source::Sequence { sequence, position } => sequence.next().map(|values| {
                    for (name, value) in values {
                        self.definitions.set(name, Definition::Text(value));
                    }
                    derived(sequence.text.clone(), position)
                }),
            };
            match line {
                None => {
                    self.sources.pop();
                }
                Some(line) => {
                    self.produced += 1;
                    if self.produced <= MOST_LINES {
                        return Some(line);
                    }
                    self.stop(line.position, format_args!("definitions produce more than {MOST_LINES} lines"));
                }
            }
        }
    }

    /// Stops reading after an error.
    fn stop(&mut self, position: Position, message: impl std::fmt::Display) {
        self.report.error(position, message);
        self.sources.clear();
        self.is_stopped = true;
    }

    fn file_line(&mut self, raw: &str, position: Position) -> Line {
        if raw.len() > LONGEST {
            let message = format!("the line is longer than {LONGEST} bytes: keepalived would split it");
            self.report.error(position.clone(), message);
        }
        if raw.is_empty() {
            self.end_definition();
        }
        let Decommented { text, offset, is_exact, has_open_quote } = decomment(raw);
        let position = Position { column: offset + 1, ..position };
        if has_open_quote {
            self.report.error(position.clone(), "a quote is not closed on the line");
        }
        Line { text, position, is_exact, is_plain: true }
    }

    fn end_definition(&mut self) {
        if let Some(Unfinished { name, lines }) = self.unfinished.take() {
            self.definitions.set(name, Definition::of_lines(lines));
        }
    }

    /// Processes everything that begins with `@`, `$` or `~`, and includes. Returns the line if it is a statement.
    fn process(&mut self, mut line: Line) -> Option<Line> {
        if let Some(unfinished) = &mut self.unfinished {
            let (text, goes_on) = match line.text.strip_suffix('\\') {
                Some(text) => (text.trim_end_matches([' ', '\t']), true),
                None => (&*line.text, false),
            };
            if !text.is_empty() {
                unfinished.lines.push(text.to_owned());
                self.count_definition(&line.position);
            }
            if !goes_on {
                self.end_definition();
            }
            return None;
        }
        let mut replacements = 0;
        loop {
            if line.text.starts_with('@') {
                line = self.apply_condition(line)?;
            }
            if let Some((name, value)) = Definition::parse(&line.text) {
                self.define(name, value);
                return None;
            }
            if line.text.starts_with("~SEQ") || line.text.starts_with("~LST") {
                self.start_sequence(&line);
                return None;
            }
            if line.text.starts_with('~') || !self.replace(&mut line, &mut replacements)? {
                break;
            }
            line.text = decomment(&line.text).text;
            if !line.text.contains(['$']) && !line.text.starts_with(['@', '~']) {
                break;
            }
        }
        self.include_or(line)
    }

    /// The values of definitions count as lines that are produced, so that they cannot grow without a limit.
    fn count_definition(&mut self, position: &Position) {
        self.produced += 1;
        if self.produced > MOST_LINES {
            let message = format!("definitions have more than {MOST_LINES} lines");
            self.unfinished = None;
            self.stop(position.clone(), message);
        }
    }

    fn define(&mut self, name: &str, value: &str) {
        let name = name.to_owned();
        match value.strip_suffix('\\') {
            None => self.definitions.set(name, Definition::Text(value.to_owned())),
            Some(first) => {
                let first = first.trim_end_matches([' ', '\t']);
                let lines = if first.is_empty() { Vec::new() } else { vec![first.to_owned()] };
                self.unfinished = Some(Unfinished { name, lines });
            }
        }
    }

    /// Returns the line without its condition, or `None` if the condition is not met.
    fn apply_condition(&mut self, line: Line) -> Option<Line> {
        let (is_negative, start) = if line.text.starts_with("@^") { (true, 2) } else { (false, 1) };
        let end = start + line.text[start..].find([' ', '\t'])?;
        let is_this = self.options.config_id.as_deref() == Some(&line.text[start..end]);
        if is_this == is_negative {
            return None;
        }
        let rest = line.text[end..].trim_start_matches([' ', '\t']);
        let line = line.rest(line.text.len() - rest.len());
        Some(Line { is_plain: false, ..line })
    }

    fn start_sequence(&mut self, line: &Line) {
        let position = line.position.clone();
        if self.sources.len() >= DEEPEST {
            return self.stop(position, "too many sequences inside each other");
        }
        match Sequence::parse(&line.text, &self.definitions) {
            Ok(sequence) => self.sources.push(Source::Sequence { sequence, position }),
            Err(message) => self.report.error(position, message),
        }
    }

    /// Replaces the parameters of a line. Returns whether there were any, and `None` after an error.
    fn replace(&mut self, line: &mut Line, replacements: &mut usize) -> Option<bool> {
        let mut from = 0;
        let mut has_changed = false;
        while let Some(found) = line.text.get(from..).and_then(|rest| rest.find('$')) {
            let at = from + found;
            let (length, value) = match self.definitions.find(&line.text[at + 1..], &line.position.file) {
                Found::Nothing => {
                    from = at + 1;
                    continue;
                }
                Found::Unsupported(name) => {
                    self.report.error(line.position.clone(), format_args!("${name} is not supported"));
                    return None;
                }
                Found::Value { length, value } => (length, value),
            };
            *replacements += 1;
            if *replacements > MOST_REPLACEMENTS {
                self.report.error(line.position.clone(), "definitions contain each other without end");
                return None;
            }
            let (first, rest) = match value {
                Definition::Text(text) => (text, None),
                Definition::Lines(lines) => (lines.first().cloned().unwrap_or_default(), Some(lines)),
            };
            if let Some(lines) = rest {
                if self.sources.len() >= DEEPEST {
                    self.stop(line.position.clone(), "too many definitions inside each other");
                    return None;
                }
                self.sources.push(Source::Lines { lines, next: 1, position: line.position.clone() });
            }
            line.text.replace_range(at..at + 1 + length, &first);
            line.is_exact = false;
            line.is_plain = false;
            has_changed = true;
            if line.text.len() > LONGEST {
                let message = format!("the line is longer than {LONGEST} bytes after replacing its parameters");
                self.report.error(line.position.clone(), message);
                return None;
            }
            from = at;
            if first.trim_start().starts_with('~') {
                break;
            }
        }
        Some(has_changed)
    }

    /// Returns the line, or opens the files if it is an include.
    fn include_or(&mut self, line: Line) -> Option<Line> {
        let Some((kind, pattern)) = include_of(&line.text) else { return Some(line) };
        let position = line.position.clone();
        if !line.is_plain {
            let message = "keepalived does not support an include with a condition or a definition";
            self.report.error(position, message);
            return None;
        }
        if self.sources.len() >= DEEPEST {
            self.stop(position, "too many files include each other");
            return None;
        }
        match self.include.include(pattern, &position.file) {
            Err(reason) => self.report.error(position, format_args!("cannot include {pattern}: {reason}")),
            Ok(files) if files.is_empty() => {
                let has_wildcards = pattern.contains(['*', '?', '[']);
                // The kinds for which keepalived reports an error.
                let is_error = match kind {
                    Some('a' | 'w') => true,
                    Some('m') => !has_wildcards,
                    _ => false,
                };
                let message = format!("no file matches {pattern}");
                match is_error {
                    true => self.report.error(position, message),
                    false => self.report.adjusted(position, message),
                }
            }
            Ok(files) => {
                for IncludedFile { name, text } in files.iter().rev() {
                    self.open(name, text);
                }
            }
        }
        None
    }

    /// Returns the part of a line up to a brace, or the brace. Keeps the rest for the next line.
    fn split(&mut self, mut line: Line) -> Option<Line> {
        let brace = first_brace(&line.text);
        if let Some(at) = brace {
            let end = if at == 0 { 1 } else { at };
            let rest = &line.text[end..];
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            if blanks < rest.len() {
                self.residue = Some(Line { is_plain: false, ..line.rest(end + blanks) });
            }
            line.text.truncate(end);
        }
        line.text.truncate(line.text.trim_end_matches([' ', '\t']).len());
        Some(line)
    }
}

/// Returns the offset of the first brace that is not quoted.
fn first_brace(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    text.bytes().position(|byte| {
        is_quoted ^= byte == b'"';
        !is_quoted && matches!(byte, b'{' | b'}')
    })
}

/// Returns the kind and the pattern of an include.
fn include_of(text: &str) -> Option<(Option<char>, &str)> {
    let rest = text.strip_prefix("include")?;
    let kind = rest.chars().next().filter(|kind| "rmwba".contains(*kind));
    let rest = rest.strip_prefix(|kind: char| "rmwba".contains(kind)).unwrap_or(rest);
    let pattern = rest.strip_prefix(|blank: char| blank.is_ascii_whitespace())?;
    Some((kind, pattern.trim_matches([' ', '\t'])))
}

struct Decommented {
    text: String,
    /// The number of blanks before the text.
    offset: usize,
    /// True if the text is a part of the line, without changes.
    is_exact: bool,
    has_open_quote: bool,
}

/// Removes comments and blanks. `#` and `!` begin a comment, unless they are quoted or escaped.
fn decomment(raw: &str) -> Decommented {
    let trimmed = raw.trim_start_matches([' ', '\t']);
    let mut text = String::with_capacity(trimmed.len());
    let (mut is_quoted, mut is_exact, mut goes_on) = (false, true, false);
    let mut comment = None;
    let mut chars = trimmed.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted ^= comment.is_none();
                text.push(c);
            }
            '\\' => match chars.next() {
                None => goes_on = true,
                Some(escaped @ ('#' | '!')) if !is_quoted => {
                    is_exact = false;
                    text.push(escaped);
                }
                Some(escaped) => text.extend(['\\', escaped]),
            },
            '#' | '!' if !is_quoted && comment.is_none() => {
                comment = Some(text.len());
                text.push(c);
            }
            c => text.push(c),
        }
    }
    text.truncate(comment.unwrap_or(text.len()));
    text.truncate(text.trim_end_matches([' ', '\t']).len());
    if goes_on {
        text.push('\\');
    }
    Decommented { text, offset: raw.len() - trimmed.len(), is_exact, has_open_quote: is_quoted }
}
