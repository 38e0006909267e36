//! `ipvsadm-rs top`: the busiest services and servers, on a full screen.
//!
//! `reading` reads, `model` is the state, `view` draws it, and `live` is the loop with the terminal.

mod assessments;
mod columns;
mod drain;
#[cfg(test)]
mod frames;
mod keys;
mod live;
mod model;
mod plain;
#[cfg(test)]
mod presses;
mod reading;
mod rows;
mod screen;
mod signals;
#[cfg(test)]
mod testing;
mod view;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;

use crate::context::{Context, code};
use crate::sight::selection::{Selected, Selection};
use crate::sight::{interval, limit};
use crate::terminal::reader::wait_until;
use crate::terminal::width::{Size, can_move_cursor};
use assessments::Assessments;
use model::Options;
use reading::{Reader, Sample};
use rows::{Key, View};

/// Show the busiest services and servers on a full screen
///
/// Shows services with connections, packets and bits per second, and with the numbers of their connections. The key ?
/// lists the keys. The enter key shows the servers of a service, and the states of its connections. The key d drains a
/// server, after a question.
///
/// SYN_RECV is the number of connections whose handshake is not complete. It comes from the connection table, which is
/// read only if it has at most 20,000 entries.
///
/// Without a terminal, or with TERM=dumb, the text of one interval is printed, as with --once.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Top {
    #[command(flatten)]
    selection: Selection,
    /// Start with servers instead of services
    #[arg(long)]
    servers: bool,
    /// Sort rows by KEY at the start; numbers are sorted from the highest
    #[arg(long, value_name = "KEY", value_enum, default_value_t)]
    sort: Key,
    /// Set the time between two readings; a multiple of 2s
    ///
    /// The kernel updates its counters every 2 seconds.
    #[arg(long, value_name = "DURATION", value_parser = interval::parse, default_value = "2s")]
    interval: Duration,
    /// Print the text of one interval, and exit
    #[arg(long)]
    once: bool,
    /// Print at most N rows, and the sums of all rows; 0 means no limit; no effect on the full screen
    #[arg(long, value_name = "N", value_parser = limit::parse)]
    limit: Option<usize>,
    /// Print a JSON object on a line for each interval; with --once, for one
    #[arg(long)]
    json_lines: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

impl Top {
    pub(super) fn run(mut self, context: &Context) -> anyhow::Result<u8> {
        let selected = std::mem::take(&mut self.selection).resolve()?;
        let reader = Reader::new(context.open()?);
        if self.once || self.json_lines || !has_screen() {
            return self.print(context, reader, &selected);
        }
        let is_colored = context.color.is_on(&io::stdout());
        let Self { interval, sort, .. } = self;
        live::run(context, reader, Options { selected, interval, sort, view: self.view(), is_colored })
    }

    fn view(&self) -> View {
        if self.servers { View::Servers } else { View::Services }
    }

    /// Prints one interval, or each interval as JSON until the reader of the output exits.
    fn print(&self, context: &Context, mut reader: Reader, selected: &Selected) -> anyhow::Result<u8> {
        // A line that is printed cannot be completed later.
        let mut assessments = Assessments::complete();
        let mut last = reader.read()?;
        selected.ensure_found(&last.state.services)?;
        let mut next = Instant::now() + self.interval;
        loop {
            if !wait_until(next) {
                return Ok(code::DONE);
            }
            let start = Instant::now();
            let reading = reader.read()?;
            let sample = Sample::new(reading, Some(&last), &mut assessments);
            if !self.write(context, &sample, selected)? || self.once || !self.json_lines {
                return Ok(code::DONE);
            }
            last = sample.into_reading();
            next = live::following(next, self.interval, start.elapsed());
        }
    }

    /// Writes a sample. Returns false if the reader of the output has exited.
    fn write(&self, context: &Context, sample: &Sample, selected: &Selected) -> anyhow::Result<bool> {
        let view = self.view();
        let mut rows = rows::rows(sample, view, selected);
        if selected.only_problems {
            rows.retain(rows::Row::is_problem);
        }
        rows::sort(&mut rows, self.sort, false);
        let table = plain::Table::new(sample, view, &rows, self.limit.unwrap_or(usize::MAX));
        let width = Size::of_stdout().map(|size| size.columns);
        context.write_while_read(|out| match self.json_lines {
            true => table.write_json(out),
            false => table.write_text(out, width, &context.palette()),
        })
    }
}

/// Returns whether there is a terminal for keys and for a screen.
fn has_screen() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && can_move_cursor()
}
