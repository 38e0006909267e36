//! Waiting for signals, for the end of a pipe, and for the deadline.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::signal::{
    SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::low_level::{pipe, signal_name};

/// Signals that end a process by default, except those of a fault of the program.
const ENDING: [i32; 10] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU];

/// Signals of a failed write. The write returns an error.
const OF_WRITES: [i32; 2] = [SIGPIPE, SIGXFSZ];

/// An event of [`Events::wait`].
pub(super) enum Event {
    /// A signal that ends a process by default, with its name.
    Signal(&'static str),
    /// The descriptor is at its end.
    Closed,
    /// The time limit.
    Time,
}

/// The events of a rollback timer: signals, the end of the program that makes the changes, and the deadline.
pub(super) struct Events {
    /// Readable after a signal.
    pipe: UnixStream,
    /// The number of the last signal. 0 after it was returned.
    last: Arc<AtomicUsize>,
}

impl Events {
    /// Catches the signals that would end this process.
    pub(super) fn catch() -> io::Result<Self> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let last = Arc::default();
        for signal in ENDING {
            signal_hook::flag::register_usize(signal, Arc::clone(&last), signal as usize)?;
            // After the flag, because handlers run in this order.
            pipe::register(signal, writer.try_clone()?)?;
        }
        for signal in OF_WRITES {
            signal_hook::flag::register(signal, Arc::default())?;
        }
        Ok(Self { pipe, last })
    }

    /// Waits for the next signal, or until `input` is at its end, for at most `limit`. Bytes from `input` are
    /// discarded.
    pub(super) fn wait(&self, input: Option<BorrowedFd<'_>>, limit: Duration) -> io::Result<Event> {
        let start = Instant::now();
        loop {
            // Emptied before the flag is read, so that no signal is lost.
            while rustix::io::read(&self.pipe, &mut [0; 64]).is_ok_and(|length| length > 0) {}
            if let signal @ 1.. = self.last.swap(0, Ordering::SeqCst) {
                let name = i32::try_from(signal).ok().and_then(signal_name);
                return Ok(Event::Signal(name.unwrap_or("a signal")));
            }
            let rest = limit.saturating_sub(start.elapsed());
            let timeout = Timespec::try_from(rest).map_err(io::Error::other)?;
            let mut waiting = vec![PollFd::new(&self.pipe, PollFlags::IN)];
            waiting.extend(input.map(|input| PollFd::from_borrowed_fd(input, PollFlags::IN)));
            match poll(&mut waiting, Some(&timeout)) {
                Ok(0) => return Ok(Event::Time),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if let (Some(input), Some(polled)) = (input, waiting.get(1)) {
                let read = |fd| rustix::io::read(fd, &mut [0; 64]);
                if !polled.revents().is_empty() && matches!(read(input), Ok(0) | Err(_)) {
                    return Ok(Event::Closed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn waits_for_each_event_once() {
        let events = Events::catch().expect("handlers");
        let (mut writer, input) = UnixStream::pair().expect("sockets");
        let wait = |limit| events.wait(Some(input.as_fd()), Duration::from_millis(limit)).expect("poll");
        assert!(matches!(wait(1), Event::Time));
        for signal in [SIGUSR1, SIGPIPE] {
            signal_hook::low_level::raise(signal).expect("a signal");
        }
        assert!(matches!(wait(60_000), Event::Signal("SIGUSR1")));
        writer.write_all(b"x").expect("a reader");
        assert!(matches!(wait(50), Event::Time), "bytes are discarded");
        drop(writer);
        assert!(matches!(wait(60_000), Event::Closed));
    }
}
