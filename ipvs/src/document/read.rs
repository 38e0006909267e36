//! Errors and warnings of a document, each with its place.

use std::fmt;

use crate::change::Change;
use crate::rules::ConfigWarning;
use crate::state::Config;

/// An invalid value of a document, with its place: `services[2].destinations[0]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentError {
    /// The path of the value: `services[2].destinations[0]`.
    pub path: String,
    /// The reason why the value is invalid.
    pub what: String,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

impl std::error::Error for DocumentError {}

/// The desired table, and its warnings, each with the path of its value.
pub type ReadDocument = (Config, Vec<(String, ConfigWarning)>);

/// The errors and warnings found so far. They are collected, so that they can be reported together.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<DocumentError>,
    pub(super) doubts: Vec<(String, ConfigWarning)>,
}

impl Reader {
    pub(super) fn error(&mut self, path: &str, what: impl fmt::Display) {
        self.errors.push(DocumentError { path: path.to_owned(), what: what.to_string() });
    }

    pub(super) fn doubt(&mut self, path: &str, doubt: ConfigWarning) {
        self.doubts.push((path.to_owned(), doubt));
    }

    /// Returns the value of `Ok`. For `Err`, records the error and returns `None`.
    pub(super) fn keep<T, E: fmt::Display>(&mut self, path: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|what| self.error(path, what)).ok()
    }

    /// Records the error or the warnings of the change that would make a value.
    pub(super) fn check(&mut self, path: &str, change: &Change) {
        if self.keep(path, change.validate_with_names()).is_some() {
            for warning in change.warnings() {
                self.doubt(path, ConfigWarning::Change(warning));
            }
        }
    }
}
