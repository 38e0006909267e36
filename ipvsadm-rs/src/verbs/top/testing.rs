//! Recorded readings for the tests.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Parser;
use ipvs::{Connections, DestinationState, State, Stats};

use super::assessments::Assessments;
use super::model::{Model, Options};
use super::reading::{Counts, Reading, Sample, States};
use super::rows::{Key, View};
use crate::plan::testing::state;
use crate::sight::selection::{Selected, Selection};

/// A connection table.
pub(super) const TABLE: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899
TCP 0A090002 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899
TCP 0A090003 9C41 0A000001 0050 0A010001 1F90 SYN_RECV         59
TCP 0A090003 9C41 0A000001 0050 0A010002 1F90 SYN_RECV         59
TCP 0A090001 0000 0A000001 0050 0A010001 1F90 NONE            359
UDP 0A080001 9C41 0A000001 0035 0A010001 0035 UDP             299
TCP 0A090004 9C41 0A000009 0050 0A010003 0050 ESTABLISHED     899
";

const RULES: &str = "\
-A -t 10.0.0.1:80 -s wrr
-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 3 -x 50
-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 1
-a -t 10.0.0.1:80 -r 10.1.0.3:8080 -m -w 0
-A -t 192.0.2.1:443 -s sh
-a -t 192.0.2.1:443 -r 10.1.0.11:443 -g
-a -t 192.0.2.1:443 -r 10.1.0.12:443 -g -w 0
-A -u 10.0.0.1:53 -s rr
-a -u 10.0.0.1:53 -r 10.1.0.1:53 -m
-A -t [2001:db8:1111:2222:3333:4444:5555:6666]:443 -s rr
-a -t [2001:db8:1111:2222:3333:4444:5555:6666]:443 -r [2001:db8:1111:2222:3333:4444:5555:7777]:443 -m
-A -f 7 -s rr
";

/// The numbers of each server, in the order of the rules: active and inactive connections; and new connections, packets
/// in and out, and bytes in and out for each interval.
const SERVERS: [[u32; 7]; 7] = [
    [35, 7, 15, 3000, 2500, 400_000, 9_000_000],
    [4, 2, 10, 1000, 900, 90_000, 3_000_000],
    [1, 1, 0, 20, 10, 1000, 2000],
    [5000, 100, 4, 90_000, 0, 700_000_000, 0],
    [0, 0, 0, 0, 0, 0, 0],
    [0, 60, 16, 40, 40, 4000, 8000],
    [5, 22, 11, 11, 0, 660, 0],
];

/// Returns the reading after a number of intervals of 2 s.
fn reading(intervals: u32) -> Reading {
    let mut state = state(RULES);
    state.services.sort_by_key(|service| service.service.key);
    let mut numbers = SERVERS.iter();
    for line in RULES.lines().filter(|line| line.starts_with("-a")) {
        let of_server = numbers.next().expect("numbers for each server");
        let key = line.split(' ').nth(4).and_then(|key| key.parse::<std::net::SocketAddr>().ok()).expect("a server");
        let service = line.split(' ').nth(2).expect("a service");
        let is_service = |text: &str| text.ends_with(service);
        let found = state.services.iter_mut().find(|state| is_service(&state.service.key.to_string()));
        let found = found.expect("the service");
        let server = found.destinations.iter_mut().find(|server| server.destination.key == key.into());
        set(server.expect("the server"), of_server, intervals);
    }
    for service in &mut state.services {
        service.stats = service.destinations.iter().fold(Stats::default(), |sum, server| add(sum, &server.stats));
    }
    let states = States::Counted(counts(&state));
    let time = "2026-11-27T16:00:51+00:00[UTC]".parse::<jiff::Zoned>().expect("a time");
    let time = &time + jiff::SignedDuration::from_secs(2 * i64::from(intervals));
    Reading { time, instant: Instant::now() + Duration::from_secs(2) * intervals, state, states }
}

fn counts(state: &State) -> Counts {
    let mut table = TABLE.to_owned();
    let prefix = "2001:0db8:1111:2222:3333:4444:5555";
    for port in 0..22 {
        let client = format!("{prefix}:0009 {:04X}", 40_000 + port);
        writeln!(table, "TCP {client} {prefix}:6666 01BB {prefix}:7777 01BB SYN_RECV         59")
            .expect("memory takes all");
    }
    Counts::count(Connections::new(table.as_bytes()).expect("a title"), state).expect("a table")
}

fn set(server: &mut DestinationState, numbers: &[u32; 7], intervals: u32) {
    let [active, inactive, counters @ ..] = *numbers;
    (server.active_connections, server.inactive_connections) = (active, inactive);
    // The traffic rises and falls.
    let total: u64 = (1..=intervals).map(|interval| [4, 6, 8, 10, 7, 5][interval as usize % 6]).sum();
    let [connections, packets_in, packets_out, bytes_in, bytes_out] =
        counters.map(|counter| u64::from(counter) * total / 10);
    server.stats.connections = connections;
    (server.stats.incoming_packets, server.stats.outgoing_packets) = (packets_in, packets_out);
    (server.stats.incoming_bytes, server.stats.outgoing_bytes) = (bytes_in, bytes_out);
}

fn add(mut sum: Stats, stats: &Stats) -> Stats {
    sum.connections += stats.connections;
    sum.incoming_packets += stats.incoming_packets;
    sum.outgoing_packets += stats.outgoing_packets;
    sum.incoming_bytes += stats.incoming_bytes;
    sum.outgoing_bytes += stats.outgoing_bytes;
    sum
}

/// Returns the sample between two readings, in an interval with all the traffic of the table above.
pub(super) fn sample() -> Sample {
    sample_after(3)
}

fn sample_after(intervals: u32) -> Sample {
    Sample::new(reading(intervals), Some(&reading(intervals - 1)), &mut Assessments::default())
}

/// Returns the options of a command line that select services and servers.
pub(super) fn selected(options: &[&str]) -> Selected {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        selection: Selection,
    }
    let line = Line::try_parse_from([&["top"], options].concat()).expect("options");
    line.selection.resolve().expect("names")
}

/// Returns the screen after a number of intervals.
pub(super) fn model(view: View, intervals: u32) -> Model {
    let options = Options {
        selected: selected(&[]),
        interval: Duration::from_secs(2),
        sort: Key::default(),
        view,
        is_colored: true,
    };
    let first = Sample::new(reading(0), None, &mut Assessments::default());
    let mut model = Model::new(options, first);
    (1..=intervals).for_each(|interval| model.add(sample_after(interval)));
    model
}

/// Returns a sample like [`sample`], with more connections than are read.
pub(super) fn sample_of_many_connections() -> Sample {
    let mut sample = sample();
    sample.reading.states = States::TooMany(123_456);
    sample
}
