//! The time since the boot. No one can set it, unlike the clock.

use std::fs;
use std::time::Duration;

/// Returns the time since the boot. `None` if /proc is not mounted. It includes the time during which the machine was
/// suspended.
pub(crate) fn uptime() -> Option<Duration> {
    // Not clock_gettime of rustix, which panics if the kernel has no vDSO.
    let text = fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}
