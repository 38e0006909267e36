//! Intervals between readings of the counters, which the kernel updates every 2 seconds.

use std::time::Duration;

use super::rates::UPDATE;
use crate::context::duration;

/// Parses an interval, which is a multiple of the time between two updates of the kernel's counters.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let is_multiple = interval.as_millis() % UPDATE.as_millis() == 0;
    if interval.is_zero() || !is_multiple { Err("not a multiple of 2s".into()) } else { Ok(interval) }
}

/// Returns the shortest multiple of the kernel's [`UPDATE`] that is not shorter than this. At least one update.
pub(crate) fn round_up(interval: Duration) -> Duration {
    let updates = interval.as_nanos().div_ceil(UPDATE.as_nanos()).max(1);
    UPDATE.saturating_mul(u32::try_from(updates).unwrap_or(u32::MAX))
}

/// Returns the time in which the kernel counted the increase between two readings. The readings are rarely made at the
/// exact times, but the number of updates between them is whole. At least one update.
pub(crate) fn counted(elapsed: Duration) -> Duration {
    round_up(elapsed.saturating_sub(UPDATE / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_multiples_of_two_seconds() {
        for (millis, rounded) in [(1, 2), (1000, 2), (2000, 2), (2001, 4), (5000, 6)] {
            assert_eq!(round_up(Duration::from_millis(millis)), Duration::from_secs(rounded), "{millis}");
        }
        for (millis, rounded) in [(0, 2), (1999, 2), (2100, 2), (2999, 2), (3001, 4), (4100, 4)] {
            assert_eq!(counted(Duration::from_millis(millis)), Duration::from_secs(rounded), "{millis}");
        }
    }
}
