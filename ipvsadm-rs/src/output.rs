//! Standard output, in large pieces.

use std::io::{self, BufWriter, StdoutLock};

const PIECE: usize = 64 * 1024;

/// Standard output. To be flushed at the end, where it shows whether everything was taken.
pub(crate) fn standard() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(PIECE, io::stdout().lock())
}
