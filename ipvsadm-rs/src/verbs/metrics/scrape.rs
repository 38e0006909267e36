//! A scrape: a reading of the table, or its failure, as text.

use std::io;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ipvs::{Error, Selector};

use super::limit::{Chosen, Omitted};
use super::names::{PREFIX, SCRAPE, SERVERS, SERVICES, TOTALS};
use super::reading::{Reading, Table};
use super::text::{Item, Text};
use super::{Prefix, node};

/// The items that have metrics of their own. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Detail {
    /// The whole table
    Totals,
    /// The whole table, and each service
    Services,
    /// The whole table, each service, and each server
    Servers,
}

/// The options of a scrape.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) prefix: Prefix,
    pub(super) detail: Detail,
    /// 0: no limit.
    pub(super) max_series: usize,
    pub(super) only: Vec<Selector>,
}

/// Values of the scrape itself.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) is_up: bool,
    pub(super) values: Values,
    pub(super) omitted: Omitted,
}

/// Values of a reading that may have failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    pub(super) duration: Duration,
    /// The number of failed readings. `None` for a program that reads only once.
    pub(super) errors: Option<u64>,
    /// The number of network namespaces that could not be read. `None` unless all are read.
    pub(super) unreadable: Option<usize>,
}

impl Item for Scrape {
    const LABELS: &'static [&'static str] = &[];

    fn labels(&self) -> &str {
        ""
    }
}

impl Options {
    /// Opens the table unless it is open, and reads it. Returns the reading and the time that it took.
    pub(super) fn read(&self, table: &mut Option<Table>) -> (Result<Reading, Error>, Duration) {
        let start = Instant::now();
        let opened = match table {
            Some(table) => Ok(table),
            None => Table::open().map(|opened| table.insert(opened)),
        };
        let reading = opened.and_then(|table| table.read(&self.only, None));
        (reading, start.elapsed())
    }

    /// Writes the text of the readings, or of a failure if there are none.
    pub(super) fn write(&self, readings: &[Reading], values: Values, out: &mut dyn io::Write) -> io::Result<()> {
        if self.prefix == Prefix::Node {
            let text = readings.first().map(|reading| node::text(reading, self.detail)).unwrap_or_default();
            return out.write_all(&text);
        }
        let chosen = Chosen::of(readings, self.detail, self.max_series);
        let scrape = Scrape { is_up: !readings.is_empty(), values, omitted: chosen.omitted };
        let mut text = Text::new(out);
        text.add(PREFIX, SCRAPE, [&scrape].into_iter())?;
        text.add(PREFIX, TOTALS, readings.iter().map(|reading| &reading.totals))?;
        let services = || readings.iter().flat_map(|reading| &reading.services);
        text.add(PREFIX, SERVICES, services().take(chosen.services))?;
        let servers = services().flat_map(|service| &service.servers);
        text.add(PREFIX, SERVERS, servers.take(chosen.servers))?;
        text.end()
    }

    /// Returns the text.
    pub(super) fn text(&self, readings: &[Reading], values: Values) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to a vector does not fail.
        let _ = self.write(readings, values, &mut out);
        out
    }
}
