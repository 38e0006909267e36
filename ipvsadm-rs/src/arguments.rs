//! The arguments of the process.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The name of the program and its arguments. They may contain bytes that are not UTF-8.
pub(crate) struct Arguments {
    pub(crate) program: OsString,
    pub(crate) words: Vec<OsString>,
}

impl Arguments {
    /// Returns the name of the program, for messages.
    pub(crate) fn program(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Returns the arguments without the name, as bytes.
    pub(crate) fn words(&self) -> Vec<&[u8]> {
        self.words.iter().map(|word| word.as_bytes()).collect()
    }

    /// Returns the arguments without the name.
    pub(crate) fn os_words(&self) -> &[OsString] {
        &self.words
    }
}
