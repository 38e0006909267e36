//! Arguments as they were given.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The name by which the program was called and what stands behind it; neither need be text.
pub(crate) struct Arguments {
    pub(crate) program: OsString,
    pub(crate) words: Vec<OsString>,
}

impl Arguments {
    /// The name by which the program was called, for messages.
    pub(crate) fn program(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// What stands behind the name.
    pub(crate) fn words(&self) -> Vec<&[u8]> {
        self.words.iter().map(|word| word.as_bytes()).collect()
    }

    /// The same for those who take text as the system has it.
    pub(crate) fn os_words(&self) -> &[OsString] {
        &self.words
    }
}
