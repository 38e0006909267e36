//! The command line to complete.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ipvs::Namespace;

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

    /// Returns the value of an option in the words before the last one: `--long VALUE`, `--long=VALUE`, `-s VALUE` or
    /// `-sVALUE`. The option may be the last letter of a group of letters (`-At VALUE`).
    pub(super) fn value_of(&self, long: &str, short: Option<char>) -> Option<&OsStr> {
        let before = self.before();
        before.iter().enumerate().find_map(|(i, word)| {
            let next = || before.get(i + 1).map(OsString::as_os_str);
            let bytes = word.as_bytes();
            if let Some(name) = bytes.strip_prefix(b"--") {
                let rest = name.strip_prefix(long.as_bytes())?;
                return if rest.is_empty() { next() } else { rest.strip_prefix(b"=").map(OsStr::from_bytes) };
            }
            let letters = bytes.strip_prefix(b"-")?;
            let short = u8::try_from(short?).ok()?;
            let rest = match letters.split_first()? {
                (first, rest) if *first == short => rest,
                _ if letters.last() == Some(&short) && letters.iter().all(u8::is_ascii_alphanumeric) => &[],
                _ => return None,
            };
            if rest.is_empty() { next() } else { Some(OsStr::from_bytes(rest)) }
        })
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
