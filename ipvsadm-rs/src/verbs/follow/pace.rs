//! The time at which a revision is applied: after a quiet time, so that many writes are one plan, and after a delay that
//! differs from host to host.

use std::hash::Hasher as _;
use std::time::Duration;

use siphasher::sip::SipHasher13;

/// The limits of the quiet time: `--quiet MIN[:MAX]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quiet {
    /// The time without a further revision.
    pub(super) min: Duration,
    /// The maximum time since the first of several revisions.
    pub(super) max: Duration,
}

impl Quiet {
    /// The maximum, in multiples of the minimum, if none is specified.
    const FACTOR: u32 = 10;

    /// Parses `MIN` or `MIN:MAX`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once(':').map_or((text, None), |(min, max)| (min, Some(max)));
        let min = crate::context::duration(min)?;
        let max = max.map_or(Ok(min * Self::FACTOR), crate::context::duration)?;
        if max < min { Err("MAX is shorter than MIN".into()) } else { Ok(Self { min, max }) }
    }
}

/// Decides when revisions are applied. Times are those of [`uptime`](crate::uptime::uptime).
#[derive(Debug)]
pub(super) struct Pace {
    quiet: Quiet,
    delay: Duration,
    /// The times of the first and the last revision that were not applied yet.
    waiting: Option<(Duration, Duration)>,
}

impl Pace {
    pub(super) fn new(quiet: Quiet, splay: Duration, host: &str) -> Self {
        Self { quiet, delay: delay(splay, host), waiting: None }
    }

    /// Records a new revision.
    pub(super) fn changed(&mut self, now: Duration) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// Records that the revision at the start is to be applied at once. There is nothing to wait for.
    pub(super) fn at_once(&mut self) {
        self.waiting = None;
    }

    /// Returns the time at which the revision is to be applied. `None`: at once.
    pub(super) fn due(&self) -> Option<Duration> {
        let (first, last) = self.waiting?;
        Some((last + self.quiet.min).min(first + self.quiet.max) + self.delay)
    }

    /// Returns whether the time has come.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.due().is_none_or(|due| due <= now)
    }
}

/// Returns the delay of a host, from 0 to `splay`. It is always the same, so that the order of the hosts is.
fn delay(splay: Duration, host: &str) -> Duration {
    splay.mul_f64(share_of_host(host))
}

/// Returns a number from 0 to 1 for a host. Hosts are spread evenly.
pub(crate) fn share_of_host(host: &str) -> f64 {
    let mut hasher = SipHasher13::new();
    hasher.write(host.as_bytes());
    // The upper 32 bits: a double holds them exactly.
    f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn quiet_times_are_parsed() {
        assert_eq!(Quiet::parse("2s"), Ok(Quiet { min: 2 * SECOND, max: 20 * SECOND }));
        assert_eq!(Quiet::parse("2s:5s"), Ok(Quiet { min: 2 * SECOND, max: 5 * SECOND }));
        assert_eq!(Quiet::parse("0s"), Ok(Quiet { min: Duration::ZERO, max: Duration::ZERO }));
        for wrong in ["", "2", "5s:2s", "2s:", ":2s", "2s:3s:4s"] {
            assert!(Quiet::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn many_writes_are_one_plan() {
        let mut pace = Pace::new(Quiet { min: 2 * SECOND, max: 5 * SECOND }, Duration::ZERO, "a");
        assert!(pace.is_due(Duration::ZERO), "nothing to wait for");
        for (now, due) in [(10, 12), (11, 13), (12, 14), (13, 15), (14, 15), (15, 15)] {
            pace.changed(now * SECOND);
            assert_eq!(pace.due(), Some(due * SECOND), "after a revision at {now}");
        }
        assert!(!pace.is_due(14 * SECOND) && pace.is_due(15 * SECOND));
        pace.at_once();
        pace.changed(20 * SECOND);
        assert_eq!(pace.due(), Some(22 * SECOND));
    }

    #[test]
    fn hosts_are_spread() {
        let hosts = (0..1000).map(|number| share_of_host(&format!("lb{number}.example.net")));
        let shares: Vec<f64> = hosts.collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        let early = shares.iter().filter(|share| **share < 0.1).count();
        assert!((60..140).contains(&early), "{early} of 1000 hosts are in the first tenth");
    }
}
