//! Progress of long operations, shown on a terminal.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use ipvs::{Change, Counters, Director, Error, Refused, State};

/// A line on standard error that is overwritten. Shown on a terminal only.
#[derive(Default)]
pub(crate) struct Progress {
    /// The terminal. `None` until something is shown.
    terminal: Option<File>,
    shown: bool,
}

impl Progress {
    /// Replaces the line. A line that is wider than the terminal is cut off, because only one row can be overwritten.
    pub(crate) fn show(&mut self, line: &str) {
        if self.terminal.is_none() {
            self.terminal = terminal();
        }
        // DECAWM, which ctlseqs(ms) of xterm describes, switches the automatic line break off and on again.
        self.shown |= self.write(&format!("\r\x1b[K\x1b[?7l{line}\x1b[?7h"));
    }

    /// Ends the line, which stays visible.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write("\n");
        }
    }

    /// Erases the line.
    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write("\r\x1b[K");
        }
    }

    /// Writes to the terminal and returns whether that succeeded. Errors are ignored, because progress is not
    /// essential.
    fn write(&mut self, text: &str) -> bool {
        self.terminal.as_mut().is_some_and(|terminal| terminal.write_all(text.as_bytes()).is_ok())
    }
}

/// Opens the terminal of standard error for writing without blocking. A terminal that was cut off or stopped with ^S
/// would block this process. Other processes that have standard error open are not affected. Returns `None` if
/// standard error is not a terminal.
fn terminal() -> Option<File> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2").ok()
}

/// A [`Director`] that shows the progress of many changes, and submits them in pieces.
pub(crate) struct WithProgress<'a, D>(pub(crate) &'a mut D);

/// The number of changes in a piece.
const PIECE: usize = 1024;

/// The duration after which an operation shows its progress.
const SOON: Duration = Duration::from_millis(500);

impl<D: Director> Director for WithProgress<'_, D> {
    fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
        self.0.state_with(counters)
    }

    fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
        let is_valid = |change: &Change| change.validate().is_ok();
        if !std::io::stderr().is_terminal() || !changes.iter().all(is_valid) {
            return self.0.submit(changes);
        }
        let start = Instant::now();
        let mut progress = Progress::default();
        let refused = piece_by_piece(self.0, changes, |done| {
            if start.elapsed() > SOON {
                progress.show(&format!("{done} of {} changes", changes.len()));
            }
        });
        progress.clear();
        refused
    }
}

fn piece_by_piece(
    director: &mut impl Director,
    changes: &[Change],
    mut done: impl FnMut(usize),
) -> Result<Refused, Error> {
    let mut refused = Refused::default();
    for (piece, start) in changes.chunks(PIECE).zip((0..).step_by(PIECE)) {
        refused.append(start, director.submit(piece)?);
        done(start + piece.len());
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use ipvs::{Model, Scheduler, Service, ServiceKey};

    use super::*;

    #[test]
    fn refusals_have_the_index_of_all_changes() {
        let add = |port| Change::AddService(Service::new(ServiceKey::tcp([192, 0, 2, 1], port), Scheduler::RR));
        let mut changes: Vec<Change> = (1..=2500).map(add).collect();
        changes[2000] = add(7);
        let mut reported = Vec::new();
        let refused = piece_by_piece(&mut Model::new(), &changes, |done| reported.push(done)).expect("a model");
        assert_eq!(refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2000]);
        assert_eq!(reported, [1024, 2048, 2500]);
    }
}
