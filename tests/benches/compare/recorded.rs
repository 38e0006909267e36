//! The recorded ratios, which a change must not lower: instructions of the reference divided by those of our program.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::figures::{Figures, Kind};
use crate::programs::Program;

/// The lowest accepted ratio, as a share of the recorded one. Another compiler version may generate slower code.
const TOLERANCE: f64 = 0.95;

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "benches", "recorded"].iter().collect()
}

fn ratio(figures: &Figures, task: &str) -> Option<f64> {
    figures.ratio(Kind::Whole, task, Program::Reference, Program::Ours)
}

/// Records the ratios.
pub(crate) fn write(figures: &Figures) -> Result<()> {
    let mut text = String::new();
    for task in &figures.tasks {
        if let Some(ratio) = ratio(figures, task) {
            writeln!(text, "{ratio:.2} {task}")?;
        }
    }
    std::fs::write(path(), text).with_context(|| path().display().to_string())
}

/// Checks that no ratio is too far below the recorded one, and prints those that are.
pub(crate) fn check(figures: &Figures) -> Result<bool> {
    let text = std::fs::read_to_string(path()).with_context(|| path().display().to_string())?;
    let mut good = true;
    for line in text.lines() {
        let (recorded, task) = line.split_once(' ').with_context(|| line.to_owned())?;
        let recorded: f64 = recorded.parse().with_context(|| line.to_owned())?;
        // Skips a task that was not selected.
        let Some(now) = ratio(figures, task) else { continue };
        if now < recorded * TOLERANCE {
            println!("{task}: {now:.2} times as fast as the reference, below the recorded {recorded:.2}");
            good = false;
        }
    }
    Ok(good)
}
