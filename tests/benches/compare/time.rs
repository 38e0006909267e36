//! Measures the duration of one run of a program.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::figures::{self, Kind};
use crate::programs::Program;

/// Runs a program, prints its duration, and returns its output.
pub(crate) fn run(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<Vec<u8>> {
    let mut command = program.command();
    command.args(arguments);
    let (took, output) = take_time(&mut command, input)?;
    figures::print(Kind::Whole, task, program, took.as_nanos() as u64);
    Ok(output)
}

/// Runs a command, which must succeed, and returns duration and output.
pub(crate) fn take_time(command: &mut Command, input: &str) -> Result<(Duration, Vec<u8>)> {
    let mut output = memory_file("")?;
    command.stdin(memory_file(input)?).stdout(output.try_clone()?).stderr(Stdio::inherit());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let status = child.wait()?;
    let took = start.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    Ok((took, bytes))
}

/// Returns a file in memory with this content.
pub(crate) fn memory_file(text: &str) -> Result<File> {
    let mut file = File::from(memfd_create("text", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
