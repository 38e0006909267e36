//! The arguments of the process.

use std::ffi::{OsStr, OsString};
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

/// Returns the value of an option of ipvsadm's language: `--long VALUE`, `--long=VALUE`, `-s VALUE` or `-sVALUE`. The
/// option may be the last letter of a group of letters (`-At VALUE`).
pub(crate) fn value_of<'w>(words: &'w [OsString], long: &str, short: Option<char>) -> Option<&'w OsStr> {
    words.iter().enumerate().find_map(|(i, word)| {
        let next = || words.get(i + 1).map(OsString::as_os_str);
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
