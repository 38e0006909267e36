//! Boots a guest and runs jobs in it. If the guest dies, the error contains the end of its log.
//!
//! The root of the guest is this machine's file system, mounted read-only through hostfs. Process 1 is this executable
//! ([`crate::guest`]). The first serial line is standard input and output of the kernel program
//! ([`crate::guest::protocol`]); the kernel log goes to a file. The guest powers off when the line closes, so it never
//! outlives the host program, even if that is killed.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::guest::protocol::{End, HELLO, Line};
use crate::guest::{self, host_kernel};
use crate::host::kernel::{Kernel, Program};
use crate::host::processor::Processor;
use crate::host::qemu::Lifeline;
use crate::host::reference;

/// Time limit for booting, which takes about a second.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// Time limit for booting on an emulated processor, which takes some seconds.
const EMULATED_BOOT_LIMIT: Duration = Duration::from_secs(240);
/// Additional time, after the limit of a test, for the guest to report that the test has ended.
const GRACE: Duration = Duration::from_secs(20);

/// The options of a guest.
#[derive(Debug, Default)]
pub struct Boot {
    /// The terminal that becomes /dev/tty1 in the guest; `None` for a guest without a terminal.
    pub terminal: Option<OwnedFd>,
    /// Whether jobs need the reference; it is fetched if it is not on this machine.
    pub reference: bool,
    /// Additional environment variables of jobs.
    pub extra: Vec<(&'static str, String)>,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    process: Child,
    /// The line to the guest; `None` after it was closed.
    line: Option<Line>,
    /// The pipe whose end kills QEMU together with this process; `None` for other guests.
    lifeline: Option<Lifeline>,
    log: File,
    release: String,
    /// The processor of a user-mode-linux guest; `None` for other guests.
    _processor: Option<Processor>,
}

impl Guest {
    /// Boots a guest and waits until it can run jobs. The error has the end of the kernel log.
    pub fn boot(kernel: &Kernel, boot: &Boot) -> Result<Guest> {
        let folder = Folder::new()?;
        let log = File::create(folder.path.join("log"))?;
        let exe = std::env::current_exe()?;
        let (mut command, lifeline) = match kernel {
            Kernel::Program(program) => (uml_command(program, boot, &folder.path, &exe)?, None),
            Kernel::Cloud(cloud) => cloud.command(&folder.path, &exe).map(|(command, life)| (command, Some(life)))?,
            Kernel::Host => {
                let mut command = Command::new(&exe);
                command.arg0(host_kernel::START);
                (command, None)
            }
        };
        if boot.terminal.is_none() {
            // A process group can be killed as a whole. A guest with a terminal must stay in the foreground group.
            command.process_group(0);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let processor = matches!(kernel, Kernel::Program(_)).then(Processor::take).transpose()?;
        let process = match &processor {
            Some(processor) => processor.run(|| command.spawn())?,
            None => command.spawn(),
        };
        let mut process = process.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let line = Line::new(process.stdout.take().expect("piped").into(), process.stdin.take().expect("piped").into());
        let log = File::open(folder.path.join("log"))?;
        let mut guest =
            Guest { process, line: Some(line), lifeline, log, release: String::new(), _processor: processor };
        match guest.greet(kernel, boot, &exe) {
            Ok(release) => {
                guest.release = release;
                // The guest no longer needs the directory. It is removed now, so that it does not remain if this
                // process is killed.
                drop(folder);
                let _ = guest.log_since_last_job();
                Ok(guest)
            }
            Err(error) => Err(guest.end_with_error(&format!("the guest did not boot: {error:#}"))),
        }
    }

    fn greet(&mut self, kernel: &Kernel, boot: &Boot, exe: &Path) -> Result<String> {
        let limit = if matches!(kernel, Kernel::Cloud(_)) { EMULATED_BOOT_LIMIT } else { BOOT_LIMIT };
        let deadline = Instant::now() + limit;
        let line = self.line.as_mut().expect("open from the start");
        // The line starts as a terminal, which may send blanks or echoes before the first message.
        while !line.receive(deadline).context("no message from process 1")?.ends_with(HELLO) {}
        line.send(&format!("set exe {}", exe.display()))?;
        if let Some(modules) = kernel.modules() {
            line.send(&format!("set modules {}", modules.display()))?;
        }
        for (name, value) in environment(boot) {
            let words = format!("set {name} {}", value.replace('\n', "\\n"));
            // A terminal drops the part of a line beyond 4096 bytes. termios(3), canonical mode
            ensure!(words.len() < 4000, "the value of {name} is too long for the guest");
            line.send(&words)?;
        }
        line.send("go")?;
        let reply = line.receive(deadline).context("no reply from process 1")?;
        match reply.split_once(' ') {
            Some(("ready", release)) => Ok(release.to_owned()),
            _ => bail!("{}", reply.strip_prefix("failed ").unwrap_or(&reply)),
        }
    }

    /// Returns the release of the guest's kernel.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Runs a job of this executable in the guest. `output` is called with each part of its output.
    ///
    /// An error means that the guest has died and cannot be used any more.
    pub fn run(&mut self, job: &str, limit: Duration, mut output: impl FnMut(&[u8])) -> Result<End> {
        let deadline = Instant::now() + limit + GRACE;
        let mut receive = || -> Result<End> {
            let line = self.line.as_mut().context("the line is closed")?;
            line.send(&format!("run {} {job}", limit.as_secs()))?;
            loop {
                let words = line.receive(deadline)?;
                match words.split_once(' ') {
                    Some(("out", length)) => {
                        let length = length.parse().with_context(|| words.clone())?;
                        output(&line.receive_bytes(length, deadline)?);
                    }
                    Some(("end", end)) => return End::parse(end).with_context(|| words.clone()),
                    _ => bail!("unknown message from process 1: {words}"),
                }
            }
        };
        receive().map_err(|error| match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::TimedOut) => self.end_with_error("the guest hangs"),
            _ => self.end_with_error(&format!("the guest died during this test ({error:#})")),
        })
    }

