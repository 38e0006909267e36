//! Standard output, written in large pieces.

use std::io::{self, BufWriter, StdoutLock, Write};

const PIECE: usize = 64 * 1024;

/// Returns standard output with a buffer. Flush it at the end, because some errors are reported only then.
pub(crate) fn standard() -> BufWriter<Standard> {
    BufWriter::with_capacity(PIECE, Standard(io::stdout().lock()))
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
