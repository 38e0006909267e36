//! Detects a standard output that was closed when the program started, and closes other inherited descriptors.
//!
//! This has nothing to do with IPVS. It is in this crate because it needs `unsafe`, which the crates `ipvs` and
//! `ipvsadm-rs` forbid. A link section is the only way to run before `main`.
//!
//! If a standard stream is closed, std opens `/dev/null` in its place before `main`, so that writes to it seem to
//! succeed.
//! <https://github.com/rust-lang/rust/blob/1.88.0/library/std/src/sys/pal/unix/mod.rs> (`sanitize_standard_fds`)
//!
//! After that, a closed stream cannot be detected. std opens `/dev/null` with `O_RDWR`. Programs that discard the
//! output on purpose do the same, for example with `daemon(3)` or Python's `subprocess.DEVNULL`. They would fail if
//! `O_RDWR` were interpreted as a closed stream.

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Returns whether standard output was closed when the program started (`program >&-`).
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

/// The function that the C library (glibc or musl) calls before the program's `main`, where std starts.
// SAFETY: the linker collects pointers to functions of this type in this section. The function ignores the arguments
// that glibc passes, which the calling convention allows, and it needs no runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    // SAFETY: a system call that accepts any number as a descriptor.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    STDOUT_CLOSED.store(closed, Ordering::Relaxed);
}

/// Makes the kernel close all descriptors except the standard streams when this process executes another program.
///
/// std opens files in this way. Descriptors inherited from the program that started this one are different: a shell's
/// `3>&1`, or Python's `pass_fds`.
pub fn close_inherited_descriptors_on_exec() {
    // A descriptor that does not exist is refused with EBADF.
    for descriptor in open_descriptors().filter(|&descriptor| descriptor > libc::STDERR_FILENO) {
        // SAFETY: a system call that accepts any number as a descriptor. The flag changes nothing in this process.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

fn open_descriptors() -> impl Iterator<Item = libc::c_int> {
    let found = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    found.filter_map(|file| file.file_name().to_str()?.parse().ok())
}
