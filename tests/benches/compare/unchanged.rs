//! Restores a table that is already loaded, unchanged or with one other weight.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipvs_tests::harness::Test;

use crate::figures::{self, Kind};
use crate::guests::Ruler;
use crate::profile::strace;
use crate::programs::Program;
use crate::rules::{self, Size};
use crate::{namespace, time};

/// The size of the table: 60,000 lines of rules.
const SIZE: Size = Size { services: 10_000, servers: 5 };

pub(crate) fn jobs() -> Vec<Test> {
    vec![Test::new(format!("unchanged {SIZE}"), measure)]
}

fn measure() -> Result<()> {
    let text = rules::text(SIZE);
    let last = text.trim_end().rsplit_once(' ').context("a weight")?.0;
    let changed = format!("{last} 99\n");
    namespace::fresh(|| {
        time::take_time(Program::Ours.command().arg("-R"), &text)?;
        restore_over("the same again", &text, 0)?;
        restore_over("one weight changed", &changed, 1)
    })
}

/// Restores rules over the loaded table, and checks the number of changing requests.
fn restore_over(task: &str, text: &str, expected: u64) -> Result<()> {
    let task = format!("{task} {SIZE}");
    if Ruler::here() == Ruler::Time {
        let seen = strace::trace(&mut restore(), text)?;
        figures::print(Kind::Calls, &task, Program::Ours, seen.calls);
        figures::print(Kind::Writes, &task, Program::Ours, seen.writes);
        figures::print(Kind::Memory, &task, Program::Ours, seen.memory);
        ensure!(seen.writes == expected, "{task}: {} requests", seen.writes);
    }
    for _ in 0..3 {
        let (took, _) = time::take_time(&mut restore(), text)?;
        figures::print(Kind::Whole, &task, Program::Ours, took.as_nanos() as u64);
    }
    Ok(())
}

fn restore() -> Command {
    let mut command = Program::Ours.command();
    command.arg0("ipvsadm-restore");
    command
}
