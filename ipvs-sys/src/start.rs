//! How the program was started: what nobody can tell any more once `main` runs.
//!
//! Where a standard stream is closed, std opens `/dev/null` in its place before `main` (`sanitize_standard_fds` in
//! library/std/src/sys/pal/unix/mod.rs), and whatever is written there seems to have arrived. Others open `/dev/null` on
//! purpose, so this cannot be found out later; it has to be looked at before std does.

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether standard output was closed when the program started (`program >&-`).
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

/// Run by the C library, glibc's and musl's alike, before it calls the program's `main`, of which std's start is a part.
// SAFETY: the linker collects pointers to functions of this type in this section; this one takes none of the arguments
// that glibc gives, which the calling convention allows, and does nothing that wants a runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: a plain system call that takes any number for a descriptor.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    STDOUT_CLOSED.store(closed, Ordering::Relaxed);
}
