//! Files that describe a table: rules, JSON, TOML, and configurations of keepalived and ldirectord.

mod daemons;
pub(crate) mod diagnostic;
pub(crate) mod directory;
mod include;
pub(crate) mod limit;
pub(crate) mod open;
mod position;
mod salvage;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use ipvs::Config;
use ipvs::convert::Managed;
use ipvs::document::{Document, DocumentError};
use ipvs::rules::{self, LineError};
use serde::de::IgnoredAny;

pub(crate) use crate::file::daemons::{ConfigId, DaemonOptions};
use crate::file::diagnostic::{Diagnostic, SourceText, print_all};
use crate::file::limit::Limit;
use crate::hints;
use crate::resolver::System;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::text;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// Lines as ipvsadm-save writes them
    Rules,
    /// JSON, as `show --json` prints it
    Json,
    /// TOML, with the keys of the JSON format
    Toml,
    /// Configuration of keepalived (keepalived.conf)
    Keepalived,
    /// Configuration of ldirectord (ldirectord.cf)
    Ldirectord,
}

/// The contents of a file.
#[derive(Debug)]
pub(crate) struct Input {
    /// The name of the file, for messages.
    pub(crate) name: String,
    /// The table that it describes, or the errors in it.
    pub(crate) config: Result<Config, Vec<Diagnostic>>,
    /// Settings that are valid but probably unintended.
    pub(crate) warnings: Vec<Diagnostic>,
    /// The settings of keepalived or ldirectord that have no counterpart in a table.
    pub(crate) left: Vec<Diagnostic>,
    /// The settings that keepalived or ldirectord does not use as they are written.
    pub(crate) adjusted: Vec<Diagnostic>,
    /// The changes that keepalived or ldirectord makes when checks fail, for each service.
    pub(crate) managed: Vec<Managed>,
    /// Whether the file contains no rules. This is more likely a mistake than a request for an empty table.
    pub(crate) is_blank: bool,
    /// The format that was specified or detected.
    pub(crate) format: Format,
    /// The detected format. `None` if the format is certain.
    doubtful_format: Option<Format>,
    /// The kind of file that it looks like, and the way to get a file that can be read.
    other_kind: Option<&'static str>,
}

/// Reads a file, or standard input for `-`. Fails if it is longer than the limit of the options. The others are for
/// configurations of keepalived.
pub(crate) fn read(path: &Path, format: Option<Format>, options: &DaemonOptions) -> anyhow::Result<Input> {
    Ok(parse(path, format, &read_bytes(path, options.limit)?, options))
}

/// Reads the contents of a file, or of standard input for `-`. Fails if it is longer than `limit`.
pub(crate) fn read_bytes(path: &Path, limit: Limit) -> anyhow::Result<Vec<u8>> {
    read_to_end(path, limit).with_context(|| format!("cannot read {}", name_of(path)))
}

/// Parses the contents of a file. The options are for configurations of keepalived.
pub(crate) fn parse(path: &Path, format: Option<Format>, bytes: &[u8], options: &DaemonOptions) -> Input {
    let bytes = hints::file::without_mark(bytes);
    let (format, is_sure) = format.map_or_else(|| detect(path, bytes), |format| (format, true));
    let Found { config, warnings, is_blank, left, adjusted, managed } = match format {
        Format::Rules => read_rules(bytes),
        Format::Json | Format::Toml => read_document(bytes, format),
        Format::Keepalived => daemons::keepalived(path, bytes, options),
        Format::Ldirectord => daemons::ldirectord(path, bytes),
    };
    let is_of_daemon = format.program().is_some();
    let other_kind = if config.is_err() && !is_of_daemon { hints::file::looks_like(bytes) } else { None };
    let doubtful_format = (!is_sure && other_kind.is_none()).then_some(format);
    Input {
        name: name_of(path),
        config,
        warnings,
        left,
        adjusted,
        managed,
        is_blank,
        format,
        doubtful_format,
        other_kind,
    }
}

