//! A guest, from outside: boots, runs jobs, says how it died.
//!
//! The guest's root is this machine's file system, mounted read-only through hostfs; its process 1 is this very
//! executable ([`crate::guest`]); its first serial line is its stdin and stdout ([`crate::guest::protocol`]); its kernel log goes
//! into a file. It turns itself off when the line closes, so none outlives its host program, even one that was killed.

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

/// A guest comes up in a second; a machine that needs longer than this is not usable.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// One whose processor is emulated, in some.
const EMULATED_BOOT_LIMIT: Duration = Duration::from_secs(240);
/// What the guest may take, beyond a test's own limit, to say that the test is over.
const GRACE: Duration = Duration::from_secs(20);

/// What a guest is started with.
#[derive(Debug, Default)]
pub struct Boot {
    /// A terminal that becomes /dev/tty1 in the guest.
    pub terminal: Option<OwnedFd>,
    /// Whether jobs will want the reference ipvsadm: it is fetched then.
    pub reference: bool,
    /// More variables for the environment of jobs.
    pub extra: Vec<(&'static str, String)>,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    process: Child,
    /// `None` once it was closed.
    line: Option<Line>,
    /// Of a guest that would outlive this process.
    lifeline: Option<Lifeline>,
    log: File,
    release: String,
    /// Its own, of a guest that is slow without.
    _processor: Option<Processor>,
}

impl Guest {
    /// Starts a guest and waits until it can run jobs. The error tells the kernel's last words.
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
            // A group of its own can be ended as a whole; a guest with a terminal has to stay in the foreground.
            command.process_group(0);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let processor = matches!(kernel, Kernel::Program(_)).then(Processor::take).transpose()?;
        let process = match &processor {
            Some(processor) => processor.stay(|| command.spawn())?,
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
                // Nothing reads the folder any more: gone now, it cannot be left behind.
                drop(folder);
                let _ = guest.log_since_last_job();
                Ok(guest)
            }
            Err(error) => Err(guest.obituary(&format!("the guest did not come up: {error:#}"))),
        }
    }

    fn greet(&mut self, kernel: &Kernel, boot: &Boot, exe: &Path) -> Result<String> {
        let limit = if matches!(kernel, Kernel::Cloud(_)) { EMULATED_BOOT_LIMIT } else { BOOT_LIMIT };
        let soon = Instant::now() + limit;
        let line = self.line.as_mut().expect("open from the start");
        // A serial line that starts as a terminal may put blanks or echoes before the first words.
        while !line.hear(soon).context("no word from process 1")?.ends_with(HELLO) {}
        line.say(&format!("set exe {}", exe.display()))?;
        if let Some(modules) = kernel.modules() {
            line.say(&format!("set modules {}", modules.display()))?;
        }
        for (name, value) in environment(boot) {
            let words = format!("set {name} {}", value.replace('\n', "\\n"));
            // A terminal line holds 4096 bytes, and drops what is beyond.
            ensure!(words.len() < 4000, "{name} is too long to be passed to the guest");
            line.say(&words)?;
        }
        line.say("go")?;
        let answer = line.hear(soon).context("process 1 stays silent")?;
        match answer.split_once(' ') {
            Some(("ready", release)) => Ok(release.to_owned()),
            _ => bail!("{}", answer.strip_prefix("failed ").unwrap_or(&answer)),
        }
    }

    /// What the kernel calls itself.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Runs a job of this executable in the guest; `output` gets what it prints, as it comes. The error says how the
    /// guest died; it is of no use then.
    pub fn run(&mut self, job: &str, limit: Duration, mut output: impl FnMut(&[u8])) -> Result<End> {
        let deadline = Instant::now() + limit + GRACE;
        let mut hear = || -> Result<End> {
            let line = self.line.as_mut().context("it was closed")?;
            line.say(&format!("run {} {job}", limit.as_secs()))?;
            loop {
                let words = line.hear(deadline)?;
                match words.split_once(' ') {
                    Some(("out", length)) => {
                        let length = length.parse().with_context(|| words.clone())?;
                        output(&line.hear_bytes(length, deadline)?);
                    }
                    Some(("end", end)) => return End::parse(end).with_context(|| words.clone()),
                    _ => bail!("process 1 said: {words}"),
                }
            }
        };
        hear().map_err(|error| match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::TimedOut) => self.obituary("the guest hangs"),
            _ => self.obituary(&format!("the guest died under this test ({error:#})")),
        })
    }

    /// What the kernel logged since this was asked last; it is told to be quiet, so these are warnings and worse.
    pub fn log_since_last_job(&mut self) -> String {
        let mut text = Vec::new();
        let _ = self.log.read_to_end(&mut text);
        String::from_utf8_lossy(&text).replace('\r', "")
    }

    /// Ends the guest; its last words.
    fn obituary(&mut self, what: &str) -> anyhow::Error {
        // One that is dying may not be dead yet, and its exit status is worth a moment.
        let status = self.end(Duration::from_secs(1));
        let _ = self.log.seek(SeekFrom::Start(0));
        let log = self.log_since_last_job();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(60)..].join("\n  ");
        anyhow!("{what}; {status}. Its last words:\n  {last}")
    }

    /// Closes the line and waits; a guest that is still there after `patience` is killed.
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
        "it was killed".to_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.line.is_some() {
            self.end(Duration::from_secs(5));
        }
    }
}

/// What the guest is told of this process's environment, and where the reference stands.
fn environment(boot: &Boot) -> Vec<(String, String)> {
    // Not RUST_BACKTRACE: to look up the names takes a guest three seconds, and a panic's place is told without.
    let passed = |name: &str| name.starts_with("IPVS") || name.starts_with("PROPTEST_");
    let extra = boot.extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let reference = boot.reference.then(reference::announcement);
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
    // The kernel would try out checksum routines for disk arrays, for two thirds of the time it boots.
    command.arg("initcall_blacklist=raid6_select_algo,raid6_init,calibrate_xor_blocks");
    command.arg(format!("mem={memory}"));
    command.arg(format!("init={}", init.display()));
    // Which tests there are depends on these, and process 1 lists them before it is told anything: what the kernel does
    // not know becomes the environment of its first process.
    for name in ["IPVS_SEED", "IPVS_LINES"] {
        if let Some(number) = std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok()) {
            command.arg(format!("{name}={number}"));
        }
    }
    // Without a folder of its own UML looks for $HOME, and dies where there is none.
    command.arg(format!("uml_dir={}/", folder.display())).arg("umid=guest");
    if let Some(terminal) = &boot.terminal {
        // Inherited: whoever made it left it open across exec.
        command.arg(format!("con1=fd:{}", terminal.as_raw_fd()));
    }
    if !shared_memory_fits() {
        command.env("TMPDIR", folder);
    }
    Ok(command)
}

/// The guest's memory is a file, in /dev/shm if nothing else is said; containers often have a tiny one.
fn shared_memory_fits() -> bool {
    rustix::fs::statvfs("/dev/shm").is_ok_and(|shm| {
        shm.f_bavail * shm.f_frsize >= 1 << 30 && !shm.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC)
    })
}

/// A temporary folder of this process alone.
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
