//! `ipvsadm-rs monitor`: prints the changes of the table as they happen.

mod lines;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;
use ipvs::{Counters, Director, Error, Lost, Observation, State, Watch};
use jiff::Zoned;

use crate::context::{Context, code, positive_duration};
use crate::sight::interval;
use crate::sight::rates::{Rates, TableRates};
use crate::terminal::reader::wait_until;
use lines::Record;

/// Print the changes of the table as they happen
///
/// Prints a snapshot of the table, and then a line for each change, by any program. The line has the time, the equivalent
/// line of ipvsadm, and the old options after `# was`. `+` marks items that were added, `~` those that were edited, `-`
/// those that were deleted, and `=` those of the snapshot. On a terminal, the list of a long snapshot is omitted.
///
/// The kernel does not announce changes, so the table is read once in each interval. A change that is reverted within an
/// interval is not seen. If the table cannot be read, or if the kernel is resizing it, a line has the reason. As soon as
/// it can be read again, the changes since then and a new snapshot are printed.
///
/// `monitor` never locks the table. It ends when the reader of its output exits.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Monitor {
    /// Print a JSON object on a line for each change
    #[arg(long)]
    json_lines: bool,
    /// Set the time between two readings, such as 500ms or 10s
    #[arg(long, value_name = "DURATION", value_parser = positive_duration, default_value = "1s")]
    interval: Duration,
    /// Also print the traffic of each service and server that had any
    ///
    /// The kernel updates its counters every 2 seconds. So the rates are averages over the time of --interval, rounded
    /// up to a multiple of 2 seconds.
    #[arg(long)]
    stats: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The reader of the output exited
  1  Error";

impl Monitor {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let mut observer = Observer::new(context.open()?, self.interval);
        let mut counters = self.stats.then(|| CounterReader::new(self.interval));
        let mut next = Instant::now();
        loop {
            if next <= Instant::now() {
                let records = observer.poll()?;
                if !self.print(context, &records)? {
                    return Ok(code::DONE);
                }
                next = (next + self.interval).max(Instant::now());
            }
            if let Some(counters) = counters.as_mut().filter(|counters| counters.next <= Instant::now()) {
                let records = counters.read(observer.watch.director());
                if !self.print(context, &records)? {
                    return Ok(code::DONE);
                }
            }
            let deadline = counters.as_ref().map_or(next, |counters| counters.next.min(next));
            if !wait_until(deadline) {
                return Ok(code::DONE);
            }
        }
    }

    /// Prints records. Returns false if the reader of the output has exited.
    fn print(&self, context: &Context, records: &[Record]) -> anyhow::Result<bool> {
        /// The maximum number of items that a snapshot lists on a terminal.
        const MAX_LISTED: usize = 50;
        if records.is_empty() {
            return Ok(true);
        }
        let (now, colors) = (Zoned::now(), context.palette());
        let most = io::stdout().is_terminal().then_some(MAX_LISTED);
        context.write_while_read(|out| {
            records.iter().try_for_each(|record| match self.json_lines {
                true => record.write_json(out, &now),
                false => record.write_text(out, &now, &colors, most),
            })
        })
    }
}

/// A watch that also takes a new snapshot when it can observe the table again.
struct Observer<D> {
    watch: Watch<D>,
    /// Whether a snapshot was taken since the table could not be observed.
    has_snapshot: bool,
}

impl<D: Director> Observer<D> {
    fn new(director: D, interval: Duration) -> Self {
        Self { watch: Watch::new(director, interval), has_snapshot: false }
    }

    /// Reads the table. Fails only before the first snapshot.
    fn poll(&mut self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        match self.watch.poll() {
            Some(Observation::Events(events)) => records.extend(events.iter().filter_map(Record::change)),
            Some(Observation::Lost(Lost::Unreadable(error))) if self.watch.state().is_none() => return Err(error),
            Some(Observation::Lost(reason)) => records.push(Record::lost(reason)),
            // A snapshot is taken below.
            _ => {}
        }
        if self.watch.is_lost() {
            self.has_snapshot = false;
        } else if !std::mem::replace(&mut self.has_snapshot, true) {
            records.extend(self.watch.state().map(Record::snapshot));
        }
        Ok(records)
    }
}

