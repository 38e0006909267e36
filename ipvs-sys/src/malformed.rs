//! Bytes that make no sense.

use std::fmt;

/// Bytes that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    what: &'static str,
    attribute: Option<&'static str>,
}

impl Malformed {
    /// What about them makes none.
    pub const fn new(what: &'static str) -> Self {
        Self { what, attribute: None }
    }

    /// Name the innermost attribute that it happened in.
    pub(crate) fn inside(mut self, attribute: &'static str) -> Self {
        self.attribute.get_or_insert(attribute);
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attribute {
            Some(attribute) => write!(f, "{} in {attribute}", self.what),
            None => f.write_str(self.what),
        }
    }
}

impl std::error::Error for Malformed {}
