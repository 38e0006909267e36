//! Signals that interrupt a plan: INT, QUIT, TERM and HUP.

use std::ffi::c_int;
use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};

/// Catches these signals until it is dropped, so that the plan can be rolled back. A second INT, QUIT or TERM ends
/// the process at once. A second HUP does not, because a shell repeats the HUP of its terminal.
#[derive(Debug)]
pub(crate) struct Signals {
    /// The number of the signal that arrived last, or 0.
    caught: Arc<AtomicUsize>,
    /// Whether the next signal ends the process.
    is_over: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers. Signals that are ignored stay ignored, as nohup(1) demands for HUP.
    pub(crate) fn catch() -> io::Result<Self> {
        let signals = Self { caught: Arc::default(), is_over: Arc::default() };
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
            if is_ignored(signal) {
                continue;
            }
            // The handlers of a signal run in the order of these lines.
            flag::register_conditional_default(signal, Arc::clone(&signals.is_over))?;
            if signal != SIGHUP {
                let is_second = Arc::new(AtomicBool::new(false));
                flag::register_conditional_default(signal, Arc::clone(&is_second))?;
                flag::register(signal, is_second)?;
            }
            flag::register_usize(signal, Arc::clone(&signals.caught), signal as usize)?;
        }
        Ok(signals)
    }

    /// Returns the signal that arrived, or `None`.
    pub(crate) fn caught(&self) -> Option<Interruption> {
        match self.caught.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(Interruption(signal as c_int)),
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// Returns whether this process ignores a signal.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is bit 0.
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & 1 << (signal - 1) != 0
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interruption(c_int);

impl Interruption {
    /// Ends this process by the signal, so that its parent sees the usual status.
    pub(crate) fn end_process(self) {
        let _ = low_level::emulate_default_handler(self.0);
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", low_level::signal_name(self.0).unwrap_or("a signal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catches_signals() {
        let signals = Signals::catch().expect("handlers");
        assert!(signals.caught().is_none());
        low_level::raise(SIGTERM).expect("a signal");
        assert_eq!(signals.caught().expect("it is caught").to_string(), "interrupted by SIGTERM");
    }
}
