//! A place for each measurement.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipvs_tests::net::rtnl::Socket;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs a function in a network namespace of its own, whose lo is up; it is gone afterwards.
///
/// Where a table was deleted, its servers stay for minutes in a list that is walked for each that is added
/// (`ip_vs_trash_get_dest`): a second restore in the same place would be measured by that.
pub(crate) fn fresh<T: Send>(inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    wait_for_others()?;
    std::thread::scope(|scope| {
        let run = || {
            // SAFETY: the file descriptor table is not unshared, the only flag that could harm.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare")?;
            Socket::open()?.set_up("lo")?;
            inside()
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The memory of what was deleted the kernel frees a while later (RCU), during whatever goes on then.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// A namespace is taken down when nobody uses it any more, but not at once: until then its services hold their schedulers.
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
    bail!("the namespace before this one does not go away")
}
