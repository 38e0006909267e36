//! `IPVS_KERNEL=host`: the machine's own kernel instead of a guest's, for root on a machine with IPVS.
//!
//! The same process 1 in a PID, network and mount namespace of its own; nothing is booted.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The name process 1 of these namespaces is started under.
pub const INIT: &str = "ipvs-lab-init-here";
/// The name of the process that makes the namespaces and then starts [`INIT`] in them.
pub const START: &str = "ipvs-lab-here";

/// The main function of the process between the host program and process 1 of the namespaces.
pub fn start() -> ExitCode {
    match start_in_namespaces() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ipvs-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_in_namespaces() -> Result<()> {
    // SAFETY: the file descriptor table is not unshared, the only flag that could harm.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID | UnshareFlags::NEWNS | UnshareFlags::NEWNET) }
        .context("IPVS_KERNEL=host makes namespaces, which wants root")?;
    // The first child is process 1 of the new PID namespace: when it ends, whatever a test started ends with it.
    Command::new(std::env::current_exe()?).arg0(INIT).status().context("start process 1")?;
    Ok(())
}

/// Whether this kernel can do what the tests need.
pub(super) fn check() -> Result<()> {
    // The machine's own modprobe, if it has one; where IPVS is built in, or loaded already, there is nothing to do.
    for module in ["ip_vs", "overlay"] {
        let _ = Command::new("modprobe").arg("-q").arg(module).status();
    }
    if !std::fs::exists("/proc/net/ip_vs")? {
        bail!("this machine's kernel has no IPVS (no /proc/net/ip_vs after modprobe ip_vs)");
    }
    Ok(())
}
