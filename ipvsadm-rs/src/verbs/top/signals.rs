//! Signals while the terminal is used as a screen.

use std::ffi::c_int;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH, SIGXCPU,
};
use signal_hook::{flag, low_level};

use crate::plan::signals::is_ignored;

/// The signals that end the process: those that people, terminals and service managers send, and those that a limit of
/// time sends. The others mean that the program is broken.
const ENDS: [c_int; 8] = [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2, SIGXCPU];

/// Catches signals that end, stop or continue the process, or report another size of the terminal. While the screen is
/// left, they have their usual effect.
pub(super) struct Signals {
    is_outside: Arc<AtomicBool>,
    /// The number of the signal that ends the process, or 0.
    end: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    resume: Arc<AtomicBool>,
    /// Can be read after a signal.
    wake: UnixStream,
}

impl Signals {
    /// Installs the handlers, once in a process. Signals that are ignored stay ignored.
    pub(super) fn catch() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signals = Self {
            is_outside: Arc::default(),
            end: Arc::default(),
            stop: Arc::default(),
            resume: Arc::default(),
            wake,
        };
        for signal in ENDS.into_iter().chain([SIGTSTP, SIGCONT, SIGWINCH]) {
            if is_ignored(signal) {
                continue;
            }
            // The handlers of a signal run in the order of these lines.
            match signal {
                SIGCONT => drop(flag::register(signal, Arc::clone(&signals.resume))?),
                SIGWINCH => {}
                SIGTSTP => {
                    flag::register_conditional_default(signal, Arc::clone(&signals.is_outside))?;
                    flag::register(signal, Arc::clone(&signals.stop))?;
                }
                _ => {
                    flag::register_conditional_default(signal, Arc::clone(&signals.is_outside))?;
                    flag::register_usize(signal, Arc::clone(&signals.end), signal as usize)?;
                }
            }
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Sets whether the screen is left.
    pub(super) fn set_outside(&self, is_outside: bool) {
        self.is_outside.store(is_outside, Ordering::SeqCst);
        // Signals that arrived outside had their effect.
        self.stop.store(false, Ordering::SeqCst);
        self.resume.store(false, Ordering::SeqCst);
    }

    /// Returns the signal that ends the process.
    pub(super) fn end(&self) -> Option<c_int> {
        match self.end.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal as c_int),
        }
    }

    /// Returns whether the process must stop, once for each signal.
    pub(super) fn must_stop(&self) -> bool {
        self.stop.swap(false, Ordering::SeqCst)
    }

    /// Returns whether the process was stopped and continued, once for each signal.
    pub(super) fn was_continued(&self) -> bool {
        self.resume.swap(false, Ordering::SeqCst)
    }

    /// Discards the bytes of signals that were seen.
    pub(super) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.wake.read(&mut bytes), Ok(length) if length > 0) {}
    }
}

/// Can be read after a signal.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
