//! The error of texts that are read as values. It has a file of its own, because keys and names need it and other
//! errors need them.

use std::fmt;

/// A text or name that is not a valid value of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(String);

impl InvalidValue {
    /// Returns the error of a text that is not `expected`.
    pub(crate) fn new(text: &str, expected: impl fmt::Display) -> Self {
        Self(format!("`{text}' is not {expected}"))
    }

    /// Returns the error of a name. `why` is the whole text.
    pub(crate) fn name(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}
