//! Files that say what a director should hold: rules as ipvsadm saves them, JSON, TOML.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use ipvs::Config;
use ipvs::document::{Document, DocumentProblem};
use ipvs::rules;
use serde::de::IgnoredAny;

use crate::diagnostics::Diagnostic;
use crate::failure::say;
use crate::locate;
use crate::names::System;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// ipvsadm's lines
    Rules,
    /// A JSON document
    Json,
    /// A TOML document
    Toml,
}

/// A file that has been read.
#[derive(Debug)]
pub(crate) struct Input {
    /// Its name, for messages.
    pub(crate) name: String,
    /// What it asks for, unless something in it is wrong.
    pub(crate) config: Result<Config, Vec<Diagnostic>>,
    /// What in it was hardly meant.
    pub(crate) warnings: Vec<Diagnostic>,
    /// There is no word in it: more likely something has gone wrong than that nothing is wanted.
    pub(crate) is_blank: bool,
}

/// Read a file, or standard input for `-`.
pub(crate) fn read(path: &str, format: Option<Format>) -> anyhow::Result<Input> {
    let (name, bytes) = match path {
        "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            ("standard input".to_owned(), bytes)
        }
        path => (path.to_owned(), std::fs::read(path).with_context(|| format!("cannot read {path}"))?),
    };
    let format = format.unwrap_or_else(|| guess(path, &bytes));
    let Found { config, warnings, is_blank } = match format {
        Format::Rules => read_rules(&bytes),
        Format::Json | Format::Toml => read_document(&bytes, format),
    };
    Ok(Input { name, config, warnings, is_blank })
}

impl Input {
    /// What the file asks for; what is hardly meant is said, what is wrong ends it.
    pub(crate) fn into_config(self) -> anyhow::Result<Config> {
        for warning in &self.warnings {
            say(&warning.show(&self.name, "warning"));
        }
        match self.config {
            Ok(config) => Ok(config),
            Err(errors) => {
                for error in &errors {
                    say(&error.show(&self.name, "error"));
                }
                anyhow::bail!("{}: nothing was changed", count(errors.len(), "error"))
            }
        }
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The form by the name's ending, else by how the text begins.
fn guess(path: &str, bytes: &[u8]) -> Format {
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("json") => return Format::Json,
        Some("toml") => return Format::Toml,
        _ => {}
    }
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with('#'));
    match first {
        Some(line) if line.starts_with('{') => Format::Json,
        Some(line) if line.starts_with('[') || (line.contains('=') && !line.starts_with('-')) => Format::Toml,
        _ => Format::Rules,
    }
}

struct Found {
    config: Result<Config, Vec<Diagnostic>>,
    warnings: Vec<Diagnostic>,
    is_blank: bool,
}

impl From<Vec<Diagnostic>> for Found {
    fn from(errors: Vec<Diagnostic>) -> Self {
        Self { config: Err(errors), warnings: Vec::new(), is_blank: false }
    }
}

fn read_rules(bytes: &[u8]) -> Found {
    let text = String::from_utf8_lossy(bytes);
    match rules::read_config(bytes, &mut System::default()) {
        Ok(read) => {
            let warnings = read.warnings.iter();
            let warnings = warnings.map(|warning| Diagnostic::at(&text, warning.number, 1, &warning.what)).collect();
            Found { config: Ok(read.config), warnings, is_blank: read.lines == 0 }
        }
        Err(errors) => {
            let errors = errors.iter();
            let errors = errors.map(|error| Diagnostic::at(&text, error.number, error.column, &error.problem));
            errors.collect::<Vec<_>>().into()
        }
    }
}

