//! The directives that have no counterpart in a table, and their values.

use super::lines::Directive;
use crate::convert::Report;

/// The form of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Any,
    /// At least one character.
    Text,
    /// A text in double quotes.
    Quoted,
    /// A number from 1.
    Positive,
    /// A number from 0.
    Number,
    YesOrNo,
    OneOf(&'static [&'static str]),
}

/// Returns the form of the value of a directive. `None` if the place has no such directive.
pub(super) fn form_of(name: &str, place: &[(&str, Value)]) -> Option<Value> {
    COMMON.iter().chain(place).find(|(known, _)| *known == name).map(|(_, form)| *form)
}

/// Directives of both places.
const COMMON: &[(&str, Value)] = &[
    ("checkcount", Value::Positive),
    ("checkinterval", Value::Positive),
    ("checktimeout", Value::Positive),
    ("cleanstop", Value::YesOrNo),
    ("emailalert", Value::Text),
    ("emailalertfreq", Value::Number),
    ("emailalertstatus", Value::Any),
    ("failurecount", Value::Positive),
    ("fallbackcommand", Value::Text),
    ("negotiatetimeout", Value::Positive),
];

/// Global directives, except the common ones.
pub(super) const GLOBAL: &[(&str, Value)] = &[
    ("autoreload", Value::YesOrNo),
    ("callback", Value::Quoted),
    ("emailalertfrom", Value::Text),
    ("execute", Value::Any),
    ("fork", Value::YesOrNo),
    ("logfile", Value::Quoted),
    ("maintenancedir", Value::Text),
    ("quiescent", Value::YesOrNo),
    ("readdquiescent", Value::YesOrNo),
    ("smtp", Value::Text),
    ("supervised", Value::YesOrNo),
];

/// Directives of a section, except the common ones.
pub(super) const SECTION: &[(&str, Value)] = &[
    ("checkcommand", Value::Text),
    ("checkport", Value::Positive),
    ("comment", Value::Any),
    ("database", Value::Quoted),
    ("httpmethod", Value::OneOf(&["GET", "HEAD", "get", "head"])),
    ("load", Value::Quoted),
    ("login", Value::Quoted),
    ("monitorfile", Value::Any),
    ("passwd", Value::Quoted),
    ("quiescent", Value::YesOrNo),
    ("receive", Value::Quoted),
    ("request", Value::Quoted),
    ("secret", Value::Quoted),
    ("servicename", Value::Any),
    ("service", Value::OneOf(SERVICES)),
    ("smtp", Value::Text),
    ("virtualhost", Value::Any),
];

/// The protocols of checks.
const SERVICES: &[&str] = &[
    "dns",
    "ftp",
    "http",
    "https",
    "http_proxy",
    "imap",
    "imaps",
    "ldap",
    "ldaps",
    "mysql",
    "nntp",
    "none",
    "oracle",
    "pgsql",
    "pop",
    "pops",
    "radius",
    "simpletcp",
    "sip",
    "smtp",
    "submission",
];

impl Value {
    /// Reports an error if the value does not have this form.
    pub(super) fn check(self, directive: &Directive<'_>, report: &mut Report) {
        let value = directive.value.trim_end();
        let number = first_number(value);
        let (is_valid, expected) = match self {
            Self::Any => (true, String::new()),
            Self::Text => (!value.is_empty(), "a value".into()),
            Self::Quoted => {
                (value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "a text in double quotes".into())
            }
            Self::Positive => (number.is_some_and(|number| number > 0), "a number greater than 0".into()),
            Self::Number => (number.is_some(), "a number".into()),
            // ldirectord compares the value with its blanks.
            Self::YesOrNo => (matches!(directive.value, "yes" | "no"), "yes or no, without blanks after it".into()),
            Self::OneOf(words) => (words.contains(&value), words.join(", ")),
        };
        if !is_valid {
            let name = directive.name;
            report.error(directive.at_value(), format_args!("`{name}' needs {expected}"));
        }
    }
}

/// Returns the first number in a text, as ldirectord does.
pub(super) fn first_number(text: &str) -> Option<u64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = &text[start..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}