/// Parses the contents of a file. If it has errors, prints them and skips the services that have them. Returns the rest
/// and the number of errors. If nothing of the file can be used, the result is the same as that of [`parse`].
pub(crate) fn parse_skipping_errors(
    path: &Path,
    format: Option<Format>,
    bytes: &[u8],
    options: &DaemonOptions,
) -> (Input, usize) {
    let mut input = parse(path, format, bytes, options);
    let Err(errors) = &input.config else { return (input, 0) };
    let count = errors.len();
    let rest = match format.unwrap_or_else(|| detect(path, bytes).0) {
        Format::Rules => Some(salvage::from_rules(bytes)),
        Format::Keepalived | Format::Ldirectord => None,
        format => {
            let document = std::str::from_utf8(bytes).ok().and_then(|text| parse_document(text, format).ok());
            document.and_then(salvage::from_document)
        }
    };
    let Some(rest) = rest.filter(|rest| *rest != Config::default()) else { return (input, 0) };
    input.print_diagnostics();
    input.config = Ok(rest);
    (input, count)
}

/// Returns the name of a file for messages. Hidden characters are escaped.
pub(crate) fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { text::path(path).into_owned() }
}

fn read_to_end(path: &Path, limit: Limit) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        limit.read_to_end(io::stdin().lock(), &mut bytes)
    } else {
        limit.read_to_end(open::input(path)?, &mut bytes)
    };
    match read {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(io::Error::new(error.kind(), format!("{error}\nTo read more, use --max-input.")))
        }
        read => read.map(|()| bytes),
    }
}

impl Input {
    /// Prints all warnings and errors.
    pub(crate) fn print_diagnostics(&self) {
        print_all(&self.warnings, &self.name, "warning");
        print_all(&self.adjusted, &self.name, "note");
        if let Err(errors) = &self.config {
            // The lines of a file of another kind are not worth a message each.
            let shown = if self.other_kind.is_some() { &errors[..errors.len().min(1)] } else { errors };
            print_all(shown, &self.name, "error");
            // Errors are misleading if the file has another format.
            if let Some(hint) = self.other_kind {
                print_error(hint);
            }
            if let Some(format) = self.doubtful_format {
                print_error(&format!("{}: the file was read as {}", self.name, format.name()));
                print_error("Use --format if it has another format.");
            }
        }
    }

    /// Prints the number of settings that are left to keepalived or ldirectord, if there are any.
    pub(crate) fn print_left(&self) {
        if let (Some(program), Ok(_), false) = (self.format.program(), &self.config, self.left.is_empty()) {
            let verb = if self.left.len() == 1 { "is" } else { "are" };
            let left = count(self.left.len(), "setting");
            print_error(&format!("note: {}: {left} {verb} left to {program}; `convert` lists them", self.name));
        }
    }

    /// Prints all warnings and errors, and the number of settings that are left to a daemon. Returns the table, or
    /// fails with [`HasErrors`].
    pub(crate) fn into_config(self) -> anyhow::Result<Config> {
        self.print_diagnostics();
        self.print_left();
        let name = self.name;
        self.config.map_err(|errors| HasErrors { name, count: errors.len() }.into())
    }
}

/// The error for a file that has errors, which were printed.
#[derive(Debug)]
pub(crate) struct HasErrors {
    name: String,
    count: usize,
}

impl fmt::Display for HasErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, count(self.count, "error"))
    }
}

impl std::error::Error for HasErrors {}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Json => "JSON",
            Self::Toml => "TOML",
            Self::Keepalived => "a configuration of keepalived",
            Self::Ldirectord => "a configuration of ldirectord",
        }
    }

    /// Returns the program whose configuration this is. `None`: the file is only for tables.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Self::Rules | Self::Json | Self::Toml => None,
            Self::Keepalived => Some("keepalived"),
            Self::Ldirectord => Some("ldirectord"),
        }
    }
}

/// Detects the format from the extension of the name. Without a known extension, detects it from the first line that is
/// neither blank nor a comment. Returns the format and whether it is certain.
fn detect(path: &Path, bytes: &[u8]) -> (Format, bool) {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => return (Format::Json, true),
        Some("toml") => return (Format::Toml, true),
        _ => {}
    }
    match path.file_name().and_then(|name| name.to_str()) {
        Some("keepalived.conf") => return (Format::Keepalived, true),
        Some("ldirectord.cf") => return (Format::Ldirectord, true),
        _ => {}
    }
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with('#'));
    let is_script = hints::file::is_script(bytes);
    match first.map_or((Format::Rules, true), |line| format_of(line, is_script)) {
        (_, false) if !is_script && hints::file::is_keepalived(&text) => (Format::Keepalived, true),
        (_, false) if !is_script && hints::file::is_ldirectord(&text) => (Format::Ldirectord, true),
        found => found,
    }
}

