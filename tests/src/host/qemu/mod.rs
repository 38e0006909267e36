//! Guests under QEMU: Debian's cloud kernel on an emulated processor.
//!
//! Such a guest boots in some seconds, and everything in it is slow. But its kernel has the configuration of a
//! distribution (nftables with all its families), and it can have several processors. With [`Machine::counting`] its
//! clock counts instructions, so that times do not depend on the load of this machine. Its root file system is an
//! initramfs with this executable, the requested programs with their libraries, and modules. Process 1 and the protocol
//! are the same as in [`crate::host::uml`].

pub mod depmod;
pub mod initramfs;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::guest;
use crate::host::provision;
use initramfs::Initramfs;

/// The name of the process that kills QEMU when the host program ends.
pub const KEEPER: &str = "ipvs-lab-keeper";

const QEMU: &str = "qemu-system-x86_64";

/// Modules that tests may need, below these paths. The guest has no others.
const MODULES: [&str; 14] = [
    "kernel/net/netfilter",
    "kernel/net/ipv4",
    "kernel/net/ipv6",
    "kernel/net/bridge",
    "kernel/net/sched",
    "kernel/net/sctp",
    "kernel/net/core",
    "kernel/net/802",
    "kernel/net/8021q",
    "kernel/fs/overlayfs",
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/dummy.ko",
    "kernel/drivers/net/tun.ko",
    "kernel/drivers/net/ipvlan",
];

/// Kernel parameters that save time at boot and on changes of page tables.
const QUICK: &str = "mitigations=off nokaslr norandmaps no_timer_check cryptomgr.notests audit=0 apparmor=0";

/// Files that the C library reads.
const FILES: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services"];

/// The emulated machine and its files.
#[derive(Clone, Debug)]
pub struct Machine {
    programs: Vec<PathBuf>,
    files: Vec<PathBuf>,
    processors: u32,
    memory: String,
    counting: bool,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

impl Machine {
    /// Makes a machine with one processor, 1 GB, and these programs: this executable, `sh`, `cat`, `ip`, `tc`.
    pub fn new() -> Machine {
        let programs = ["/bin/sh", "/sbin/ip", "/sbin/tc", "/bin/cat"].map(PathBuf::from).to_vec();
        Machine { programs, files: Vec::new(), processors: 1, memory: "1G".to_owned(), counting: false }
    }

    /// Adds a program of this machine, under the same path, with its libraries.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Machine {
        let path = path.into();
        if !self.programs.contains(&path) {
            self.programs.push(path);
        }
        self
    }

    /// Adds a file of this machine, under the same path.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Machine {
        self.files.push(path.into());
        self
    }

    /// Sets the number of processors [default: 1].
    pub fn processors(self, processors: u32) -> Machine {
        Machine { processors, ..self }
    }

    /// Makes the clock count instructions, each as 1 ns. Times in the guest are then repeatable within half a percent.
    /// It needs a machine with one processor.
    pub fn counting(self) -> Machine {
        Machine { counting: true, ..self }
    }
}

/// Debian's cloud kernel, unpacked, and the machine that runs it.
#[derive(Clone, Debug)]
pub struct Cloud {
    image: PathBuf,
    modules: PathBuf,
    release: String,
    machine: Machine,
}

impl Cloud {
    /// Finds the kernel. Fetches it if it is not on this machine, which takes some seconds.
    pub fn find(machine: Machine) -> Result<Cloud> {
        if Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_err() {
            bail!("{QEMU} not found\nInstall Debian's package qemu-system-x86.");
        }
        let package = provision::unpacked_dependency("bookworm", "linux-image-cloud-amd64")?;
        let boot = fs::read_dir(package.join("boot"))?.flatten().map(|entry| entry.path());
        let image = boot.into_iter().find(|path| path.to_string_lossy().contains("/vmlinuz-"));
        let image = image.with_context(|| format!("no vmlinuz in {}/boot", package.display()))?;
        let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let release = name.trim_start_matches("vmlinuz-").to_owned();
        let modules = package.join("lib/modules").join(&release);
        Ok(Cloud { image, modules, release, machine })
    }

