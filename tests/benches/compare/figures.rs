//! The results: lines that the guest prints and the host reads.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::programs::Program;

/// A measured quantity, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Nanoseconds or instructions from the start of a process to its end.
    Whole,
    /// Instructions outside the kernel.
    User,
    /// The number of system calls.
    Calls,
    /// The number of requests that change something.
    Writes,
    /// Peak memory in bytes.
    Memory,
}

impl Kind {
    const NAMES: [(Kind, &str); 5] = [
        (Kind::Whole, "whole"),
        (Kind::User, "user"),
        (Kind::Calls, "calls"),
        (Kind::Writes, "writes"),
        (Kind::Memory, "memory"),
    ];
}

/// Prints a figure, in the guest.
pub(crate) fn print(kind: Kind, task: &str, program: Program, value: u64) {
    let name = Kind::NAMES.iter().find(|(known, _)| *known == kind).expect("every kind has a name").1;
    println!("{name} {} {value} {task}", program.name());
}

/// All figures; tasks are in the order of their first figure.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) tasks: Vec<String>,
    values: BTreeMap<(String, Program, Kind), Vec<u64>>,
}

impl Figures {
    /// Adds a line of the guest.
    pub(crate) fn add_line(&mut self, line: &str) -> Result<()> {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().with_context(|| format!("not a figure: {line}"));
        let (kind, program, value, task) = (word()?, word()?, word()?, word()?);
        let kind = Kind::NAMES
            .iter()
            .find(|(_, name)| *name == kind)
            .with_context(|| format!("unknown kind of figure: {line}"))?
            .0;
        let program = Program::ALL.into_iter().find(|known| known.name() == program).context("unknown program")?;
        ensure!(!task.is_empty(), "{line}");
        if !self.tasks.iter().any(|known| known == task) {
            self.tasks.push(task.to_owned());
        }
        self.values.entry((task.to_owned(), program, kind)).or_default().push(value.parse()?);
        Ok(())
    }

    /// Returns the least value; `None` if there are no values.
    pub(crate) fn least(&self, kind: Kind, task: &str, program: Program) -> Option<u64> {
        self.all(kind, task, program).iter().min().copied()
    }

    /// Returns the median; `None` if there are no values.
    pub(crate) fn median(&self, kind: Kind, task: &str, program: Program) -> Option<u64> {
        let mut values = self.all(kind, task, program).to_vec();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    }

    /// Returns the ratio of the least values of two programs; `None` if a value is missing or the divisor is 0.
    pub(crate) fn ratio(&self, kind: Kind, task: &str, of: Program, to: Program) -> Option<f64> {
        let (of, to) = (self.least(kind, task, of)?, self.least(kind, task, to)?);
        (to > 0).then(|| of as f64 / to as f64)
    }

    fn all(&self, kind: Kind, task: &str, program: Program) -> &[u64] {
        self.values.get(&(task.to_owned(), program, kind)).map_or(&[], Vec::as_slice)
    }
}