/// Returns the format and whether it is certain, from the first line that is neither blank nor a comment.
fn format_of(line: &str, is_script: bool) -> (Format, bool) {
    let is_key = |text: &str| {
        let text = text.trim();
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    let first_word = line.split_ascii_whitespace().next().unwrap_or_default();
    if first_word == "ipvsadm" || line.starts_with('-') {
        return (Format::Rules, true);
    }
    if let Some(rest) = line.strip_prefix('[') {
        let table = rest.strip_prefix('[').unwrap_or(rest).split_once(']');
        let is_table = table.is_some_and(|(key, _)| is_key(key) && key.contains(|c: char| c.is_ascii_alphabetic()));
        return if is_table { (Format::Toml, true) } else { (Format::Json, false) };
    }
    match line.split_once('=') {
        _ if line.starts_with('{') => (Format::Json, true),
        Some((key, _)) if is_key(key) && !is_script => (Format::Toml, false),
        _ => (Format::Rules, false),
    }
}

struct Found {
    config: Result<Config, Vec<Diagnostic>>,
    warnings: Vec<Diagnostic>,
    is_blank: bool,
    left: Vec<Diagnostic>,
    adjusted: Vec<Diagnostic>,
    managed: Vec<Managed>,
}

impl Found {
    fn new(config: Result<Config, Vec<Diagnostic>>) -> Self {
        let (warnings, left, adjusted, managed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { config, warnings, is_blank: false, left, adjusted, managed }
    }
}

impl From<Vec<Diagnostic>> for Found {
    fn from(errors: Vec<Diagnostic>) -> Self {
        Self::new(Err(errors))
    }
}

fn read_rules(bytes: &[u8]) -> Found {
    let text = SourceText::new(bytes);
    match rules::read_config(bytes, &mut System::default()) {
        Ok(read) => {
            let warnings = read.warnings.iter().map(|(line, warning)| text.at(*line, 1, warning));
            Found { warnings: warnings.collect(), is_blank: read.lines == 0, ..Found::new(Ok(read.config)) }
        }
        Err(errors) => {
            let at = |error: &LineError| {
                text.at(error.number, error.column, &error.error).with_hint(hints::for_line(error, &text))
            };
            errors.iter().map(at).collect::<Vec<_>>().into()
        }
    }
}

fn read_document(bytes: &[u8], format: Format) -> Found {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return vec![Diagnostic::about_all(error)].into(),
    };
    let document = match parse_document(text, format) {
        Ok(document) => document,
        Err(error) => return vec![error].into(),
    };
    match document.to_config() {
        Ok((config, warnings)) => {
            let warnings: Vec<_> = warnings.iter().map(|(path, warning)| (path.as_str(), warning)).collect();
            let warnings = place(text, format, &warnings);
            Found { warnings, is_blank: has_no_key(text, format), ..Found::new(Ok(config)) }
        }
        Err(problems) => {
            let problems: Vec<_> = problems.iter().map(|DocumentError { path, what }| (path.as_str(), what)).collect();
            place(text, format, &problems).into()
        }
    }
}

fn parse_document(text: &str, format: Format) -> Result<Document, Diagnostic> {
    let lines = SourceText::new(text.as_bytes());
    match format {
        Format::Json => serde_json::from_str(text).map_err(|error| {
            let (message, hint) = hints::in_words(&error.to_string());
            lines.at(error.line(), error.column().max(1), message).with_hint(hint)
        }),
        _ => toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let (message, hint) = hints::in_words(error.message());
            lines.at_offset(offset, message).with_hint(hint)
        }),
    }
}

/// Creates diagnostics from messages about paths in a document.
fn place(text: &str, format: Format, found: &[(&str, impl fmt::Display)]) -> Vec<Diagnostic> {
    if found.is_empty() {
        return Vec::new();
    }
    let lines = SourceText::new(text.as_bytes());
    let paths: HashSet<&str> = found.iter().map(|(path, _)| *path).collect();
    let places = match format {
        Format::Json => position::in_json(text, &paths),
        _ => position::in_toml(text, &paths),
    };
    let at = |(path, what): &(&str, _)| match places.get(*path) {
        Some(offset) => lines.at_offset(*offset, format_args!("{path}: {what}")),
        None => Diagnostic::about_all(format_args!("{path}: {what}")),
    };
    found.iter().map(at).collect()
}

