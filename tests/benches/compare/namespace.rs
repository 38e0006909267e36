//! A network namespace for each measurement.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipvs_tests::net::rtnl::Socket;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs a function in a new network namespace with lo up.
///
/// The kernel keeps deleted servers for minutes in a list, which it searches for each added server
/// (`ip_vs_trash_get_dest`). A second restore in the same namespace would be slower.
pub(crate) fn fresh<T: Send>(inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    wait_for_others()?;
    std::thread::scope(|scope| {
        let run = || {
            // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe. It is
            // not set.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare")?;
            Socket::open()?.set_up("lo")?;
            inside()
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The pause after each measurement. The kernel frees deleted objects later (RCU), which would disturb the next
/// measurement.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// Waits until the kernel has destroyed the previous namespace, which it does some time after its last user has ended.
/// Until then, its services use their scheduler modules.
fn wait_for_others() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let modules = fs::read_to_string("/proc/modules")?;
        let held = |line: &str| {
            let mut words = line.split(' ');
            let is_scheduler = matches!(words.next(), Some("ip_vs_rr" | "ip_vs_wlc"));
            is_scheduler && words.nth(1) != Some("0")
        };
        if !modules.lines().any(held) {
            std::thread::sleep(AFTERWARDS);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("the previous namespace still exists after a minute")
}