fn read_document(bytes: &[u8], format: Format) -> Found {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return vec![Diagnostic::about_all(error)].into(),
    };
    let document: Result<Document, Vec<Diagnostic>> = match format {
        Format::Json => serde_json::from_str(text).map_err(|error| {
            // Its own words end with the place, which is told beside them.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            vec![Diagnostic::at(text, error.line(), error.column().max(1), message)]
        }),
        Format::Toml | Format::Rules => toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            vec![Diagnostic::at_offset(text, offset, error.message())]
        }),
    };
    let place = |path: &str| match format {
        Format::Json => locate::in_json(text, path),
        Format::Toml | Format::Rules => locate::in_toml(text, path),
    };
    let at = |path: &str, what: &dyn std::fmt::Display| match place(path) {
        Some(offset) => Diagnostic::at_offset(text, offset, format_args!("{path}: {what}")),
        None => Diagnostic::about_all(format_args!("{path}: {what}")),
    };
    match document.map(|document| document.to_config()) {
        Ok(Ok((config, doubts))) => Found {
            config: Ok(config),
            warnings: doubts.iter().map(|(path, doubt)| at(path, doubt)).collect(),
            is_blank: has_no_key(text, format),
        },
        Ok(Err(problems)) => {
            let problems = problems.iter().map(|DocumentProblem { path, what }| at(path, what));
            problems.collect::<Vec<_>>().into()
        }
        Err(errors) => errors.into(),
    }
}

/// Whether a document is none but in form. One that says `"services": []` says something.
fn has_no_key(text: &str, format: Format) -> bool {
    type Keys = HashMap<String, IgnoredAny>;
    let keys: Option<Keys> = match format {
        Format::Json => serde_json::from_str(text).ok(),
        Format::Toml | Format::Rules => toml::from_str(text).ok(),
    };
    keys.is_some_and(|keys| keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        for (path, text, format) in [
            ("x.json", "", Format::Json),
            ("x.toml", "-A", Format::Toml),
            ("-", "\n# c\n  {\"schema\": 1}", Format::Json),
            ("-", "# web\n[[services]]", Format::Toml),
            ("-", "schema = 1", Format::Toml),
            ("-", "-A -t=192.0.2.1:80", Format::Rules),
            ("rules", "ipvsadm -C\n", Format::Rules),
            ("rules", "", Format::Rules),
        ] {
            assert_eq!(guess(path, text.as_bytes()), format, "{path} {text:?}");
        }
    }

    #[test]
    fn nothing_is_told_from_an_empty_table() {
        for (text, format, is_blank) in [
            ("", Format::Rules, true),
            ("# web\n\n  \n", Format::Rules, true),
            ("--set 900 0 0\n", Format::Rules, false),
            ("{}", Format::Json, true),
            ("{\"services\": []}", Format::Json, false),
            ("# web\n", Format::Toml, true),
            ("services = []\n", Format::Toml, false),
        ] {
            let found = if format == Format::Rules {
                read_rules(text.as_bytes())
            } else {
                read_document(text.as_bytes(), format)
            };
            assert_eq!((found.config.is_ok(), found.is_blank), (true, is_blank), "{text:?}");
        }
    }

    fn errors(text: &str, format: Format) -> Vec<String> {
        let found =
            if format == Format::Rules { read_rules(text.as_bytes()) } else { read_document(text.as_bytes(), format) };
        found.config.expect_err("wrong").iter().map(|error| error.show("f", "error")).collect()
    }

    #[test]
    fn mistakes_have_places() {
        assert_eq!(
            errors("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r nowhere -m\n", Format::Rules),
            ["f:2:23: error: illegal real server address[:port] specified: no such host\n    \
              -a -t 192.0.2.1:80 -r nowhere -m\n                          ^"]
        );
        assert_eq!(
            errors("[[services]]\nfwmark = 0\n", Format::Toml),
            [
                "f:1:1: error: services[0]: a service has either protocol, address and port, or a fwmark that is not 0\n    \
              [[services]]\n    ^"
            ]
        );
        assert_eq!(
            errors("{\"services\": [{\"fwmark\": 1, \"weigth\": 3}]}", Format::Json)[0].lines().next().expect("a line"),
            "f:1:36: error: unknown field `weigth`, expected one of `protocol`, `address`, `port`, `fwmark`, `family`, \
             `scheduler`, `flags`, `persistence`, `netmask`, `engine`, `one_packet`, `stats`, `unknown_attributes`, \
             `destinations`"
        );
    }
}
