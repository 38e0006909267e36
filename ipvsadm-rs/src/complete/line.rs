//! The command line to complete.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use ipvs::Namespace;

use crate::arguments::value_of;

/// The words after the program, up to the cursor. The last one is to be completed, and may be empty.
#[derive(Debug)]
pub(crate) struct Line {
    words: Vec<OsString>,
}

impl Line {
    pub(crate) fn new(mut words: Vec<OsString>) -> Self {
        if words.is_empty() {
            words.push(OsString::new());
        }
        Self { words }
    }

    pub(super) fn words(&self) -> &[OsString] {
        &self.words
    }

    /// Returns the words before the last one.
    pub(super) fn before(&self) -> &[OsString] {
        &self.words[..self.words.len() - 1]
    }

    /// Returns the word to complete.
    pub(super) fn current(&self) -> &OsStr {
        &self.words[self.words.len() - 1]
    }

    /// Returns the value of an option in the words before the last one.
    pub(super) fn value_of(&self, long: &str, short: Option<char>) -> Option<&OsStr> {
        value_of(self.before(), long, short)
    }

    /// Returns the network namespace of the common options. `None` means that of this process.
    ///
    /// # Errors
    ///
    /// Fails if the value is not a namespace.
    pub(super) fn namespace(&self) -> Result<Option<Namespace>, ()> {
        let Some(value) = self.value_of("netns", None) else { return Ok(None) };
        value.to_str().and_then(|text| text.parse().ok()).map(Some).ok_or(())
    }

    /// Returns the directory of the journal. `None` means the default.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        self.value_of("state-dir", None).map(PathBuf::from)
    }
}
