//! Definitions: `$NAME=VALUE`.

use std::collections::HashMap;
use std::rc::Rc;

use super::Options;

/// The value of a parameter.
#[derive(Clone, Debug)]
pub(super) enum Definition {
    Text(String),
    Lines(Rc<[String]>),
}

impl Definition {
    /// Returns the value of a definition with several lines. A single line can also be used inside a line.
    pub(super) fn of_lines(lines: Vec<String>) -> Self {
        if lines.is_empty() { Self::Text(String::new()) } else { Self::Lines(lines.into()) }
    }

    /// Returns name and value of a line that defines a parameter.
    pub(super) fn parse(line: &str) -> Option<(&str, &str)> {
        let (name, value) = line.strip_prefix('$')?.split_once('=')?;
        is_name(name).then(|| (name, value.trim_start_matches([' ', '\t'])))
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The result of a search for a parameter.
pub(super) enum Found {
    /// The `$` is not the beginning of a known parameter. keepalived keeps it.
    Nothing,
    /// A parameter that has no fixed value.
    Unsupported(&'static str),
    Value {
        /// The length of the parameter in bytes, without the `$`.
        length: usize,
        value: Definition,
    },
}

pub(super) struct Definitions {
    values: HashMap<String, Definition>,
    instance: String,
}

impl Definitions {
    pub(super) fn new(options: &Options) -> Self {
        let values = [("_HASH", "#"), ("_BANG", "!")];
        Self {
            values: values.map(|(name, value)| (name.to_owned(), Definition::Text(value.to_owned()))).into(),
            instance: options.config_id.clone().unwrap_or_default(),
        }
    }

    pub(super) fn set(&mut self, name: String, value: Definition) {
        self.values.insert(name, value);
    }

    /// Returns the value of the parameter at the start of a text, which follows a `$`. `file` is the current file.
    pub(super) fn find(&self, text: &str, file: &str) -> Found {
        let (has_braces, inner) = match text.strip_prefix('{') {
            Some(inner) => (true, inner),
            None => (false, text),
        };
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        if !is_name(name) {
            return Found::Nothing;
        }
        if name == "_RANDOM" && !self.values.contains_key(name) {
            return Found::Unsupported("_RANDOM");
        }
        let is_end = match has_braces {
            true => rest.starts_with('}'),
            false => rest.is_empty() || rest.starts_with([' ', '\t', ',', ')']),
        };
        if !is_end {
            return Found::Nothing;
        }
        let length = if has_braces { end + 2 } else { end };
        let value = match (self.values.get(name), name) {
            (Some(value), _) => value.clone(),
            (None, "_PWD") => Definition::Text(directory(file).to_owned()),
            (None, "_INSTANCE") => Definition::Text(self.instance.clone()),
            (None, _) => return Found::Nothing,
        };
        // A value with several lines can only be the end of a line.
        if matches!(value, Definition::Lines(_)) && length < text.len() {
            return Found::Nothing;
        }
        Found::Value { length, value }
    }

    /// Replaces the parameters of a short text, such as the limits of a sequence. Returns it with a measure of the work:
    /// the bytes of the text after each replacement.
    pub(super) fn replace_all(&self, text: &str) -> Result<(String, usize), &'static str> {
        let mut text = text.to_owned();
        let mut from = 0;
        let mut replacements = 0;
        let mut work = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find('$')).map(|found| from + found) {
            match self.find(&text[at + 1..], "") {
                Found::Value { length, value: Definition::Text(value) } => {
                    replacements += 1;
                    if replacements > 100 || text.len() > 1000 {
                        return Err("definitions contain each other without end");
                    }
                    text.replace_range(at..at + 1 + length, &value);
                    from = at;
                    work += text.len();
                }
                Found::Value { value: Definition::Lines(_), .. } => {
                    return Err("a definition with several lines cannot be used here");
                }
                Found::Unsupported(_) => return Err("$_RANDOM is not supported"),
                Found::Nothing => from = at + 1,
            }
        }
        Ok((text, work))
    }
}

fn directory(file: &str) -> &str {
    match file.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((directory, _)) => directory,
        None => ".",
    }
}
