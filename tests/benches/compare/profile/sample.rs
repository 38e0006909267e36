//! Samples one run of a program under QEMU every 10,000 instructions. A sample shows whether the program is in the
//! kernel, and in which function.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::figures::{self, Kind};
use crate::programs::Program;
use crate::time::memory_file;

/// The sampling period in nanoseconds of the guest's clock, each of which is one instruction. The kernel does not use
/// shorter periods (`perf_swevent_start_hrtimer`).
const PERIOD: u64 = 10_000;
const PAGE: usize = 4096;
/// Size of the sample buffer in pages: room for 170,000 samples.
const PAGES: usize = 1024;
/// Maximum number of functions to print. The rest is noise.
const MAX_FUNCTIONS: usize = 400;
/// Variable that makes the guest print functions.
pub(crate) const PROFILE: &str = "IPVS_BENCH_PROFILE";

/// Runs a program, and prints the number of instructions outside the kernel.
pub(crate) fn run(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<()> {
    let seen = sample(program.command().args(arguments), input)?;
    let own = seen.iter().filter(|address| is_own(**address)).count() as u64;
    figures::print(Kind::User, task, program, own * PERIOD);
    if std::env::var_os(PROFILE).is_some() {
        print(task, program, &seen)?;
    }
    Ok(())
}

/// Checks whether an address is in user space, where bit 63 is 0.
fn is_own(address: u64) -> bool {
    address >> 63 == 0
}

/// Runs a command, which must succeed, and returns the sampled addresses.
fn sample(command: &mut Command, input: &str) -> Result<Vec<u64>> {
    command.stdin(memory_file(input)?).stdout(Stdio::null()).stderr(Stdio::inherit());
    let clock = Clock::start()?;
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let status = child.wait()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(clock.seen(child.id()))
}

/// A perf event that fires periodically for all processes, and the memory to which the kernel writes the samples.
struct Clock {
    _event: OwnedFd,
    pages: *mut u8,
}

impl Clock {
    fn start() -> Result<Clock> {
        // The rate can be set only while the CPU limit is on, which is switched off again since it would lower the
        // rate.
        for (name, value) in
            [("cpu_time_max_percent", "25"), ("event_max_sample_rate", "1000000"), ("cpu_time_max_percent", "0")]
        {
            fs::write(format!("/proc/sys/kernel/perf_{name}"), value).context(name)?;
        }
        // struct perf_event_attr: type and size, config, period, contents of a sample (address, process), and zeroes.
        let (software, cpu_clock, address_and_process) = (1u64, 0, 1 | 2);
        let mut attributes = [0u64; 16];
        attributes[0] = software | (size_of_val(&attributes) as u64) << 32;
        attributes[1..4].copy_from_slice(&[cpu_clock, PERIOD, address_and_process]);
        // SAFETY: the pointer is to a live value, which contains its size.
        let event = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, 0) };
        ensure!(event >= 0, "perf_event_open: {}", std::io::Error::last_os_error());
        // SAFETY: the kernel has just returned the descriptor.
        let event = unsafe { OwnedFd::from_raw_fd(event as i32) };
        let length = (PAGES + 1) * PAGE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let pages = unsafe { libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, event.as_raw_fd(), 0) };
        ensure!(pages != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Ok(Clock { _event: event, pages: pages.cast() })
    }

    /// Returns the samples of a process that has ended. Nothing is read earlier, so samples that do not fit are lost.
    fn seen(&self, process: u32) -> Vec<u64> {
        const HEAD: usize = 1024;
        const SAMPLE: u32 = 9;
        // SAFETY: within the mapping; the process has ended, so the kernel no longer writes its samples.
        let words = unsafe { std::slice::from_raw_parts(self.pages.add(PAGE).cast::<u64>(), PAGES * PAGE / 8) };
        // SAFETY: the position of `data_head` in the first page.
        let head = unsafe { self.pages.add(HEAD).cast::<u64>().read_volatile() } as usize / 8;
        let mut rest = &words[..head.min(words.len())];
        let mut seen = Vec::new();
        // A sample: header (type, flags, size), address, process and thread.
        while let [header, address, ids, ..] = *rest {
            if header as u32 == SAMPLE && ids as u32 == process {
                seen.push(address);
            }
            rest = rest.get(((header >> 48) as usize / 8).max(1)..).unwrap_or(&[]);
        }
        seen
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // SAFETY: mapped in `start`, and nothing refers to it.
        unsafe { libc::munmap(self.pages.cast(), (PAGES + 1) * PAGE) };
    }
}

/// Prints the kernel functions and the program's own addresses, with the number of samples.
fn print(task: &str, program: Program, seen: &[u64]) -> Result<()> {
    let symbols = kernel_symbols()?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for address in seen {
        let name = match symbols.range(..=address).next_back() {
            Some((_, name)) if !is_own(*address) => name.clone(),
            _ => format!("{address:#x}"),
        };
        *counts.entry(name).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    println!("# {} {task}: {} samples", program.name(), seen.len());
    for (name, count) in counts.into_iter().take(MAX_FUNCTIONS) {
        println!("# {count:6} {name}");
    }
    Ok(())
}

/// Reads the kernel's symbols, which takes a while under QEMU.
fn kernel_symbols() -> Result<BTreeMap<u64, String>> {
    let text = std::io::read_to_string(File::open("/proc/kallsyms")?)?;
    let symbol = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)?.to_owned()))
    };
    Ok(text.lines().filter_map(symbol).collect())
}