/// Returns whether a document has no keys at all. A document with `"services": []` has a key, and requests an empty
/// table.
fn has_no_key(text: &str, format: Format) -> bool {
    type Keys = HashMap<String, IgnoredAny>;
    let keys: Option<Keys> = match format {
        Format::Json => serde_json::from_str(text).ok(),
        _ => toml::from_str(text).ok(),
    };
    keys.is_some_and(|keys| keys.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_formats() {
        for (path, text, format, is_sure) in [
            ("x.json", "", Format::Json, true),
            ("x.toml", "-A", Format::Toml, true),
            ("-", "\n# c\n  {\"schema\": 1}", Format::Json, true),
            ("-", "# web\n[[services]]", Format::Toml, true),
            ("-", "schema = 1", Format::Toml, false),
            ("-", "-A -t=192.0.2.1:80", Format::Rules, true),
            ("-", "[services]\n", Format::Toml, true),
            ("-", "[{\"fwmark\": 1}]", Format::Json, false),
            ("-", "[\n{}]", Format::Json, false),
            ("-", "[1, 2]", Format::Json, false),
            ("rules", "ipvsadm -A -t=192.0.2.1:80 -s rr\n", Format::Rules, true),
            ("rules", "  ipvsadm\t-C\n", Format::Rules, true),
            ("rules", "iptables --to=x\n", Format::Rules, false),
            ("rules", "", Format::Rules, true),
            ("/etc/keepalived/keepalived.conf", "include x", Format::Keepalived, true),
            ("x.conf", "! web\nvirtual_server 192.0.2.1 80 {\n", Format::Keepalived, true),
            ("x.cf", "checktimeout=3\nvirtual=192.0.2.1:80\n\treal=10.0.0.1:80 gate\n", Format::Ldirectord, true),
        ] {
            assert_eq!(detect(Path::new(path), text.as_bytes()), (format, is_sure), "{path} {text:?}");
        }
    }

    #[test]
    fn distinguishes_no_rules_from_an_empty_table() {
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
        found.config.expect_err("errors").iter().map(|error| error.show("f", "error")).collect()
    }

    #[test]
    fn errors_have_positions() {
        assert_eq!(
            errors("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r nowhere -m\n", Format::Rules),
            ["f:2:23: error: illegal real server address[:port] specified: no such host\n    \
              -a -t 192.0.2.1:80 -r nowhere -m\n                          ^"]
        );
        assert_eq!(
            errors("[[services]]\nfwmark = 0\n", Format::Toml),
            [
                "f:1:1: error: services[0]: a service must have either protocol, address and port, or a fwmark greater than 0\n    \
              [[services]]\n    ^"
            ]
        );
        assert_eq!(
            errors("{\"services\": [{\"fwmark\": 1, \"weigth\": 3}]}", Format::Json)[0].lines().next().expect("a line"),
            "f:1:36: error: unknown key `weigth': expected protocol, address, port, fwmark, family, scheduler, flags, \
             persistence, netmask, engine, one_packet, stats or destinations"
        );
    }

    /// Each document would take minutes and gigabytes if it were parsed again for every warning.
    #[test]
    fn many_warnings_are_found_in_one_pass() {
        const MANY: usize = 50_000;
        let service = |i: usize, end: &str| format!("{{\"fwmark\": {}, \"scheduler\": \"ä\"}}{end}", i + 1);
        let services: String = (0..MANY).map(|i| service(i, if i + 1 < MANY { "," } else { "" })).collect();
        let json = format!("{{\"services\": [{services}]}}");
        let toml: String = (0..MANY).map(|i| format!("[[services]]\nfwmark = {}\n", i + 1)).collect();
        let wrong: String = (0..MANY).map(|i| format!("-d -t 192.0.2.1:{i} -r 10.0.0.1\n")).collect();
        let Found { warnings, .. } = read_document(json.as_bytes(), Format::Json);
        assert_eq!(warnings.len(), 2 * MANY);
        assert_eq!(
            warnings[2 * MANY - 1].column,
            15 + json.chars().count() - 17 - service(MANY - 1, "").chars().count() + 1
        );
        let Found { warnings, .. } = read_document(toml.as_bytes(), Format::Toml);
        assert_eq!((warnings.len(), warnings[MANY - 1].line), (MANY, 2 * MANY - 1));
        let errors = read_rules(wrong.as_bytes()).config;
        let errors = errors.expect_err("no services");
        assert_eq!((errors.len(), errors[MANY - 1].line), (MANY, MANY));
    }
}
