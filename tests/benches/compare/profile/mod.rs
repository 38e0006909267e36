//! A closer look at one run of a program: not to be timed.

pub(crate) mod sample;
pub(crate) mod strace;

use anyhow::Result;

use crate::guests::Ruler;
use crate::programs::Program;

/// Says what the ruler at hand can tell.
pub(crate) fn run(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<()> {
    match Ruler::here() {
        Ruler::Time => strace::run(task, program, arguments, input),
        Ruler::Instructions => sample::run(task, program, arguments, input),
    }
}
