//! `--watch`: the table on a terminal, repeatedly.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{Reading, Show, next_interval};
use crate::context::{Context, StdoutError};
use crate::sight::rates::TableRates;
use crate::sight::reading;
use crate::sight::selection::Selected;
use crate::terminal::text;
use crate::terminal::width::{Size, can_move_cursor};

/// Moves the cursor to the first row and switches the automatic line break off. ECMA-48, and ctlseqs(ms) of xterm
const BEGIN: &str = "\x1b[H\x1b[?7l";
/// Erases the rest of a row.
const END_OF_ROW: &str = "\x1b[K\r\n";
/// Erases the rest of the screen and switches the automatic line break on.
const END: &str = "\x1b[J\x1b[?7h";

/// Shows the table until a signal ends the process.
pub(super) fn show(show: &Show, context: &Context, selected: &Selected, interval: Duration) -> anyhow::Result<()> {
    if Size::of_stdout().is_none() || !can_move_cursor() {
        bail!("--watch needs a terminal that can move the cursor\nTo record changes, use `ipvsadm-rs monitor`.");
    }
    let mut director = context.open()?;
    let (mut last, mut start, mut counted) = (None, Instant::now(), interval);
    loop {
        let state = reading::read(&mut director)?;
        let rates = last.as_ref().map(|old| TableRates::between(old, &state, counted));
        // The first table has no rates yet.
        let rates = show.traffic.then(|| rates.unwrap_or_default());
        let reading = Reading { state, rates };
        draw(show, context, selected, &reading, last.is_none())?;
        last = Some(reading.state);
        counted = next_interval(&mut start, interval);
    }
}

fn draw(show: &Show, context: &Context, selected: &Selected, reading: &Reading, is_first: bool) -> anyhow::Result<()> {
    let size = Size::of_stdout().context("the terminal was closed")?;
    let shown = match show.shown(selected, reading) {
        Err(error) if is_first => return Err(error),
        shown => shown,
    };
    let table = match shown {
        Ok(shown) => show.text(context, reading, &shown, Some(size.columns))?,
        // A selected service was deleted after the first reading.
        Err(error) => format!("{error}\n").into_bytes(),
    };
    let table = text::styled(&table);
    let lines: Vec<&str> = table.lines().collect();
    // The last row stays empty, because a line break there would scroll.
    let rows = size.rows.saturating_sub(1);
    let (visible, rest) = lines.split_at(if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() });
    let mut screen = String::from(if is_first { "\x1b[2J" } else { "" });
    screen += BEGIN;
    visible.iter().for_each(|line| screen.extend([line, END_OF_ROW]));
    if !rest.is_empty() {
        screen += &format!("({} more lines: use --services, --limit or SCOPE){END_OF_ROW}", rest.len());
    }
    screen += END;
    let mut out = io::stdout().lock();
    out.write_all(screen.as_bytes()).and_then(|()| out.flush()).map_err(|error| StdoutError(error).into())
}
