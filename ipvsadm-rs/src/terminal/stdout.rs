//! Standard output, in large pieces.

use std::io::{self, BufWriter, StdoutLock, Write};

const PIECE: usize = 64 * 1024;

/// Standard output. To be flushed at the end, where it shows whether everything was taken.
pub(crate) fn standard() -> BufWriter<Standard> {
    BufWriter::with_capacity(PIECE, Standard(io::stdout().lock()))
}

/// Standard output, that takes nothing if it was closed from the start: std would write to `/dev/null` then.
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
