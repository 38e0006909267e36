//! Errors of decoding. They have a file of their own, because the tables of attributes need them and other errors need
//! the tables.

use std::fmt;

/// Bytes from the kernel that could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    reason: &'static str,
    attribute: Option<&'static str>,
}

impl DecodeError {
    /// Returns an error with a reason such as "value too short".
    pub const fn new(reason: &'static str) -> Self {
        Self { reason, attribute: None }
    }

    /// Adds the attribute in which the error occurred, unless an inner one is named already.
    pub(crate) fn inside(mut self, attribute: &'static str) -> Self {
        self.attribute.get_or_insert(attribute);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attribute {
            Some(attribute) => write!(f, "{} in {attribute}", self.reason),
            None => f.write_str(self.reason),
        }
    }
}

impl std::error::Error for DecodeError {}
