//! The time between attempts.

use std::time::Duration;

use ring::digest::{SHA256, digest};

/// The time before the next attempt: 1 s after the first failure, doubled after each further one, 60 s at most. Up to
/// half of it is taken off, by a hash of the host name and the number of the attempt. Otherwise, all directors would ask
/// a server that has restarted at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    host: String,
    failures: u32,
}

impl Backoff {
    const MOST: Duration = Duration::from_secs(60);

    pub(crate) fn new(host: &str) -> Self {
        Self { host: host.into(), failures: 0 }
    }

    /// Counts a failure, and returns the time to wait.
    pub(crate) fn failed(&mut self) -> Duration {
        let whole = Duration::from_secs(1 << self.failures.min(6)).min(Self::MOST);
        let hash = digest(&SHA256, format!("{} {}", self.failures, self.host).as_bytes());
        let part = hash.as_ref().first().copied().unwrap_or(0);
        self.failures = self.failures.saturating_add(1);
        whole - whole.mul_f64(f64::from(part) / 512.0)
    }

    /// Starts again with the shortest time.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_double_up_to_a_minute() {
        let mut backoff = Backoff::new("lb1");
        let seconds: Vec<f64> = (0..50).map(|_| backoff.failed().as_secs_f64()).collect();
        for (attempt, seconds) in seconds.iter().enumerate() {
            let whole = 2_f64.powi(attempt.min(6).try_into().expect("small")).min(60.0);
            assert!(*seconds > whole / 2.0 && *seconds <= whole, "{attempt}: {seconds}");
        }
        backoff.succeeded();
        assert_eq!(backoff.failed().as_secs_f64(), seconds[0]);
    }

    #[test]
    fn hosts_differ() {
        let times: std::collections::HashSet<_> =
            (0..100).map(|host| Backoff::new(&format!("lb{host}")).failed()).collect();
        assert!(times.len() > 60, "{}", times.len());
    }
}
