//! `ipvsadm-rs show`: prints the table.

mod lines;
mod namespaces;
mod order;
mod table;
mod totals;
mod watch;
#[cfg(test)]
mod widths;

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use ipvs::rules::{Namer, Numeric};
use ipvs::{Client, State};

use crate::context::{Context, code};
use crate::plan::unconfirmed::Unconfirmed;
use crate::resolver::System;
use crate::sight::rates::TableRates;
use crate::sight::selection::{Selected, Selection, Shown};
use crate::sight::{interval, limit, reading};
use crate::terminal::width::Size;
use order::Key;
use table::{Layout, Table};

/// Show the table
///
/// Without SCOPE and other options, all services and servers are shown. The column STATE is `up`, `full`, `draining` or
/// `drained`. A full server has as many connections as its upper threshold. A draining server has weight 0, and still has
/// connections or persistence templates. A service that refuses new clients has a line with the reason. CONN/S is the
/// kernel's average of the last seconds.
///
/// With --json, the output is one document with all settings, counters, rates, timeouts and sync daemons. `plan`,
/// `apply` and `check` accept it as FILE. A document of selected services has only those: use `apply --only` with it.
///
/// On a terminal, columns for which there is no room are omitted. A pipe gets all of them.
///
/// A plan that is pending, that was never confirmed, or whose rollback failed is reported on standard error.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Show {
    #[command(flatten)]
    selection: Selection,
    /// Show one row for each service, without its servers
    #[arg(long)]
    services: bool,
    /// Show connections, packets and bytes per second, in both directions
    ///
    /// The counters are read twice, --interval apart. The rates are the increases between the two readings. Outgoing
    /// packets are counted only for servers with masquerading. Those of other servers do not pass through the director.
    #[arg(long)]
    traffic: bool,
    /// Set the time between the two readings of --traffic; a multiple of 2s [default: 4s]
    ///
    /// The kernel updates its counters every 2 seconds.
    #[arg(long, value_name = "DURATION", value_parser = interval::parse, requires = "traffic")]
    interval: Option<Duration>,
    /// Sort services, and the servers of each service, by KEY; numbers are sorted from the highest
    #[arg(long, value_name = "KEY", value_enum)]
    sort: Option<Key>,
    /// Show at most N services, and the number of those that are omitted; 0 means no limit
    ///
    /// The sums are those of all selected services.
    #[arg(long, value_name = "N", value_parser = limit::parse)]
    limit: Option<usize>,
    /// Show names of hosts and ports instead of numbers
    #[arg(long)]
    names: bool,
    /// Show the tables of all network namespaces that have services
    #[arg(long, conflicts_with_all = ["watch", "traffic"])]
    all_netns: bool,
    /// Print a JSON object on a line for each service
    #[arg(long, conflicts_with = "services")]
    json_lines: bool,
    /// Show the table again every DURATION, until ^C; a multiple of 2s; needs a terminal
    ///
    /// With --traffic, the rates are those since the last time.
    #[arg(long, value_name = "DURATION", value_parser = interval::parse, conflicts_with_all = ["json_lines", "interval"])]
    watch: Option<Duration>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

/// The default of `--interval`.
const INTERVAL: Duration = Duration::from_secs(4);

impl Show {
    pub(super) fn run(mut self, context: &Context) -> anyhow::Result<u8> {
        self.ensure_consistent(context)?;
        let selected = std::mem::take(&mut self.selection).resolve()?;
        if self.all_netns {
            namespaces::show(&self, context, &selected)?;
        } else if let Some(interval) = self.watch {
            watch::show(&self, context, &selected, interval)?;
        } else {
            let mut director = context.open()?;
            let reading = self.read(&mut director)?;
            self.print(context, &selected, &reading)?;
            Unconfirmed::read(context).print();
        }
        Ok(code::DONE)
    }

