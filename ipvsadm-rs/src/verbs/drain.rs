//! `--drain`: servers that are to go take no new connections, and go when the old ones have ended.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use ipvs::apply::{ApplyError, apply, carry_out};
use ipvs::plan::Options;
use ipvs::{Change, Client, Config, DestinationKey, ServiceKey, State, plan};

use crate::failure::say;

const PAUSE: Duration = Duration::from_millis(500);

/// Weight 0 first; then wait, until the connections have ended or the time is over; then delete.
pub(super) fn apply_drained(
    director: &mut Client,
    desired: &Config,
    options: &Options,
    before: State,
    limit: Duration,
) -> Result<(), ApplyError> {
    let leaving = leaving(&plan(desired, &before, options).changes, &before);
    let drain = Options { drain: true, ..options.clone() };
    let first = plan(desired, &before, &drain);
    carry_out(director, desired, &drain, before, first)?;
    wait(director, &leaving, limit)?;
    apply(director, desired, options).map(drop)
}

/// The servers that a plan deletes, also with their services.
fn leaving(changes: &[Change], state: &State) -> BTreeSet<(ServiceKey, DestinationKey)> {
    let servers_of = |key: ServiceKey| {
        let services = state.services.iter().filter(move |service| service.service.key == key);
        services.flat_map(|service| &service.destinations).map(move |server| (key, server.destination.key))
    };
    let mut leaving = BTreeSet::new();
    for change in changes {
        match change {
            Change::DeleteDestination(key, server) => drop(leaving.insert((*key, *server))),
            Change::DeleteService(key) => leaving.extend(servers_of(*key)),
            _ => {}
        }
    }
    leaving
}

fn wait(
    director: &mut Client,
    leaving: &BTreeSet<(ServiceKey, DestinationKey)>,
    limit: Duration,
) -> Result<(), ApplyError> {
    let start = Instant::now();
    let mut progress = Progress::default();
    loop {
        let (connections, templates) = left(director, leaving)?;
        let over = start.elapsed() >= limit;
        if connections == 0 || over {
            progress.end();
            if connections > 0 {
                say(&format!("the time is over: {connections} connections are cut"));
            }
            return Ok(());
        }
        let rest = humantime::format_duration(Duration::from_secs(limit.saturating_sub(start.elapsed()).as_secs()));
        progress.show(&format!(
            "draining {} servers: {connections} connections, {templates} persistence templates left; {rest} at the most",
            leaving.len()
        ));
        std::thread::sleep(PAUSE);
    }
}

/// Connections and persistence templates of the servers that are to go.
fn left(director: &mut Client, leaving: &BTreeSet<(ServiceKey, DestinationKey)>) -> Result<(u64, u64), ApplyError> {
    let (mut connections, mut templates) = (0, 0);
    let services: BTreeSet<ServiceKey> = leaving.iter().map(|(service, _)| *service).collect();
    for service in services {
        for server in director.destinations(&service)? {
            if leaving.contains(&(service, server.destination.key)) {
                connections += u64::from(server.active_connections) + u64::from(server.inactive_connections);
                templates += u64::from(server.persistent_connections);
            }
        }
    }
    Ok((connections, templates))
}

/// A line that is written over, on a terminal only.
#[derive(Default)]
struct Progress {
    shown: bool,
}

impl Progress {
    fn show(&mut self, line: &str) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() {
            // If nobody can read it, there is nothing to be done about it.
            let _ = write!(stderr, "\r\x1b[K{line}");
            self.shown = true;
        }
    }

    fn end(&mut self) {
        if self.shown {
            let _ = writeln!(std::io::stderr());
        }
    }
}