    /// Returns the kernel log since the last call. It has only warnings and errors, because the kernel runs with
    /// `quiet`.
    pub fn log_since_last_job(&mut self) -> String {
        let mut text = Vec::new();
        let _ = self.log.read_to_end(&mut text);
        String::from_utf8_lossy(&text).replace('\r', "")
    }

    /// Ends the guest. Returns an error with its exit status and the end of its log.
    fn end_with_error(&mut self, cause: &str) -> anyhow::Error {
        // Wait, because the guest may be about to exit, and the exit status helps to find the cause.
        let status = self.end(Duration::from_secs(1));
        let _ = self.log.seek(SeekFrom::Start(0));
        let log = self.log_since_last_job();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(60)..].join("\n  ");
        anyhow!("{cause}; {status}. The end of its log:\n  {last}")
    }

    /// Closes the line and waits. Kills the guest if it still runs after `patience`. Returns the exit status.
    fn end(&mut self, patience: Duration) -> String {
        self.line = None;
        self.lifeline = None;
        let deadline = Instant::now() + patience;
        let pid = Pid::from_child(&self.process);
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                _ => break,
            }
        }
        if kill_process_group(pid, Signal::KILL).is_err() {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        "killed, because it did not exit".to_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.line.is_some() {
            self.end(Duration::from_secs(5));
        }
    }
}

/// Returns the environment variables that are passed to the guest.
fn environment(boot: &Boot) -> Vec<(String, String)> {
    // RUST_BACKTRACE is not passed, because resolving symbols takes 3 s in a guest, and a panic prints its location
    // without it.
    let passed = |name: &str| name.starts_with("IPVS") || name.starts_with("PROPTEST_");
    let extra = boot.extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let reference = boot.reference.then(reference::variable);
    let texts =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| passed(name)).chain(extra).chain(reference).collect()
}

fn uml_command(program: &Program, boot: &Boot, folder: &Path, exe: &Path) -> Result<Command> {
    let init = folder.join(guest::INIT_UML);
    std::os::unix::fs::symlink(exe, &init)?;
    let memory = std::env::var("IPVS_GUEST_MEMORY").unwrap_or_else(|_| "512M".to_owned());
    let mut command = program.command()?;
    command.args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=-1"]);
    command.args(["con=null", "con0=null,fd:2", "ssl=null", "ssl0=fd:0,fd:1"]);
    // Skips benchmarks of RAID checksum functions, which take two thirds of the time to boot.
    command.arg("initcall_blacklist=raid6_select_algo,raid6_init,calibrate_xor_blocks");
    command.arg(format!("mem={memory}"));
    command.arg(format!("init={}", init.display()));
    // The list of tests and their time limits depend on these. Process 1 makes it before it receives any settings. The
    // kernel passes parameters that it does not know to process 1 as environment variables.
    for name in ["IPVS_SEED", "IPVS_LINES", "IPVS_TABLES", "IPVS_KILLS"] {
        if let Some(number) = std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok()) {
            command.arg(format!("{name}={number}"));
        }
    }
    // Without uml_dir UML uses $HOME, and exits if that is not set.
    command.arg(format!("uml_dir={}/", folder.display())).arg("umid=guest");
    if let Some(terminal) = &boot.terminal {
        // The descriptor has no CLOEXEC, so the guest inherits it.
        command.arg(format!("con1=fd:{}", terminal.as_raw_fd()));
    }
    if !shared_memory_fits() {
        command.env("TMPDIR", folder);
    }
    Ok(command)
}

/// Returns whether /dev/shm has room for the guest's memory, which is by default a file in it. In containers it is
/// often small.
fn shared_memory_fits() -> bool {
    rustix::fs::statvfs("/dev/shm").is_ok_and(|shm| {
        shm.f_bavail * shm.f_frsize >= 1 << 30 && !shm.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC)
    })
}

/// A temporary directory that only this user can read.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Folder> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("ipvs-lab-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        Ok(Folder { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
