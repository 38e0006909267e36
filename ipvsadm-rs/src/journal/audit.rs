//! Lines in the system log about changes, with their users and SSH clients.

use super::author::Author;
use super::entry::Entry;
use crate::terminal::plural::count;
use crate::terminal::{syslog, text};

/// Logs the outcome of a plan.
pub(super) fn log_entry(entry: &Entry, outcome: &str) {
    log(Some(entry.number), &entry.command, entry.file.as_deref(), entry.changes.len(), outcome);
}

/// Logs changes of this process. Sends a line to the system's logger. If there is none, nothing is logged.
pub(crate) fn log(number: Option<u64>, command: &str, file: Option<&str>, changes: usize, outcome: &str) {
    let number = number.map(|number| format!("plan {number}: ")).unwrap_or_default();
    let file = file.map(|file| format!(" {}", text::escaped(file))).unwrap_or_default();
    let (author, changes) = (Author::of_this_process(), count(changes, "change"));
    syslog::audit(&format!("{number}{command}{file} by {author}: {changes}, {outcome}"));
}
