//! Detects a standard output that was closed when the program started, and closes other inherited descriptors.
//!
//! If a standard stream is closed, std opens `/dev/null` in its place before `main`, so that writes to it seem to
//! succeed.
//! <https://github.com/rust-lang/rust/blob/1.88.0/library/std/src/sys/pal/unix/mod.rs> (`sanitize_standard_fds`)
//!
//! After that, a closed stream cannot be detected. std opens `/dev/null` with `O_RDWR`. Programs that discard the
//! output on purpose do the same, for example with `daemon(3)` or Python's `subprocess.DEVNULL`. They would fail if
//! `O_RDWR` were interpreted as a closed stream.
//!
//! Both functions need `unsafe` code, which is in the crates `ctor` and `close_fds`. Newer versions of `ctor` do not
//! compile where `unsafe_code` is forbidden (E0453): they expand to `#[allow(unsafe_code)]`.

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Returns whether standard output was closed when the program started (`program >&-`).
pub(crate) fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

/// The function that the C library (glibc or musl) calls before the program's `main`, where std starts.
// It makes one system call, and needs nothing that std initializes.
#[ctor::ctor]
fn before_main() {
    STDOUT_CLOSED.store(rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err(), Ordering::Relaxed);
}

/// Makes the kernel close all descriptors except the standard streams when this process executes another program.
///
/// std opens files in this way. Descriptors inherited from the program that started this one are different: a shell's
/// `3>&1`, or Python's `pass_fds`.
#[doc(alias = "CLOSE_RANGE_CLOEXEC")]
pub(crate) fn close_inherited_descriptors_on_exec() {
    const AFTER_STDERR: i32 = 3;
    close_fds::set_fds_cloexec_threadsafe(AFTER_STDERR, &[]);
}
