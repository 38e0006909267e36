//! The readings of a server: one serves all scrapes that come together.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use ipvs::Error;
use tokio::sync::oneshot;

use crate::verbs::metrics::reading::Reading;
use crate::verbs::metrics::scrape::{Options, Values};

/// The shortest time for which a reading serves further scrapes. The kernel updates its counters every 2 seconds.
const LIFETIME: Duration = Duration::from_secs(1);
/// The time for which a reading serves further scrapes, as a multiple of the time that it took. So clients without a
/// pause occupy at most a fifth of a processor, and the kernel's lock of the table for no longer.
const PAUSE: u32 = 4;

/// Reads the table. Returns the reading and the time that it took.
type Read = dyn FnMut() -> (Result<Reading, Error>, Duration) + Send;

/// The table, and its last reading.
pub(super) struct Reader {
    options: Options,
    read: Box<Read>,
    /// The number of failed readings.
    errors: u64,
    /// The text of the last reading, and the time up to which it serves scrapes. The text is empty if the reading failed
    /// and there is no metric for this.
    last: Option<(Bytes, Instant)>,
}

impl Reader {
    pub(super) fn new(
        options: Options,
        read: impl FnMut() -> (Result<Reading, Error>, Duration) + Send + 'static,
    ) -> Self {
        Self { options, read: Box::new(read), errors: 0, last: None }
    }

    /// Returns the text of a recent reading. Reads the table if there is none. This blocks the thread.
    fn text(&mut self) -> Bytes {
        match &self.last {
            Some((text, end)) if Instant::now() < *end => text.clone(),
            _ => self.read_again().0,
        }
    }

    /// Reads the table. Returns the error if this failed.
    pub(super) fn read(&mut self) -> Option<Error> {
        self.read_again().1
    }

    fn read_again(&mut self) -> (Bytes, Option<Error>) {
        let start = Instant::now();
        let (reading, duration) = (self.read)();
        self.errors += u64::from(reading.is_err());
        let values = Values { duration, errors: Some(self.errors), unreadable: None };
        let text =
            Bytes::from(self.options.text(reading.as_ref().map(std::slice::from_ref).unwrap_or_default(), values));
        let end = Instant::now() + LIFETIME.max(PAUSE * start.elapsed());
        self.last = Some((text.clone(), end));
        (text, reading.err())
    }
}

/// The readings, for all connections.
pub(super) struct Readings(mpsc::Sender<oneshot::Sender<Bytes>>);

impl Readings {
    /// Starts the thread that reads. It never ends, because a thread for each reading could not be started if the user
    /// has too many processes.
    pub(super) fn start(mut reader: Reader) -> io::Result<Self> {
        let (requests, received) = mpsc::channel::<oneshot::Sender<Bytes>>();
        let serve = move || {
            // Nobody waits for the reading if the connection was closed.
            for reply in received.into_iter().filter(|reply| !reply.is_closed()) {
                let _ = reply.send(reader.text());
            }
        };
        thread::Builder::new().name("reader".into()).spawn(serve)?;
        Ok(Self(requests))
    }

    /// Returns the text of a recent reading. Returns no text if the thread has ended.
    pub(super) async fn text(&self) -> Bytes {
        let (reply, text) = oneshot::channel();
        let _ = self.0.send(reply);
        text.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::metrics::scrape::Detail;
    use crate::verbs::metrics::{Prefix, tests};

    #[test]
    fn a_slow_reading_serves_longer() {
        const SLOW: Duration = Duration::from_millis(500);
        let options = Options { prefix: Prefix::Ipvs, detail: Detail::Totals, max_series: 0, only: Vec::new() };
        let (count, readings) = mpsc::channel();
        let mut reader = Reader::new(options, move || {
            count.send(()).expect("a test");
            thread::sleep(SLOW);
            (Ok(tests::reading()), SLOW)
        });
        let first = reader.text();
        let (_, end) = *reader.last.as_ref().expect("a reading");
        assert!(end.saturating_duration_since(Instant::now()) > SLOW * 3);
        assert_eq!(reader.text(), first);
        assert_eq!(readings.try_iter().count(), 1);
        thread::sleep(end.saturating_duration_since(Instant::now()));
        reader.text();
        assert_eq!(readings.try_iter().count(), 1, "later, the table is read again");
    }
}
