//! A closer look at one run of a program: not to be timed.

use anyhow::Result;

use crate::guests::Ruler;
use crate::programs::Program;
use crate::{sampled, traced};

/// Says what the ruler at hand can tell.
pub(crate) fn look(task: &str, program: Program, arguments: &[&str], input: &str) -> Result<()> {
    match Ruler::here() {
        Ruler::Time => traced::run(task, program, arguments, input),
        Ruler::Instructions => sampled::run(task, program, arguments, input),
    }
}