/// Reads the counters at regular times.
struct CounterReader {
    interval: Duration,
    /// The time of the next reading.
    next: Instant,
    last: Option<(Instant, State)>,
}

impl CounterReader {
    fn new(interval: Duration) -> Self {
        Self { interval: interval::round_up(interval), next: Instant::now(), last: None }
    }

    /// Returns the traffic since the last reading, sorted by service. A failed reading is not reported, because the
    /// watch reports it.
    fn read(&mut self, director: &mut impl Director) -> Vec<Record> {
        self.next = (self.next + self.interval).max(Instant::now());
        let now = Instant::now();
        let read = director.state_with(Counters::Read).ok().filter(|state| !state.is_uncertain);
        let last = std::mem::replace(&mut self.last, read.map(|state| (now, state)));
        match (last, &mut self.last) {
            (Some((then, old)), Some((now, new))) => {
                new.services.sort_by_key(|service| service.service.key);
                traffic(&old, new, interval::counted(*now - then))
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the traffic between two readings.
fn traffic(old: &State, new: &State, counted: Duration) -> Vec<Record> {
    let rates = TableRates::between(old, new, counted);
    let mut records = Vec::new();
    for service in &new.services {
        let key = service.service.key;
        let of_service = rates.of_service(&key).map(|rates| (None, rates));
        // The oldest server first.
        let servers = service.destinations.iter().rev().map(|server| server.destination.key);
        let of_servers = servers.filter_map(|server| Some((Some(server), rates.of_server(&key, &server)?)));
        let all = of_service.into_iter().chain(of_servers).filter(|(_, rates)| **rates != Rates::default());
        records.extend(all.map(|(server, rates)| Record::traffic(key, server, counted, rates)));
    }
    records
}

#[cfg(test)]
mod tests {
    use ipvs::{Change, Model, Refused, Scheduler, Service, ServiceKey};

    use super::*;

    /// A table that cannot be read while `is_lost`.
    #[derive(Default)]
    struct Table {
        model: Model,
        is_lost: bool,
    }

    impl Director for Table {
        fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
            let mut state = self.model.state_with(counters)?;
            state.is_uncertain = self.is_lost;
            Ok(state)
        }

        fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
            self.model.submit(changes)
        }
    }

    fn poll(observer: &mut Observer<Table>) -> Vec<&'static str> {
        let kind = |record: &Record| match record {
            Record::Snapshot { .. } => "snapshot",
            Record::Change(_) => "change",
            Record::Lost { .. } => "lost",
            Record::Traffic(_) => "traffic",
        };
        observer.poll().expect("a model").iter().map(kind).collect()
    }

    #[test]
    fn a_new_snapshot_follows_a_loss() {
        let mut observer = Observer::new(Table::default(), Duration::from_secs(1));
        assert_eq!(poll(&mut observer), ["snapshot"]);
        assert!(poll(&mut observer).is_empty());
        let service = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR);
        observer.watch.director().add_service(&service).expect("added");
        assert_eq!(poll(&mut observer), ["change"]);
        observer.watch.director().is_lost = true;
        observer.watch.director().flush().expect("flushed");
        assert_eq!(poll(&mut observer), ["lost"]);
        assert!(poll(&mut observer).is_empty());
        observer.watch.director().is_lost = false;
        assert_eq!(poll(&mut observer), ["change", "snapshot"]);
        assert!(poll(&mut observer).is_empty());
        // Nothing has changed since the table was lost.
        observer.watch.director().is_lost = true;
        assert_eq!(poll(&mut observer), ["lost"]);
        observer.watch.director().is_lost = false;
        assert_eq!(poll(&mut observer), ["snapshot"]);
    }

    #[test]
    fn only_items_with_traffic_are_listed() {
        let rules = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1\n-a -t 192.0.2.1:80 -r 10.0.0.2\n";
        let old = crate::plan::testing::state(&format!("{rules}-A -f 1 -s rr\n"));
        let mut new = old.clone();
        assert!(traffic(&old, &new, Duration::from_secs(2)).is_empty());
        new.services[0].stats.connections = 1;
        new.services[0].destinations[0].stats.connections = 1;
        assert_eq!(traffic(&old, &new, Duration::from_secs(2)).len(), 2);
    }
}
