//! One run of a program, as long as it takes.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::figures::{self, Kind};
use crate::guests::Ruler;
use crate::programs::Program;

/// Runs a program, says how long it took, and gives back what it wrote.
pub(crate) fn run(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<Vec<u8>> {
    let mut command = program.command();
    command.args(arguments);
    let (took, output) = take_time(&mut command, input)?;
    figures::say(Kind::Whole, task, program, nanoseconds(took.whole));
    // In user-mode-linux the kernel's work is not told apart.
    if Ruler::here() == Ruler::Instructions {
        figures::say(Kind::User, task, program, nanoseconds(took.user));
    }
    Ok(output)
}

/// How long a process took.
pub(crate) struct Took {
    pub(crate) whole: Duration,
    pub(crate) user: Duration,
}

/// Runs a command, which must succeed.
pub(crate) fn take_time(command: &mut Command, input: &str) -> Result<(Took, Vec<u8>)> {
    let mut output = holding("")?;
    command.stdin(holding(input)?).stdout(output.try_clone()?).stderr(Stdio::inherit());
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let (status, user) = wait(child.id())?;
    let took = Took { whole: start.elapsed(), user };
    ensure!(status.success(), "{command:?}: {status}");
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    Ok((took, bytes))
}

/// A file in memory.
pub(crate) fn holding(text: &str) -> Result<File> {
    let mut file = File::from(memfd_create("text", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Waits for a process: how it ended, and its time in user space. (std and rustix leave the time out.)
fn wait(process: u32) -> Result<(ExitStatus, Duration)> {
    let mut status = 0;
    // SAFETY: plain numbers, for which all zeroes is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values.
    let ended = unsafe { libc::wait4(process as i32, &raw mut status, 0, &raw mut usage) };
    ensure!(ended == process as i32, std::io::Error::last_os_error());
    let user = Duration::new(usage.ru_utime.tv_sec as u64, usage.ru_utime.tv_usec as u32 * 1000);
    Ok((ExitStatus::from_raw(status), user))
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
