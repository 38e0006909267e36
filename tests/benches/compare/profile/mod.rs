//! Profiles one run of a program, which is too slow then to be timed.

pub(crate) mod sample;
pub(crate) mod strace;

use anyhow::Result;

use crate::guests::Ruler;
use crate::programs::Program;

/// Profiles a run by system calls in user-mode-linux, and by samples under QEMU.
pub(crate) fn run(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<()> {
    match Ruler::here() {
        Ruler::Time => strace::run(task, program, arguments, input),
        Ruler::Instructions => sample::run(task, program, arguments, input),
    }
}
