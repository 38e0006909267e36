//! Files → logical lines: comments, conditions, definitions, sequences and includes are processed, and a brace is a line
//! of its own.

use super::definitions::{Definition, Definitions, Found};
use super::limits::{DEEPEST, LONGEST_LINE, MOST_REPLACEMENTS, Used};
use super::sequence::Sequence;
use super::source::{File, Line, Source};
use super::text::{Decommented, decomment, first_brace, include_of};
use super::{Include, IncludedFile, Options};
use crate::convert::{Position, Report};

/// A definition with several lines that is being read.
struct Unfinished {
    name: String,
    lines: Vec<String>,
}

/// The part of a line after a brace. The line is kept as it is, because it may have hundreds of braces.
struct Residue {
    line: Line,
    offset: usize,
    has_parameters: bool,
}

impl Residue {
    /// Returns whether the text may begin with a condition, a sequence or an include, or has parameters.
    fn needs_processing(&self) -> bool {
        let text = &self.line.text[self.offset..];
        self.has_parameters || text.starts_with(['@', '~']) || text.starts_with("include")
    }
}

pub(super) struct Lines<'a> {
    include: &'a mut dyn Include,
    options: &'a Options,
    pub(super) report: &'a mut Report,
    sources: Vec<Source>,
    residue: Option<Residue>,
    definitions: Definitions,
    unfinished: Option<Unfinished>,
    /// The number of lines whose condition is not met, and the position of the first.
    skipped: Option<(usize, Position)>,
    used: Used,
    /// The number of bytes that were processed.
    pub(super) work: usize,
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
            skipped: None,
            used: Used::default(),
            work: 0,
            is_stopped: false,
        };
        let following = Vec::new().into_iter();
        lines.sources.push(Source::Files { current: File::new(name, text), following });
        lines
    }

    /// Returns the next logical line.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            if self.report.is_full() {
                self.is_stopped = true;
            }
            let residue = match self.residue.take() {
                Some(residue) if !residue.needs_processing() => residue,
                residue => {
                    let line = match residue {
                        Some(Residue { line, offset, .. }) => Some(Line { is_plain: false, ..line.rest(offset) }),
                        None => self.next_of_sources(),
                    };
                    let Some(line) = line.filter(|_| !self.is_stopped) else {
                        self.end_definition();
                        return None;
                    };
                    self.work += line.text.len();
                    let Some(line) = self.process(line) else { continue };
                    Residue { offset: 0, has_parameters: line.text.contains('$'), line }
                }
            };
            if let Some(line) = self.split(residue) {
                return Some(line);
            }
        }
    }

    /// Returns the next line before conditions and definitions are processed.
    fn next_of_sources(&mut self) -> Option<Line> {
        loop {
            let derived = |text: String, position: &Position| Line {
                text,
                position: position.clone(),
                is_exact: false,
                is_plain: false,
            };
            let line = match self.sources.last_mut()? {
                Source::Files { current, following } => match current.next() {
                    Some((raw, position)) => return Some(self.file_line(&raw, position)),
                    None => {
                        match following.next() {
                            Some(IncludedFile { name, text }) => *current = File::new(&name, &text),
                            None => drop(self.sources.pop()),
                        }
                        continue;
                    }
                },
                Source::Lines { lines, next, position } => {
                    let line = lines.get(*next).map(|line| derived(line.clone(), position));
                    *next += 1;
                    line
                }
                Source::Sequence { sequence, position } => match sequence.next() {
                    None => None,
                    Some(values) => {
                        for (name, value) in values {
                            if let Err(message) = self.used.value(value.len()) {
                                let position = position.clone();
                                self.stop(position, message);
                                return None;
                            }
                            self.definitions.set(name, Definition::Text(value));
                        }
                        Some(derived(sequence.text.clone(), position))
                    }
                },
            };
            match line {
                None => {
                    self.sources.pop();
                }
                Some(line) => match self.used.line(&line.text) {
                    Ok(()) => return Some(line),
                    Err(message) => self.stop(line.position, message),
                },
            }
        }
    }

    /// Stops reading after an error.
    pub(super) fn stop(&mut self, position: Position, message: impl std::fmt::Display) {
        if self.is_stopped {
            return;
        }
        self.report.error(position, message);
        self.sources.clear();
        self.residue = None;
        self.unfinished = None;
        self.is_stopped = true;
    }

    /// Adds a note about the lines that were skipped.
    pub(super) fn note_skipped(&mut self) {
        let Some((count, position)) = self.skipped.take() else { return };
        let lines = if count == 1 { "this line".to_owned() } else { format!("{count} lines from here on") };
        let because = match &self.options.config_id {
            Some(id) => format!("the config-id is {id}"),
            None => "there is no config-id".to_owned(),
        };
        self.report.adjusted(position, format_args!("keepalived skips {lines}, because {because}"));
    }

    /// Counts a word of a statement. Stops reading if there are too many.
    pub(super) fn count_word(&mut self, position: Position) {
        if let Err(message) = self.used.word() {
            self.stop(position, message);
        }
    }

    fn file_line(&mut self, raw: &str, position: Position) -> Line {
        if raw.len() > LONGEST_LINE {
            // The place of the split determines the meaning of all that follows.
            let message = format!("the line is longer than {LONGEST_LINE} bytes: keepalived would split it");
            self.stop(position.clone(), message);
            return Line { text: String::new(), position, is_exact: false, is_plain: false };
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
                // These are counted, too, because a sequence can define them again and again.
                if let Err(message) = self.used.line(text) {
                    self.stop(line.position, message);
                    return None;
                }
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
            self.skipped.get_or_insert((0, line.position)).0 += 1;
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
            Ok((sequence, replaced)) => match self.used.value(replaced) {
                Ok(()) => self.sources.push(Source::Sequence { sequence, position }),
                Err(message) => self.stop(position, message),
            },
            Err(message) => self.report.error(position, message),
        }
    }

    /// Replaces the parameters of a line. Returns whether there were any, and `None` after an error.
    fn replace(&mut self, line: &mut Line, replacements: &mut usize) -> Option<bool> {
        let mut from = 0;
        let mut has_changed = false;
        self.work += line.text.len();
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
            self.work += line.text.len();
            if let Err(message) = self.used.value(first.len()) {
                self.stop(line.position.clone(), message);
                return None;
            }
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
            if line.text.len() > LONGEST_LINE {
                let message = format!("the line is longer than {LONGEST_LINE} bytes after replacing its parameters");
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
        if let Err(message) = self.used.include() {
            self.stop(position, message);
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
                let mut following = files.into_iter();
                if let Some(IncludedFile { name, text }) = following.next() {
                    self.sources.push(Source::Files { current: File::new(&name, &text), following });
                }
            }
        }
        None
    }

    /// Returns the part of a line up to a brace, or the brace. Keeps the rest for the next line.
    fn split(&mut self, Residue { line, offset, has_parameters }: Residue) -> Option<Line> {
        let text = &line.text[offset..];
        let length = first_brace(text).map_or(text.len(), |at| at.max(1));
        self.work += length;
        let part = text[..length].trim_end_matches([' ', '\t']);
        let part = (!part.is_empty()).then(|| Line { text: part.to_owned(), position: line.at(offset), ..line });
        let rest = text[length..].trim_start_matches([' ', '\t']);
        if !rest.is_empty() {
            let offset = line.text.len() - rest.len();
            self.residue = Some(Residue { line, offset, has_parameters });
        }
        part
    }
}
