//! The readings of a server: one serves all scrapes that come together.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use ipvs::Error;

use crate::verbs::metrics::reading::Reading;
use crate::verbs::metrics::scrape::{Options, Values};

/// The time for which a reading serves further scrapes. The kernel updates its counters every 2 seconds.
const LIFETIME: Duration = Duration::from_secs(1);

/// Reads the table. Returns the reading and the time that it took.
type Read = dyn FnMut() -> (Result<Reading, Error>, Duration) + Send;

/// The table, and its last reading.
pub(super) struct Reader {
    options: Options,
    state: Mutex<State>,
}

struct State {
    read: Box<Read>,
    /// The number of failed readings.
    errors: u64,
    /// The text of the last reading, and the time of its end. The text is empty if the reading failed and there is no
    /// metric for this.
    last: Option<(Bytes, Instant)>,
}

impl Reader {
    pub(super) fn new(
        options: Options,
        read: impl FnMut() -> (Result<Reading, Error>, Duration) + Send + 'static,
    ) -> Self {
        Self { options, state: Mutex::new(State { read: Box::new(read), errors: 0, last: None }) }
    }

    /// Returns the text of a reading that is at most a second old. Reads the table if there is none. This blocks the
    /// thread.
    pub(super) fn text(&self) -> Bytes {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.last {
            Some((text, end)) if end.elapsed() < LIFETIME => text.clone(),
            _ => self.read_into(&mut state).0,
        }
    }

    /// Reads the table. Returns the error if this failed.
    pub(super) fn read(&self) -> Option<Error> {
        self.read_into(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)).1
    }

    fn read_into(&self, state: &mut State) -> (Bytes, Option<Error>) {
        let (reading, duration) = (state.read)();
        state.errors += u64::from(reading.is_err());
        let values = Values { duration, errors: Some(state.errors), unreadable: None };
        let text =
            Bytes::from(self.options.text(reading.as_ref().map(std::slice::from_ref).unwrap_or_default(), values));
        state.last = Some((text.clone(), Instant::now()));
        (text, reading.err())
    }
}
