//! Lines → global directives, and sections that begin with `virtual`.

use std::sync::Arc;

use super::section::Section;
use super::values::{GLOBAL, form_of};
use crate::convert::{Position, Report};
use crate::family::Family;

/// `NAME = VALUE`.
#[derive(Clone, Debug)]
pub(super) struct Directive<'t> {
    pub(super) name: &'t str,
    pub(super) value: &'t str,
    pub(super) position: Position,
    value_column: usize,
}

impl<'t> Directive<'t> {
    /// Reads a line without its indentation, which begins at a column.
    fn parse(line: &'t str, position: Position) -> Option<Self> {
        let (name, value) = line.split_once('=')?;
        let text = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let value_column = position.column + name.len() + 1 + (value.len() - text.len());
        let name = name.trim_end_matches(|c: char| c.is_ascii_whitespace());
        Some(Self { name, value: text, position, value_column })
    }

    /// Returns the position of the value.
    pub(super) fn at_value(&self) -> Position {
        Position { column: self.value_column, ..self.position.clone() }
    }
}

/// The contents of a file.
#[derive(Default)]
pub(super) struct File<'t> {
    pub(super) sections: Vec<Section<'t>>,
    /// The global `fallback` of each family.
    pub(super) fallbacks: Vec<(Family, Directive<'t>)>,
    pub(super) is_quiescent: bool,
    /// Whether servers can be taken out by files.
    pub(super) has_maintenance: bool,
}

pub(super) fn read<'t>(name: &str, text: &'t str, report: &mut Report) -> File<'t> {
    let name: Arc<str> = name.into();
    let mut file = File::default();
    let mut is_in_section = false;
    for (index, raw) in text.split('\n').enumerate() {
        if report.is_full() {
            break;
        }
        let position = |column| Position { file: name.clone(), line: index + 1, column };
        let body = raw.trim_start_matches([' ', '\t']);
        if body.starts_with('#') {
            continue;
        }
        let start = raw.len() - body.len();
        if is_in_section && width(&raw[..start]) >= 4 {
            // Unlike in global directives, a comment can follow a value.
            let body = body.split('#').next().unwrap_or_default();
            if let Some(section) = file.sections.last_mut().filter(|_| !body.is_empty()) {
                match Directive::parse(body, position(start + 1)) {
                    Some(directive) => section.take(directive, report),
                    None => report.error(position(start + 1), format_args!("`{}' is not a directive", body.trim_end())),
                }
                continue;
            }
            if width(&raw[..start]) > 4 {
                report.error(position(1), "ldirectord does not accept a line of more than 4 blanks here");
                continue;
            }
        }
        is_in_section = false;
        if raw.trim().is_empty() {
            continue;
        }
        if start > 0 {
            let advice =
                "an indented line must follow its `virtual' by at least 4 blanks, without an empty line between";
            report.error(position(start + 1), advice);
            // Its directives would all be errors.
            is_in_section = !file.sections.is_empty() && width(&raw[..start]) >= 4;
            continue;
        }
        let Some(directive) = Directive::parse(raw, position(1)) else {
            match raw.trim_end() {
                "supervised" => report.left(position(1), "supervised"),
                line => report.error(position(1), format_args!("`{line}' is not a directive")),
            }
            continue;
        };
        match directive.name {
            "virtual" | "virtual6" => {
                file.sections.push(Section::new(directive));
                is_in_section = true;
            }
            _ => global(directive, &mut file, report),
        }
    }
    file
}

/// Returns the width of an indentation. ldirectord replaces a tab by 4 blanks.
fn width(indentation: &str) -> usize {
    indentation.bytes().map(|byte| if byte == b'\t' { 4 } else { 1 }).sum()
}

fn global<'t>(directive: Directive<'t>, file: &mut File<'t>, report: &mut Report) {
    let name = directive.name;
    match name {
        "fallback" | "fallback6" => {
            let family = if name == "fallback" { Family::V4 } else { Family::V6 };
            file.fallbacks.retain(|(other, _)| *other != family);
            report.left(directive.position.clone(), name);
            file.fallbacks.push((family, directive));
            return;
        }
        "quiescent" => file.is_quiescent = directive.value == "yes",
        "maintenancedir" => file.has_maintenance = true,
        _ => {}
    }
    match form_of(name, GLOBAL) {
        Some(form) => {
            form.check(&directive, report);
            report.left(directive.position, name);
        }
        None => report.error(directive.position, format_args!("unknown directive `{name}'")),
    }
}
