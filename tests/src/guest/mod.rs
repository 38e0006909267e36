//! Process 1 of a guest.
//!
//! It mounts file systems, loads modules, and then runs the jobs that the host requests on the serial line
//! ([`protocol`]), one at a time. Each job is a forked process with its own network namespace and its own root
//! directory (`root`); its output goes to the host. After each job all other processes of the guest are killed, so that
//! none is left for the next job. When the line closes, the guest powers off.

mod job;
mod root;

pub mod folder;
pub mod host_kernel;
pub mod modules;
pub mod protocol;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::guest::protocol::{HELLO, Line};
use crate::harness::Test;

/// The name under which process 1 of a user-mode-linux guest is started.
pub const INIT_UML: &str = "ipvs-lab-init";
/// The name under which process 1 of a guest under QEMU is started.
pub const INIT_QEMU: &str = "ipvs-lab-init-qemu";

/// Modules that are loaded before the first test, in 4 ms each. Loading on request is slower, because the kernel starts
/// a process for each module. All others are loaded on request, or by [`modules::load`].
const MODULES: [&str; 19] = [
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_lc",
    "ip_vs_wlc",
    "ip_vs_fo",
    "ip_vs_ovf",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_dh",
    "ip_vs_sh",
    "ip_vs_mh",
    "ip_vs_sed",
    "ip_vs_nq",
    "ip_vs_pe_sip",
    "dummy",
    "veth",
    "bridge",
    "tun",
];

/// The place where process 1 runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A user-mode-linux guest.
    Uml,
    /// A guest under QEMU.
    Qemu,
    /// Namespaces on the machine's own kernel.
    Host,
}

/// Runs as process 1. In a guest with a kernel of its own it never returns.
pub fn process_one(place: Place, jobs: &[Test]) -> ExitCode {
    let mut outcome = ExitCode::SUCCESS;
    let root = if place == Place::Qemu { root::mount_again() } else { Ok(()) };
    match root.and_then(|()| open_line(place)) {
        Err(error) => {
            eprintln!("ipvs-lab: cannot open the line to the host: {error:#}");
            outcome = ExitCode::FAILURE;
        }
        Ok(mut line) => {
            if let Err(error) = prepare_and_serve(&mut line, place, jobs) {
                eprintln!("ipvs-lab: {error:#}");
                // This fails if the host program has ended. The message is then not needed.
                let _ = line.send(&format!("failed {error:#}").replace('\n', " / "));
                outcome = ExitCode::FAILURE;
            }
        }
    }
    let end = match place {
        Place::Uml => rustix::system::RebootCommand::PowerOff,
        // QEMU runs with -no-reboot, so it exits.
        Place::Qemu => rustix::system::RebootCommand::Restart,
        Place::Host => return outcome,
    };
    let _ = rustix::system::reboot(end);
    outcome
}

fn prepare_and_serve(line: &mut Line, place: Place, jobs: &[Test]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    line.send(HELLO)?;
    let mut modules = None;
    let mut exe = PathBuf::new();
    loop {
        let words = line.receive(deadline).context("no settings from the host")?;
        match words.split_once(' ') {
            _ if words == "go" => break,
            Some(("set", setting)) => match setting.split_once(' ') {
                Some(("modules", folder)) => modules = Some(PathBuf::from(folder)),
                Some(("exe", path)) => exe = PathBuf::from(path),
                // SAFETY: process 1 has one thread, so no other reads the environment meanwhile.
                Some((name, value)) => unsafe { std::env::set_var(name, value.replace("\\n", "\n")) },
                None => bail!("unknown message: set {setting}"),
            },
            _ => bail!("unknown message: {words}"),
        }
    }
    let release = prepare(place, &exe, modules.as_deref())?;
    line.send(&format!("ready {release}"))?;
    job::serve(line, jobs)
}

/// Opens the line to the host, and moves standard output away from it.
fn open_line(place: Place) -> Result<Line> {
    match place {
        Place::Uml | Place::Qemu => {
            mount_if_empty("devtmpfs", "/dev", "ttyS0")?;
            let tty = fs::OpenOptions::new().read(true).write(true).open("/dev/ttyS0")?;
            let mut settings = rustix::termios::tcgetattr(&tty)?;
            settings.make_raw();
            rustix::termios::tcsetattr(&tty, rustix::termios::OptionalActions::Now, &settings)?;
            let output: OwnedFd = tty.try_clone()?.into();
            Ok(Line::new(tty.into(), output))
        }
        Place::Host => {
            let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
            let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
            rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
            Ok(Line::new(input, output))
        }
    }
}

/// Mounts file systems and loads modules. Returns the kernel's release.
fn prepare(place: Place, exe: &Path, modules: Option<&Path>) -> Result<String> {
    let on_host = place == Place::Host;
    if on_host {
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("private mounts")?;
    }
    mount("proc", "/proc", "proc", MountFlags::empty(), None).context("mount /proc")?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).context("mount /run")?;
    if !on_host {
        mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).context("mount /sys")?;
        for (kind, folder) in [("devpts", "/dev/pts"), ("tmpfs", "/dev/shm")] {
            fs::create_dir_all(folder)?;
            mount(kind, folder, kind, MountFlags::empty(), None).with_context(|| format!("mount {folder}"))?;
        }
        fs::write("/proc/sys/kernel/hostname", "guest")?;
    }
    for folder in [root::LAYER, root::NEW_ROOT] {
        fs::create_dir_all(folder)?;
    }
    folder::fill(exe, modules)?;
    if on_host {
        host_kernel::check()?;
    } else {
        modules::load("overlay").context("load overlay")?;
        for name in MODULES {
            modules::load(name).with_context(|| format!("load {name}"))?;
        }
        fs::write("/proc/sys/kernel/modprobe", format!("{}/{}", folder::FOLDER, folder::MODPROBE))?;
    }
    // SAFETY: process 1 has one thread.
    unsafe {
        std::env::set_var("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        std::env::set_var("LC_ALL", "C");
        std::env::set_var("TZ", "UTC");
        std::env::remove_var("TERM");
    }
    Ok(rustix::system::uname().release().to_string_lossy().into_owned())
}

fn mount_if_empty(kind: &str, folder: &str, probe: &str) -> Result<()> {
    if !fs::exists(format!("{folder}/{probe}"))? {
        mount(kind, folder, kind, MountFlags::empty(), None).with_context(|| format!("mount {folder}"))?;
    }
    Ok(())
}
