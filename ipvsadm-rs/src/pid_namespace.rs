//! The PID namespace of this process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// Returns whether this process is in the first PID namespace, which contains all processes. Fails if /proc is not
/// mounted, or if the kernel has no PID namespaces.
pub(crate) fn is_first() -> io::Result<bool> {
    /// `PROC_PID_INIT_INO`, <https://elixir.bootlin.com/linux/v6.12/source/include/linux/proc_ns.h>
    const FIRST: u64 = 0xEFFF_FFFC;
    Ok(fs::metadata("/proc/self/ns/pid")?.ino() == FIRST)
}
