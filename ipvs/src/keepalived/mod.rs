//! keepalived's configuration: keepalived.conf → table.
//!
//! [`read`] returns the table that keepalived 2.2 makes while all its checks succeed. Checks, scripts and VRRP have no
//! counterpart in a table. They are listed as [notes](crate::convert::Note), and [`Managed`](crate::convert::Managed)
//! has what keepalived changes when a check fails. Everything that is not understood is an error.
//!
//! A short file can describe a large table. These limits keep memory and time small:
//!
//! | limit | value |
//! |---|---|
//! | bytes in a line, as in keepalived | 1022 |
//! | words in all files | 2,000,000 |
//! | lines that definitions and sequences produce | 500,000 |
//! | bytes that they produce | 16 MiB |
//! | replacements in a line | 1000 |
//! | lines with `include` | 10,000 |
//! | included files, definitions and sequences inside each other | 64 |
//! | blocks inside each other | 16 |
//! | services and servers | 300,000 |
//! | errors in the result | 1000 |
//!
//! The size of the files is limited by the caller.
//!
//! ```
//! use ipvs::keepalived::{NoIncludes, Options, read};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = b"
//! virtual_server 192.0.2.1 80 {
//!     lvs_sched wrr
//!     lvs_method NAT
//!     protocol TCP
//!     real_server 10.0.0.1 8080 {
//!         weight 3
//!         TCP_CHECK {
//!         }
//!     }
//! }";
//! let converted = read("keepalived.conf", text, &Options::default(), &mut NoIncludes)?;
//! assert_eq!(converted.config.services[0].destinations[0].to_string(), "-r 10.0.0.1:8080 -m -w 3");
//! assert_eq!(converted.notes[0].text, "TCP_CHECK");
//! # Ok(())
//! # }
//! ```

mod address;
mod definitions;
mod global;
mod group;
mod keywords;
mod limits;
mod lines;
mod sequence;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod values;
mod virtual_server;

use crate::convert::{ConvertError, Converted, Report};
use crate::errors::Errors;

use lines::Lines;

/// Settings of keepalived's command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The word that lines with `@WORD` are compared with, as `--config-id` sets it. keepalived's default is the first
    /// part of the host name. `None`: no such line applies, except those with `@^WORD`.
    pub config_id: Option<String>,
}

impl Options {
    /// Sets the word that lines with `@WORD` are compared with.
    pub fn config_id(self, config_id: impl Into<String>) -> Self {
        Self { config_id: Some(config_id.into()) }
    }
}

/// A source of included files.
pub trait Include {
    /// Returns the files that match a pattern, in the order in which they are read. None: no file matches.
    ///
    /// `pattern` is the text after `include`. It may have the wildcards of glob(3), and braces. A relative pattern
    /// begins in the directory of `from`, which is the name of the file with the line.
    ///
    /// # Errors
    ///
    /// Returns the reason if a file cannot be read, or if there are too many. It becomes a part of a [`ConvertError`].
    fn include(&mut self, pattern: &str, from: &str) -> Result<Vec<IncludedFile>, String>;
}

/// A file for a line with `include`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncludedFile {
    /// The name, for positions and for relative patterns in the file.
    pub name: String,
    /// The contents.
    pub text: Vec<u8>,
}

/// Refuses all includes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIncludes;

impl Include for NoIncludes {
    fn include(&mut self, _: &str, _: &str) -> Result<Vec<IncludedFile>, String> {
        Err("files are not included here".into())
    }
}

/// Reads a configuration file with its included files. `name` is the name of the file, for positions.
///
/// Bytes that are not UTF-8 are replaced.
///
/// # Errors
///
/// Returns all errors: unknown keywords, values that are invalid, lines that keepalived would ignore with a message, and
/// values that no kernel accepts. Reading ends at the first excess of a limit of the [module](self), and after 1000
/// errors. The last error is then about the limit.
pub fn read(
    name: &str,
    text: &[u8],
    options: &Options,
    include: &mut dyn Include,
) -> Result<Converted, Errors<ConvertError>> {
    let mut report = Report::default();
    let mut lines = Lines::new(name, text, options, include, &mut report);
    let statements = tree::read(&mut lines);
    lines.note_skipped();
    let mut table = table::Table::default();
    for statement in &statements {
        let [keyword, arguments @ ..] = &statement.words[..] else { continue };
        match &*keyword.text {
            "global_defs" => global::read(statement, &mut table, &mut report),
            "virtual_server_group" => group::read(statement, &mut table, &mut report),
            "virtual_server" => virtual_server::read(statement, &mut table, &mut report),
            word if keywords::ROOT.contains(&word) => {
                // A vrrp_instance is known by its name.
                let name: String = arguments.first().map(|name| format!(" {}", name.text)).unwrap_or_default();
                let name = if statement.block.is_some() { name } else { String::new() };
                report.left(statement.position(), format_args!("{word}{name}"));
            }
            word => report.error(statement.position(), keywords::unknown(word, keywords::ROOT)),
        }
    }
    let (config, managed) = table.finish(&mut report);
    report.finish(config, managed)
}
