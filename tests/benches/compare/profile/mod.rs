//! Profiles of one run of a program. Such a run is slower, so it is not timed.

pub(crate) mod sample;
pub(crate) mod strace;

use anyhow::Result;

use crate::guests::Ruler;
use crate::programs::Program;

/// Runs a program and prints the figures that this guest can measure.
pub(crate) fn run(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<()> {
    match Ruler::here() {
        Ruler::Time => strace::run(task, program, arguments, input),
        Ruler::Instructions => sample::run(task, program, arguments, input),
    }
}
