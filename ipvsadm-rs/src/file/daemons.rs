//! Configurations of keepalived and ldirectord.

use std::collections::HashMap;
use std::path::Path;

use ipvs::convert::{ConvertError, Converted, NoteKind, Position};
use ipvs::keepalived;
use ipvs::ldirectord;

use crate::file::diagnostic::{Diagnostic, SourceText};
use crate::file::include::Files;
use crate::file::limit::Limit;
use crate::file::{Found, name_of};
use crate::host_name::host_name;
use crate::resolver::System;

/// Options for configurations of keepalived.
#[derive(Clone, Debug, Default)]
pub(crate) struct DaemonOptions {
    /// The word of lines with `@WORD`. `None`: the first part of the host name, as in keepalived.
    pub(crate) config_id: Option<String>,
    /// The maximum size of the file with its included files.
    pub(crate) limit: Limit,
    /// The file comes from another machine. It must not include files of this one.
    pub(crate) is_remote: bool,
}

/// The option for conditional lines of keepalived.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ConfigId {
    /// Use the lines of keepalived.conf that begin with `@ID` [default: the first part of the host name]
    ///
    /// The option --config-id of keepalived has the same meaning.
    #[arg(long, value_name = "ID")]
    config_id: Option<String>,
}

impl ConfigId {
    pub(crate) fn options(&self, limit: Limit) -> DaemonOptions {
        DaemonOptions { config_id: self.config_id.clone(), limit, is_remote: false }
    }
}

impl DaemonOptions {
    fn config_id(&self) -> String {
        self.config_id.clone().unwrap_or_else(|| host_name().split('.').next().unwrap_or_default().to_owned())
    }
}

pub(super) fn keepalived(path: &Path, bytes: &[u8], options: &DaemonOptions) -> Found {
    let mut files = Files::new(options.limit, bytes.len());
    files.is_remote = options.is_remote;
    let name = path.to_string_lossy();
    let read =
        keepalived::read(&name, bytes, &keepalived::Options::default().config_id(options.config_id()), &mut files);
    let sources = Sources { main: &name, bytes, files: &files.read };
    found(read.map_err(|errors| errors.into_iter().collect()), &sources)
}

pub(super) fn ldirectord(path: &Path, bytes: &[u8]) -> Found {
    let name = path.to_string_lossy();
    let read = ldirectord::read(&name, bytes, &mut System::default());
    let sources = Sources { main: &name, bytes, files: &HashMap::new() };
    found(read.map_err(|errors| errors.into_iter().collect()), &sources)
}

/// The files that positions are in.
struct Sources<'f> {
    main: &'f str,
    bytes: &'f [u8],
    files: &'f HashMap<String, Vec<u8>>,
}

impl Sources<'_> {
    /// Creates diagnostics from messages with positions.
    fn place<'m>(&self, messages: impl Iterator<Item = (&'m Position, &'m str)>) -> Vec<Diagnostic> {
        let main = SourceText::new(self.bytes);
        let mut included: HashMap<&str, SourceText<'_>> = HashMap::new();
        let at = |(position, message): (&Position, &str)| {
            let Position { file, line, column } = position;
            // The reason of an `Include` can end with a hint.
            let (message, hint) = message.split_once('\n').unwrap_or((message, ""));
            let hint = (!hint.is_empty()).then(|| hint.to_owned());
            if **file == *self.main {
                return main.at(*line, *column, message).with_hint(hint);
            }
            let name = name_of(Path::new(&**file));
            match self.files.get_key_value(&**file) {
                Some((key, bytes)) => {
                    let text = included.entry(key).or_insert_with(|| SourceText::new(bytes));
                    text.at(*line, *column, message).with_hint(hint).in_file(name)
                }
                None => Diagnostic::about_all(message).with_hint(hint).in_file(name),
            }
        };
        messages.map(at).collect()
    }
}

fn found(read: Result<Converted, Vec<ConvertError>>, sources: &Sources<'_>) -> Found {
    match read {
        Err(errors) => sources.place(errors.iter().map(|error| (&error.position, &*error.message))).into(),
        Ok(Converted { config, managed, notes }) => {
            let of_kind = |kind| {
                let notes = notes.iter().filter(move |note| note.kind == kind);
                sources.place(notes.map(|note| (&note.position, &*note.text)))
            };
            // A file with VRRP only has no services, too, and is not a request to delete all.
            let is_blank = config == ipvs::Config::default();
            let (left, adjusted) = (of_kind(NoteKind::Left), of_kind(NoteKind::Adjusted));
            Found { left, adjusted, managed, is_blank, ..Found::new(Ok(config)) }
        }
    }
}
