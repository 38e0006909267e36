//! Counts the system calls of one run of a program, by stopping it at each.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use ipvs_sys::uapi::Command as NetlinkCommand;

use crate::figures::{self, Kind};
use crate::programs::Program;
use crate::time::memory_file;

/// Runs a program; prints the number of its system calls and its peak memory.
pub(crate) fn run(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<()> {
    let seen = trace(program.command().args(arguments), input)?;
    figures::print(Kind::Calls, task, program, seen.calls);
    figures::print(Kind::Memory, task, program, seen.memory);
    Ok(())
}

/// The counts of one run.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    /// Requests to IPVS that change something.
    pub(crate) writes: u64,
    /// Peak memory in bytes.
    pub(crate) memory: u64,
}

/// Runs a command, which must succeed, and returns its counts.
pub(crate) fn trace(command: &mut Command, input: &str) -> Result<Counts> {
    command.stdin(memory_file(input)?).stdout(Stdio::null()).stderr(Stdio::inherit());
    // SAFETY: the closure only makes a system call.
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, 0)) };
    let child = command.spawn().with_context(|| format!("{command:?}"))?;
    let process = child.id() as i32;
    // With PTRACE_TRACEME the child stops after execve.
    wait_for_stop(process)?;
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SETOPTIONS, process, options as usize)?;
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let mut seen = Counts::default();
    let mut inside = false;
    let mut signal = 0;
    loop {
        ptrace(libc::PTRACE_SYSCALL, process, signal)?;
        let status = wait_for_stop(process)?;
        signal = 0;
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            ensure!(status == 0, "{command:?}: status {status}");
            return Ok(seen);
        }
        match (libc::WSTOPSIG(status), status >> 16) {
            (0x85, 0) => {
                inside = !inside;
                if inside {
                    seen.calls += 1;
                    seen.writes += writes(process, &memory)?;
                }
            }
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXIT) => seen.memory = peak_memory(process)?,
            (other, _) => signal = other as usize,
        }
    }
}

fn ptrace(request: libc::c_uint, process: i32, value: usize) -> std::io::Result<()> {
    // SAFETY: none of the requests made here takes a pointer.
    let result = unsafe { libc::ptrace(request, process, 0, value) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn wait_for_stop(process: i32) -> Result<i32> {
    let mut status = 0;
    // SAFETY: the pointer is to a live value.
    let stopped = unsafe { libc::waitpid(process, &raw mut status, 0) };
    ensure!(stopped == process, std::io::Error::last_os_error());
    Ok(status)
}

fn peak_memory(process: i32) -> Result<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{process}/status"))?.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// Returns the number of changing requests that the next system call sends.
fn writes(process: i32, memory: &File) -> Result<u64> {
    // SAFETY: plain numbers, for which all zeroes is a valid value.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value of the type that this request fills.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETREGS, process, 0, &raw mut registers) };
    ensure!(result == 0, std::io::Error::last_os_error());
    if registers.orig_rax != libc::SYS_sendto as u64 {
        return Ok(0);
    }
    let mut bytes = vec![0; registers.rdx as usize];
    memory.read_exact_at(&mut bytes, registers.rsi)?;
    Ok(count(&bytes))
}

/// Counts the messages to IPVS that change something.
fn count(mut bytes: &[u8]) -> u64 {
    const READING: [NetlinkCommand; 5] = [
        NetlinkCommand::GetService,
        NetlinkCommand::GetDest,
        NetlinkCommand::GetDaemon,
        NetlinkCommand::GetConfig,
        NetlinkCommand::GetInfo,
    ];
    /// The id of the generic netlink controller. Greater ids are families.
    const CONTROLLER: u16 = 16;
    let mut found = 0;
    while let [l0, l1, l2, l3, t0, t1, ..] = *bytes {
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let command = bytes.get(16).copied().unwrap_or_default();
        let reads = READING.iter().any(|reading| *reading as u8 == command);
        if u16::from_ne_bytes([t0, t1]) > CONTROLLER && !reads {
            found += 1;
        }
        bytes = bytes.get(length.next_multiple_of(4).max(16)..).unwrap_or(&[]);
    }
    found
}
