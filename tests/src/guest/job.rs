//! Runs one job in a forked process: forwards its output, and kills it and its children at the end.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipvs_sys::Request;
use ipvs_sys::uapi::Command;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, wait};

use super::root;
use crate::guest::protocol::{End, Line};
use crate::harness::Test;
use crate::wait::time_left;

/// Maximum output of a job in bytes. The rest is read and dropped.
const MAX_OUTPUT: usize = 1 << 20;

/// Runs the jobs that the host requests, until it closes the line.
pub(super) fn serve(line: &mut Line, jobs: &[Test]) -> Result<()> {
    loop {
        // A day: in effect, until the host closes the line.
        let words = match line.receive(Instant::now() + Duration::from_secs(86_400)) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            words => words?,
        };
        let mut parts = words.splitn(3, ' ');
        let (Some("run"), Some(seconds), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("unknown message: {words}");
        };
        let limit = Duration::from_secs(seconds.parse().with_context(|| words.clone())?);
        let Some(job) = jobs.iter().find(|job| job.name == name) else {
            line.send_output(format!("this executable has no job {name}\n").as_bytes())?;
            line.send(&format!("end {}", End::Exit(127)))?;
            continue;
        };
        let Some(end) = run(line, job, limit)? else { return Ok(()) };
        line.send(&format!("end {end}"))?;
    }
}

/// Runs one job to its end. Returns `None` if the host closed the line meanwhile.
fn run(line: &mut Line, job: &Test, limit: Duration) -> Result<Option<End>> {
    let (output, input) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: process 1 has one thread, so no lock in the child is held by a thread that it does not have.
    let pid = match unsafe { libc::fork() } {
        0 => {
            drop(output);
            child(job, input)
        }
        pid => Pid::from_raw(pid).context("fork")?,
    };
    drop(input);
    let deadline = Instant::now() + limit;
    let mut sent = 0;
    let ended = watch(line, &output, pid, deadline, &mut sent)?;
    let end = match ended {
        Watched::HostGone => return Ok(None),
        Watched::Ended => None,
        Watched::TooLong => {
            line.send_output(still_running(limit).as_bytes())?;
            Some(End::TimedOut)
        }
    };
    // Process 1 has adopted all orphans. The only other processes are kernel threads, which ignore signals. SAFETY: a
    // system call without memory; -1 is every process except the caller.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    let status = reap(pid);
    // All writers are dead, so the pipe has an end.
    while forward(line, &output, &mut sent)? {}
    Ok(end.or(status).or(Some(End::Signal(libc::SIGKILL))))
}

enum Watched {
    Ended,
    TooLong,
    HostGone,
}

fn watch(line: &mut Line, output: &OwnedFd, pid: Pid, deadline: Instant, sent: &mut usize) -> Result<Watched> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut open = true;
    loop {
        let (written, ended, host) = {
            let line_fd = line.input();
            let mut fds = vec![PollFd::new(&process, PollFlags::IN), PollFd::new(&line_fd, PollFlags::IN)];
            // A pipe without writers is always ready.
            if open {
                fds.push(PollFd::new(output, PollFlags::IN));
            }
            match poll(&mut fds, Some(&time_left(deadline))) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => {}
                Err(errno) => return Err(std::io::Error::from(errno).into()),
            }
            let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
            (ready(2), ready(0), ready(1))
        };
        if written {
            open = forward(line, output, sent)?;
        } else if ended {
            return Ok(Watched::Ended);
        } else if host {
            // The host sends nothing while a job runs, so it has closed the line.
            return Ok(Watched::HostGone);
        }
        if Instant::now() >= deadline {
            return Ok(Watched::TooLong);
        }
    }
}

/// Forwards output from the pipe to the host. Returns false at its end.
fn forward(line: &mut Line, output: &OwnedFd, sent: &mut usize) -> Result<bool> {
    let mut chunk = [0; 8 << 10];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(output, &mut chunk))?;
    if length == 0 {
        return Ok(false);
    }
    let before = *sent;
    *sent += length;
    if before + length <= MAX_OUTPUT {
        line.send_output(&chunk[..length])?;
    } else if before <= MAX_OUTPUT {
        line.send_output(b"\n(too much output: the rest is dropped)\n")?;
    }
    Ok(true)
}

/// Waits for all children, for at most 2 s. Returns the end of `pid`, or `None` if `pid` has not ended.
fn reap(pid: Pid) -> Option<End> {
    let mut end = None;
    let patience = Instant::now() + Duration::from_secs(2);
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((ended, status))) if ended == pid => {
                end = status.exit_status().map(End::Exit).or(status.terminating_signal().map(End::Signal));
            }
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(1)),
            _ => return end,
        }
    }
}

/// Describes the processes that still run at the time limit.
fn still_running(limit: Duration) -> String {
    let mut text = format!("\nstill running after {} s:\n", limit.as_secs());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // Kernel threads have no command line.
        if name != "1" && name.bytes().all(|byte| byte.is_ascii_digit()) && !words.is_empty() {
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            let waits = fs::read_to_string(entry.path().join("wchan")).unwrap_or_default();
            text += &format!("  process {name}: {words}(waits in: {waits})\n");
        }
    }
    text
}

/// Runs a job in the child process and exits with its status, 101 after a panic and 102 without a root directory.
fn child(job: &Test, output: OwnedFd) -> ! {
    let code = catch_unwind(AssertUnwindSafe(|| match enter(output.as_fd()) {
        Ok(()) => (job.run)(),
        Err(error) => {
            eprintln!("cannot prepare this job: {error:#}");
            102
        }
    }));
    let _ = std::io::stdout().flush();
    empty_table();
    std::process::exit(code.unwrap_or(101))
}

/// Deletes all services of this namespace, if there is a table. Otherwise the kernel would delete them while the next
/// job runs. Up to Linux 7.0, a list lacks services if those of another namespace are deleted meanwhile.
fn empty_table() {
    if fs::exists("/proc/net/ip_vs").unwrap_or(false) {
        // The job may have given up the rights to do this.
        let _ = ipvs_sys::Socket::open().and_then(|mut socket| socket.submit(&[Request::new(Command::Flush)]));
    }
}

fn enter(output: impl AsFd) -> Result<()> {
    let null = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&output)?;
    rustix::stdio::dup2_stderr(&output)?;
    rustix::process::setsid()?;
    root::enter()
}
