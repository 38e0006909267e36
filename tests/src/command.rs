//! Runs programs with a time limit and returns their output.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use crate::wait::readable;

/// Time limit for a command of a test. After it, the command is killed.
const LIMIT: Duration = Duration::from_secs(30);

/// Output and exit status of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its command line.
    pub command: String,
    /// Its exit status; `None` if a signal or the time limit ended it.
    pub code: Option<i32>,
    /// The end as text: `exit status: 0`, `signal: 6 (SIGABRT)`, or `killed after 30 s`.
    pub end: String,
    /// Its standard output. Bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error. Bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ran { command, code: _, end, stdout, stderr } = self;
        write!(f, "# {command}\n{stdout}{stderr}[{end}]")
    }
}

impl Ran {
    /// Returns the standard output. Panics with all output if the program failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == Some(0), "{self}");
        self.stdout
    }
}

/// Runs a command line in the network namespace of the calling thread. The line is split at blanks, without a shell.
#[track_caller]
pub fn run(line: &str) -> Ran {
    let mut words = line.split_ascii_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    run_command(command.args(words), LIMIT).unwrap_or_else(|error| panic!("# {line}\n{error:#}"))
}

/// Runs a command line that must succeed. Returns its standard output.
#[track_caller]
pub fn ok(line: &str) -> String {
    run(line).ok()
}

/// Runs a command line with the shell.
#[track_caller]
pub fn shell(line: &str) -> Ran {
    let ran = run_command(Command::new("/bin/sh").arg("-c").arg(line), LIMIT);
    let ran = ran.unwrap_or_else(|error| panic!("# {line}\n{error:#}"));
    Ran { command: line.to_owned(), ..ran }
}

/// Runs a command with an empty standard input.
pub fn run_command(command: &mut Command, limit: Duration) -> Result<Ran> {
    run_with_input(command, "", limit)
}

/// Runs a command with a text on its standard input.
pub fn run_with_input(command: &mut Command, input: &str, limit: Duration) -> Result<Ran> {
    let Raw { status, stdout, stderr } = run_raw(command, memory_file(input.as_bytes())?.into(), None, limit)?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let end = status.map_or_else(|| format!("killed after {} s", limit.as_secs()), |status| status.to_string());
    let code = status.and_then(|status| status.code());
    Ok(Ran { command: command_line(command), code, end, stdout: text(stdout), stderr: text(stderr) })
}

/// Output and exit status of a program, as bytes.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Its exit status; `None` if it was killed at its time limit.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs a command. If `stdout` is given, standard output goes there and is not returned.
pub(crate) fn run_raw(command: &mut Command, stdin: Stdio, stdout: Option<Stdio>, limit: Duration) -> Result<Raw> {
    // Files instead of pipes, because they have no size limit, and a daemon that keeps them open does not delay this
    // function.
    let (mut out, mut err) = (memory_file(b"")?, memory_file(b"")?);
    let stdout = stdout.map_or_else(|| out.try_clone().map(Stdio::from), Ok)?;
    command.stdin(stdin).stdout(stdout).stderr(err.try_clone()?).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", command_line(command)))?;
    // Otherwise `command` would keep the files open.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let in_time = readable(process.as_fd(), Instant::now() + limit)?;
    if !in_time {
        kill_process_group(pid, Signal::KILL)?;
    }
    let status = child.wait()?;
    let bytes = |file: &mut File| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Ok(Raw { status: in_time.then_some(status), stdout: bytes(&mut out)?, stderr: bytes(&mut err)? })
}

/// Returns a file in memory with these contents. Its offset is 0.
pub(crate) fn memory_file(bytes: &[u8]) -> Result<File> {
    let mut file: File = memfd_create("input", MemfdFlags::CLOEXEC)?.into();
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// A program that runs in parallel to the test, such as a daemon in the foreground. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: File,
}

/// Starts a command line in the network namespace of the calling thread, and does not wait for it.
#[track_caller]
pub fn start(line: &str) -> Running {
    let mut words = line.split_ascii_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    let output: File = memfd_create("output", MemfdFlags::CLOEXEC).expect("memory").into();
    let copy = || output.try_clone().expect("a copy of a file");
    command.args(words).stdin(Stdio::null()).stdout(copy()).stderr(copy()).process_group(0);
    let child = command.spawn().unwrap_or_else(|error| panic!("# {line}\n{error}"));
    Running { child, output }
}

impl Running {
    /// Returns its output so far, standard output and standard error together.
    pub fn output(&self) -> String {
        let mut bytes = vec![0; self.output.metadata().map_or(0, |file| file.len() as usize)];
        // pread(2), because read(2) would change the file offset, which the program shares.
        let length = self.output.read_at(&mut bytes, 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Returns its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM, and kills the program if it still runs after `patience`. Returns all its output.
    pub fn stop(mut self, patience: Duration) -> String {
        if self.is_running() {
            let _ = kill_process(self.pid(), Signal::TERM);
            let deadline = Instant::now() + patience;
            while self.is_running() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.output()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Returns a command as text: the name of its program without directories, and its arguments.
fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = [program.file_name().unwrap_or_default()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Makes a symbolic link to a program, which can then be started under that name. Replaces an existing file. A test has
/// its own root directory, so it may install /sbin/ipvsadm.
pub fn install(program: impl AsRef<Path>, at: impl AsRef<Path>) -> Result<()> {
    let (program, at) = (program.as_ref(), at.as_ref());
    remove_if_exists(at).and_then(|()| symlink(program, at)).with_context(|| at.display().to_string())
}

/// Writes an executable script. Replaces an existing file.
pub fn install_script(at: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<()> {
    let at = at.as_ref();
    let write = || {
        fs::create_dir_all(at.parent().unwrap_or(at))?;
        remove_if_exists(at)?;
        fs::write(at, text)?;
        fs::set_permissions(at, Permissions::from_mode(0o755))
    };
    write().with_context(|| at.display().to_string())
}

/// Removes a file if it exists.
fn remove_if_exists(at: &Path) -> std::io::Result<()> {
    match fs::remove_file(at) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
