//! A network namespace for each measurement.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipvs_tests::net::rtnl::Socket;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Runs a function in a new network namespace, in which lo is up. The kernel removes the namespace afterwards.
///
/// Deleted servers stay for minutes in a list that the kernel searches for each new server (`ip_vs_trash_get_dest`), so a
/// second restore in the same namespace would be slower.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>
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

/// Time to wait while the kernel frees deleted entries (RCU), which would otherwise delay the next measurement.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// Waits until the kernel has removed earlier namespaces. Until then, their services hold references to schedulers.
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
    bail!("the kernel has not removed the previous namespace after 60 s")
}
