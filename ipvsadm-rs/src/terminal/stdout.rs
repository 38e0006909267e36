//! Standard output, written in large pieces.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::terminal::text;

const PIECE: usize = 64 * 1024;

/// Returns standard output for the tables and reports of verbs, with a buffer. On a terminal, control characters are
/// escaped, except sequences that set the style. Flush it at the end, because some errors are reported only then.
pub(crate) fn standard() -> BufWriter<Screen> {
    BufWriter::with_capacity(PIECE, Screen::new(text::styled))
}

/// Returns standard output for the listings and messages of ipvsadm, with a buffer. On a terminal, control characters
/// are escaped. A pipe or a file gets the bytes that ipvsadm 1.31 would write. Flush it at the end.
pub(crate) fn classic() -> BufWriter<Screen> {
    BufWriter::with_capacity(PIECE, Screen::new(text::terminal))
}

/// Standard output. Writing fails if it was closed when the process started, whereas std would write to `/dev/null`.
struct Standard(StdoutLock<'static>);

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if crate::start::stdout_was_closed() {
            return Err(rustix::io::Errno::BADF.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard output that escapes control characters on a terminal.
pub(crate) struct Screen {
    out: Standard,
    escape: fn(&[u8]) -> Cow<'_, str>,
    /// Whether it is a terminal. `None` before the first output.
    is_terminal: Option<bool>,
    /// The start of a character or of a style whose other bytes have not been written yet.
    rest: Vec<u8>,
}

impl Screen {
    fn new(escape: fn(&[u8]) -> Cow<'_, str>) -> Self {
        Self { out: Standard(io::stdout().lock()), escape, is_terminal: None, rest: Vec::new() }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !*self.is_terminal.get_or_insert_with(|| self.out.0.is_terminal()) {
            return self.out.write(bytes);
        }
        self.rest.extend_from_slice(bytes);
        let end = self.rest.len() - unfinished(&self.rest);
        self.out.write_all((self.escape)(&self.rest[..end]).as_bytes())?;
        self.rest.drain(..end);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all((self.escape)(&self.rest).as_bytes())?;
        self.rest.clear();
        self.out.flush()
    }
}

/// Returns the number of bytes at the end that begin a character or a style, but do not complete it.
fn unfinished(bytes: &[u8]) -> usize {
    /// The length of the longest style of this program, in bytes.
    const STYLE: usize = 16;
    let is_start = |end: &&[u8]| {
        end.starts_with(b"\x1b") && !end.contains(&b'm')
            || std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    let end = &bytes[bytes.len().saturating_sub(STYLE)..];
    (0..end.len()).map(|from| &end[from..]).find(is_start).map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    #[test]
    fn unfinished_characters() {
        for (bytes, length) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("日".as_bytes(), 0),
            (b"ab\xe6", 1),
            (b"ab\xe6\x97", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xff", 0),
            (b"\xe6a", 0),
            (b"\x97", 0),
            (b"ab\x1b[1;3", 5),
            (b"ab\x1b", 1),
            (b"ab\x1b[1mx", 0),
        ] {
            assert_eq!(super::unfinished(bytes), length, "{bytes:?}");
        }
    }
}
