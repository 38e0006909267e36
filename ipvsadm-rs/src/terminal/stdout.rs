//! Standard output, written in large pieces.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::terminal::text;

const PIECE: usize = 64 * 1024;

/// Returns standard output with a buffer. Flush it at the end, because some errors are reported only then.
pub(crate) fn standard() -> BufWriter<Standard> {
    BufWriter::with_capacity(PIECE, Standard(io::stdout().lock()))
}

/// Returns standard output for the listings and messages of ipvsadm, with a buffer. On a terminal, control characters
/// are escaped. A pipe or a file gets the bytes that ipvsadm 1.31 would write.
pub(crate) fn classic() -> BufWriter<Classic> {
    BufWriter::with_capacity(PIECE, Classic { out: Standard(io::stdout().lock()), is_terminal: None, rest: Vec::new() })
}

/// Standard output. Writing fails if it was closed when the process started, whereas std would write to `/dev/null`.
pub(crate) struct Standard(StdoutLock<'static>);

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if ipvs_sys::start::stdout_was_closed() {
            return Err(rustix::io::Errno::BADF.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard output that escapes control characters on a terminal.
pub(crate) struct Classic {
    out: Standard,
    /// Whether it is a terminal. `None` before the first output.
    is_terminal: Option<bool>,
    /// The start of a character whose other bytes have not been written yet.
    rest: Vec<u8>,
}

impl Write for Classic {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !*self.is_terminal.get_or_insert_with(|| self.out.0.is_terminal()) {
            return self.out.write(bytes);
        }
        self.rest.extend_from_slice(bytes);
        let end = self.rest.len() - unfinished(&self.rest);
        self.out.write_all(text::terminal(&self.rest[..end]).as_bytes())?;
        self.rest.drain(..end);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(text::terminal(&self.rest).as_bytes())?;
        self.rest.clear();
        self.out.flush()
    }
}

/// Returns the number of bytes at the end that begin a character but do not complete it: 0 to 3.
fn unfinished(bytes: &[u8]) -> usize {
    let is_start = |end: &&[u8]| {
        std::str::from_utf8(end).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    let end = &bytes[bytes.len().saturating_sub(3)..];
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
        ] {
            assert_eq!(super::unfinished(bytes), length, "{bytes:?}");
        }
    }
}