    /// Fails if options of this verb contradict common options.
    fn ensure_consistent(&self, context: &Context) -> anyhow::Result<()> {
        if self.all_netns && context.netns.is_some() {
            bail!("--all-netns and --netns exclude each other");
        }
        if context.json && (self.json_lines || self.watch.is_some() || self.services) {
            bail!("--json excludes --json-lines, --watch and --services");
        }
        if context.json && self.traffic {
            bail!("--json has no rates of --traffic\nUse --json-lines.");
        }
        Ok(())
    }

    /// Reads the table, with --traffic twice.
    fn read(&self, director: &mut Client) -> anyhow::Result<Reading> {
        let mut start = Instant::now();
        let first = reading::read(director)?;
        if !self.traffic {
            return Ok(Reading { state: first, rates: None });
        }
        let counted = next_interval(&mut start, self.interval.unwrap_or(INTERVAL));
        let state = reading::read(director)?;
        let rates = Some(TableRates::between(&first, &state, counted));
        Ok(Reading { state, rates })
    }

    fn print(&self, context: &Context, selected: &Selected, reading: &Reading) -> anyhow::Result<()> {
        let shown = self.shown(selected, reading)?;
        if context.json {
            return context.write_json(&document(selected, &reading.state, &shown.services));
        }
        if self.json_lines {
            return lines::write(context, &shown.services, reading.rates.as_ref(), None);
        }
        self.write(context, reading, &shown)
    }

    /// Returns the services to show, sorted and limited.
    fn shown<'s>(&self, selected: &Selected, reading: &'s Reading) -> anyhow::Result<Limited<'s>> {
        let mut services = selected.of(&reading.state.services)?;
        order::sort(&mut services, self.sort, reading.rates.as_ref());
        let limit = self.limit.unwrap_or(usize::MAX);
        let omitted = services.split_off(limit.min(services.len()));
        Ok(Limited { services, omitted })
    }

    /// Writes the table as text, as wide as the terminal.
    fn write(&self, context: &Context, reading: &Reading, shown: &Limited<'_>) -> anyhow::Result<()> {
        let text = self.text(context, reading, shown, Size::of_stdout().map(|size| size.columns))?;
        context.write(|out| out.write_all(&text))
    }

    /// Returns the table as text. Without a width, it has all columns.
    fn text(
        &self,
        context: &Context,
        reading: &Reading,
        shown: &Limited<'_>,
        width: Option<usize>,
    ) -> anyhow::Result<Vec<u8>> {
        let mut names: Box<dyn Namer> = if self.names { Box::new(System::default()) } else { Box::new(Numeric) };
        let layout = Layout { has_servers: !self.services, rates: reading.rates.as_ref() };
        let table = Table::new(&shown.services, layout, &mut *names);
        let mut text = Vec::new();
        table::write_head(&mut text, &reading.state)?;
        table.write(&mut text, width, &context.palette())?;
        totals::write(&mut text, shown, reading)?;
        Ok(text)
    }
}

/// Waits until an interval has passed since `start`, the start of the last reading, and sets `start` to the present.
/// Returns the time in which the kernel counted the increase: a reading of a large table takes a part of the interval.
fn next_interval(start: &mut Instant, interval: Duration) -> Duration {
    std::thread::sleep(interval.saturating_sub(start.elapsed()));
    let last = std::mem::replace(start, Instant::now());
    interval::counted(*start - last)
}

/// A table, and its rates if they were measured.
struct Reading {
    state: State,
    rates: Option<TableRates>,
}

/// The services that are shown.
struct Limited<'s> {
    services: Vec<Shown<'s>>,
    /// Those that were selected, but are beyond the limit.
    omitted: Vec<Shown<'s>>,
}

/// Returns the part of a table that is shown.
fn document(selected: &Selected, state: &State, shown: &[Shown<'_>]) -> State {
    let mut document = state.clone();
    document.services = shown
        .iter()
        .map(|shown| {
            let mut service = shown.state.clone();
            if !selected.is_everything() {
                // The newest first.
                service.destinations = shown.servers.iter().rev().map(|server| (*server).clone()).collect();
            }
            service
        })
        .collect();
    document
}
