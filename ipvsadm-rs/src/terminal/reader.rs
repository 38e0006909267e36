//! The reader of standard output, which can exit before this process.

use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Waits until a time. Returns false as soon as the reader of standard output has exited.
pub(crate) fn wait_until(deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let stdout = rustix::stdio::stdout();
        // No flags: only errors are reported, and the end of the reader is one.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut fds, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) if left.is_zero() => return true,
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return false,
            Err(_) => std::thread::sleep(left),
        }
    }
}
