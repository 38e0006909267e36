//! Tables that are described by configuration files of other programs: [`keepalived`](crate::keepalived) and
//! [`ldirectord`](crate::ldirectord).

use std::fmt;
use std::sync::Arc;

use crate::change::{Change, Invalid};
use crate::destination::Destination;
use crate::errors::Errors;
use crate::key::{DestinationKey, ServiceKey};
use crate::state::Config;

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The name of the file, as the caller passed it or as an [`Include`](crate::keepalived::Include) returned it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1. If the text results from a definition, the column of the statement that uses it.
    pub column: usize,
}

/// Prints `FILE:LINE:COLUMN`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The table that a configuration file describes, and the settings that are not part of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Converted {
    /// The table that the program makes while all its checks succeed.
    pub config: Config,
    /// The services, in the order of [`Config::services`], with the changes that the program may make later.
    pub managed: Vec<Managed>,
    /// The settings without a counterpart in a table, and those that the program does not use as they are written. They
    /// are in the order of the files.
    pub notes: Vec<Note>,
}

/// The changes of a service that its program makes when checks fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// The service.
    pub service: ServiceKey,
    /// The position of the service in the file.
    pub position: Position,
    /// The servers that the program checks.
    pub checked: Vec<CheckedServer>,
    /// The server that is added when too few others are up (`sorry_server` of keepalived, `fallback` of ldirectord).
    /// The other servers may then be missing, also those without checks.
    pub fallback: Option<Destination>,
    /// The sum of the weights of working servers that the service needs. ldirectord has no quorum: 1.
    pub quorum: u32,
    /// The difference from [`quorum`](Self::quorum) at which the state of the quorum changes. 0: none.
    pub hysteresis: u32,
    /// If true, a server counts as failed until its first check succeeds.
    pub alpha: bool,
    /// If true, keepalived runs the scripts for failed servers when it exits.
    pub omega: bool,
}

/// A server that a program checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedServer {
    /// The server.
    pub server: DestinationKey,
    /// If true, a failed server gets weight 0. If false, it is deleted.
    pub keeps_failed: bool,
    /// If true, the result of a check sets the weight.
    pub sets_weight: bool,
}

/// A setting that is not part of the table, or not as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The position of the setting.
    pub position: Position,
    /// The reason for the note.
    pub kind: NoteKind,
    /// The setting (`delay_loop`) for [`NoteKind::Left`], otherwise a sentence.
    pub text: String,
}

/// The reason for a [`Note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteKind {
    /// The setting has no counterpart in a table: checks, scripts, VRRP.
    Left,
    /// The program uses another value than the one that is written, or none.
    Adjusted,
}

/// A part of a configuration file that is not understood, or that the program does not accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {message}")]
pub struct ConvertError {
    /// The position of the error.
    pub position: Position,
    /// The reason, without the position.
    pub message: String,
}

/// The number of errors after which reading ends.
pub(crate) const MOST_ERRORS: usize = 1000;

/// Errors and notes that are collected while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<ConvertError>,
    pub(crate) notes: Vec<Note>,
}

impl Report {
    /// Adds an error. Those after [`MOST_ERRORS`] are only announced.
    pub(crate) fn error(&mut self, position: Position, message: impl fmt::Display) {
        let message = match self.errors.len() {
            ..MOST_ERRORS => message.to_string(),
            MOST_ERRORS => format!("more than {MOST_ERRORS} errors: the others are not listed"),
            _ => return,
        };
        self.errors.push(ConvertError { position, message });
    }

    /// Returns whether there are so many errors that reading on is useless.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() > MOST_ERRORS
    }

    pub(crate) fn left(&mut self, position: Position, setting: impl fmt::Display) {
        self.notes.push(Note { position, kind: NoteKind::Left, text: setting.to_string() });
    }

    pub(crate) fn adjusted(&mut self, position: Position, sentence: impl fmt::Display) {
        self.notes.push(Note { position, kind: NoteKind::Adjusted, text: sentence.to_string() });
    }

    /// Adds an error if no kernel accepts the change. Returns whether it does.
    pub(crate) fn accepts(&mut self, change: &Change, position: &Position) -> bool {
        match change.validate_with_names() {
            Ok(()) => true,
            Err(invalid) => {
                let invalid: Invalid = invalid;
                self.error(position.clone(), invalid);
                false
            }
        }
    }

    /// Returns the table if there are no errors.
    pub(crate) fn finish(mut self, config: Config, managed: Vec<Managed>) -> Result<Converted, Errors<ConvertError>> {
        // The parts of a file are not read in its order. Included files are not compared with each other.
        let first = |position: &Position| (position.line, position.column);
        if self.errors.iter().all(|error| error.position.file == self.errors[0].position.file) {
            let listed = self.errors.len().min(MOST_ERRORS);
            self.errors[..listed].sort_by_key(|error| first(&error.position));
        }
        if self.notes.iter().all(|note| note.position.file == self.notes[0].position.file) {
            self.notes.sort_by_key(|note| first(&note.position));
        }
        let notes = self.notes;
        Errors::none_or(self.errors, || Converted { config, managed, notes })
    }
}