    /// Returns the directory of its modules in the guest.
    pub fn modules(&self) -> PathBuf {
        Path::new("/usr/lib/modules").join(&self.release)
    }

    /// Returns a command that boots it, and its lifeline. The line to the guest is on standard input and output, the
    /// kernel log on standard error.
    pub(crate) fn command(&self, folder: &Path, exe: &Path) -> Result<(Command, Lifeline)> {
        let initramfs = folder.join("initramfs");
        fs::write(&initramfs, self.initramfs(exe)?)?;
        let lifeline = Lifeline::new()?;
        let mut command = Command::new(exe);
        command.arg0(KEEPER).arg(lifeline.inherited.as_raw_fd().to_string()).arg(QEMU);
        let Machine { processors, memory, counting, .. } = &self.machine;
        let clock =
            if *counting { "tsc=reliable tsc_early_khz=1000000 clocksource=tsc" } else { "tsc_early_khz=2500000" };
        if *counting {
            command.args(["-icount", "shift=0"]);
        }
        command.args(["-M", "microvm", "-accel", "tcg", "-cpu", "max", "-m", memory, "-smp", &processors.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        command.args(["-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line"]);
        command.args(["-chardev", "file,id=log,path=/dev/fd/2,append=on", "-serial", "chardev:log"]);
        command.arg("-kernel").arg(&self.image).arg("-initrd").arg(&initramfs);
        let init = guest::INIT_QEMU;
        command.arg("-append").arg(format!("rdinit=/{init} console=ttyS1 quiet panic=-1 reboot=t {QUICK} {clock}"));
        Ok((command, lifeline))
    }

    fn initramfs(&self, exe: &Path) -> Result<Vec<u8>> {
        let mut archive = Initramfs::new();
        archive.program(exe)?;
        archive.link(guest::INIT_QEMU, &exe.display().to_string());
        for program in &self.machine.programs {
            archive.program(program)?;
        }
        // A minimal system may lack some of these.
        for file in FILES.iter().map(Path::new).filter(|file| file.exists()) {
            archive.file(file)?;
        }
        for file in &self.machine.files {
            archive.file(file)?;
        }
        let selection = depmod::Modules::in_folder(&self.modules)?.select(&MODULES)?;
        let inside = self.modules();
        for path in &selection.paths {
            archive.file_as(&self.modules.join(path), &inside.join(path))?;
        }
        for (name, text) in [("modules.dep", &selection.dep), ("modules.alias", &selection.alias)] {
            archive.text(&inside.join(name).display().to_string(), text);
        }
        archive.file_as(&self.modules.join("modules.builtin"), &inside.join("modules.builtin"))?;
        Ok(archive.finish())
    }
}

/// A pipe without data. This end closes at the latest when this process ends for any reason. [`keep_main`] then kills
/// QEMU.
#[derive(Debug)]
pub(crate) struct Lifeline {
    inherited: OwnedFd,
    _own: OwnedFd,
}

impl Lifeline {
    fn new() -> Result<Lifeline> {
        let (inherited, own) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // Other processes may also inherit this end. Only the other end must close.
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty())?;
        Ok(Lifeline { inherited, _own: own })
    }
}

/// Runs as the process between the host program and QEMU. It kills QEMU when the host program has ended, which QEMU
/// does not notice.
pub fn keep_main() -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ipvs-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn keep() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let lifeline = words.next().context("no lifeline")?;
    let lifeline = fs::File::open(Path::new("/proc/self/fd").join(lifeline)).context("the lifeline")?;
    let program = words.next().context("no program")?;
    let mut qemu = Command::new(&program).args(words).spawn().with_context(|| program.display().to_string())?;
    let ended = pidfd_open(Pid::from_child(&qemu), PidfdFlags::empty())?;
    loop {
        let mut fds = [PollFd::new(&lifeline, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        if !fds[0].revents().is_empty() {
            let _ = qemu.kill();
        }
        let status = qemu.wait()?;
        return if status.success() { Ok(()) } else { bail!("QEMU: {status}") };
    }
}
