//! One interval as text or JSON.

use std::io::{self, Write};

use ipvs::document::SCHEMA;
use jiff::Unit;
use serde::Serialize;

use super::columns::{self, Column};
use super::reading::{MOST_CONNECTIONS, Sample, States};
use super::rows::{Item, Row, Sum, View};
use crate::plan::report::{ServerName, ServiceName};
use crate::sight::condition::{Condition, Problem};
use crate::sight::grid::{self, Grid};
use crate::sight::number::{rate, short};
use crate::sight::rates::Rates;
use crate::terminal::color::Palette;
use crate::terminal::plural::count;
use crate::terminal::text;

/// The rows of an interval.
pub(super) struct Table<'t> {
    sample: &'t Sample,
    view: View,
    rows: &'t [Row],
    /// The number of rows beyond `--limit`.
    omitted: usize,
    /// The sums over all rows, also those that are omitted.
    sum: Sum,
}

impl<'t> Table<'t> {
    /// Omits the rows after the first `most`.
    pub(super) fn new(sample: &'t Sample, view: View, rows: &'t [Row], most: usize) -> Self {
        let (shown, omitted) = rows.split_at(most.min(rows.len()));
        Self { sample, view, rows: shown, omitted: omitted.len(), sum: Sum::of(rows) }
    }

    /// Writes the rows as a table, with the sums below it. Without a width, all columns are written.
    pub(super) fn write_text(&self, out: &mut dyn Write, width: Option<usize>, colors: &Palette) -> io::Result<()> {
        let Self { view, rows, .. } = *self;
        let shown = columns::printed(view, width);
        let of_grid = |column: &Column| grid::Column {
            title: column.title(view),
            is_text: column.is_text(),
            rank: match column {
                Column::Name | Column::Service | Column::Connections | Column::Bits => 0,
                Column::Packets => 2,
                _ => 1,
            },
        };
        // A wide service would widen all rows.
        let cell = |column: &Column, row: &Row| match column {
            Column::Service if width.is_some() => columns::cut(&column.cell(row), columns::SHORT_NAME),
            column => column.cell(row),
        };
        let columns: Vec<grid::Column> = shown.iter().map(of_grid).collect();
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| shown.iter().map(|column| cell(column, row)).collect()).collect();
        let grid = Grid::new(&columns, cells.iter().map(Vec::as_slice), width);
        if !rows.is_empty() {
            grid.write_titles(out, 0, colors.title)?;
        }
        for (row, cells) in rows.iter().zip(&cells) {
            grid.write_row(out, cells, 0, row.severity().style(colors))?;
        }
        if !rows.is_empty() {
            writeln!(out)?;
        }
        self.write_sums(out)
    }

    fn write_sums(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { sample, view, rows, omitted, ref sum } = *self;
        let number = rows.len() + omitted;
        let services = if view == View::Services { format!("{}, ", count(number, "service")) } else { String::new() };
        let syn_recv = match &sample.reading.states {
            States::Counted(_) => format!("{} SYN_RECV", short(sum.syn_recv)),
            States::TooMany(_) => format!("SYN_RECV not read: over {} entries", short(MOST_CONNECTIONS)),
            States::Unreadable(error) => format!("SYN_RECV not read: {}", text::escaped(error)),
        };
        let Rates { connections, incoming_bytes, outgoing_bytes, .. } = sum.rates;
        writeln!(out, "{services}{}: {}", count(sum.servers, "server"), count(sum.problems, "problem"))?;
        writeln!(out, "{} active, {} inactive connections, {syn_recv}", short(sum.active), short(sum.inactive))?;
        let [connections, incoming, outgoing] = [connections, 8.0 * incoming_bytes, 8.0 * outgoing_bytes].map(rate);
        writeln!(
            out,
            "{connections} connections/s, {incoming} bits/s in, {outgoing} bits/s out, measured over {} s",
            sample.counted.as_secs()
        )?;
        match (omitted, view) {
            (0, _) => Ok(()),
            (_, View::Services) => writeln!(out, "{} omitted", count(omitted, "service")),
            (_, View::Servers | View::Service(_)) => writeln!(out, "{} omitted", count(omitted, "server")),
        }
    }

    /// Writes the rows as a JSON object on one line.
    pub(super) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { sample, view, rows, omitted, ref sum } = *self;
        let time = sample.reading.time.timestamp();
        let states_not_read = match &sample.reading.states {
            States::Counted(_) => None,
            States::TooMany(number) => Some(format!("{number} entries, limit {MOST_CONNECTIONS}")),
            States::Unreadable(error) => Some(error.clone()),
        };
        let is_services = view == View::Services;
        let line = Line {
            schema: SCHEMA,
            time: time.round(Unit::Millisecond).unwrap_or(time).to_string(),
            seconds: sample.counted.as_secs_f64(),
            total: Numbers {
                active_connections: sum.active,
                inactive_connections: sum.inactive,
                syn_recv: states_not_read.is_none().then_some(sum.syn_recv),
                per_second: Some(sum.rates),
            },
            omitted,
            states_not_read,
            services: is_services.then(|| rows.iter().map(service_row).collect()),
            servers: (!is_services).then(|| rows.iter().filter_map(server_row).collect()),
        };
        writeln!(out, "{}", text::json(&serde_json::to_string(&line)?))
    }
}

/// An interval, as JSON.
#[derive(Serialize)]
struct Line {
    schema: u32,
    time: String,
    /// The time in which the rates were counted.
    seconds: f64,
    /// The sums over the services or servers of this line, and those that are omitted.
    total: Numbers,
    /// The number of services or servers beyond `--limit`.
    omitted: usize,
    /// The reason why `syn_recv` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    states_not_read: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<ServiceRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    servers: Option<Vec<ServerRow>>,
}

#[derive(Serialize)]
struct ServiceRow {
    service: ServiceName,
    servers_up: usize,
    servers: usize,
    #[serde(flatten)]
    numbers: Numbers,
    problem: Option<&'static str>,
}

#[derive(Serialize)]
struct ServerRow {
    service: ServiceName,
    server: ServerName,
    state: Option<&'static str>,
    weight: Option<u32>,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Serialize)]
struct Numbers {
    active_connections: u64,
    inactive_connections: u64,
    /// `null`: the connection table was not read.
    syn_recv: Option<u64>,
    /// `null`: the item is new.
    per_second: Option<Rates>,
}

impl Numbers {
    fn of(row: &Row) -> Self {
        Self {
            active_connections: row.active,
            inactive_connections: row.inactive,
            syn_recv: row.syn_recv,
            per_second: row.rates,
        }
    }
}

fn service_row(row: &Row) -> ServiceRow {
    ServiceRow {
        service: row.item.service().into(),
        servers_up: row.up.0,
        servers: row.up.1,
        numbers: Numbers::of(row),
        problem: row.problem().map(Problem::name),
    }
}

fn server_row(row: &Row) -> Option<ServerRow> {
    let Item::Server(service, server) = row.item else { return None };
    Some(ServerRow {
        service: service.into(),
        server: server.into(),
        state: row.condition.map(Condition::name),
        weight: row.weight,
        numbers: Numbers::of(row),
    })
}
