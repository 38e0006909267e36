//! `IPVS_KERNEL=host`: tests run on the machine's own kernel, as root on a machine with IPVS.
//!
//! No kernel is booted. Process 1 is the same, in its own PID, network and mount namespaces.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The name under which process 1 of these namespaces is started.
pub const INIT: &str = "ipvs-lab-init-here";
/// The name of the process that makes the namespaces and starts [`INIT`] in them.
pub const START: &str = "ipvs-lab-here";

/// Runs as the process between the host program and process 1 of the namespaces.
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
    // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe. It is not
    // set.
    unsafe { unshare_unsafe(UnshareFlags::NEWPID | UnshareFlags::NEWNS | UnshareFlags::NEWNET) }
        .context("IPVS_KERNEL=host needs root, because it makes namespaces")?;
    // The first child is process 1 of the new PID namespace. When it ends, the kernel kills every process of the tests.
    Command::new(std::env::current_exe()?).arg0(INIT).status().context("start process 1")?;
    Ok(())
}

/// Loads the modules that tests need, and checks that this kernel has IPVS.
pub(super) fn check() -> Result<()> {
    // `apply --confirm-within` refuses a PID namespace whose process 1 is not an init.
    std::fs::write("/proc/self/comm", "init")?;
    // This may fail, because modprobe may be missing and IPVS may be built in.
    for module in ["ip_vs", "overlay"] {
        let _ = Command::new("modprobe").arg("-q").arg(module).status();
    }
    if !std::fs::exists("/proc/net/ip_vs")? {
        bail!("this machine's kernel has no IPVS (no /proc/net/ip_vs after modprobe ip_vs)");
    }
    Ok(())
}
