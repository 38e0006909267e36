//! `--drain`: servers that are to go take no new connections, and go when the old ones have ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipvs::apply::{apply, apply_plan};
use ipvs::plan::Options;
use ipvs::{Change, Client, Config, DestinationKey, ServiceKey, State, plan};

use crate::plan::progress::{Progress, WithProgress};
use crate::terminal::plural::count;

const PAUSE: Duration = Duration::from_millis(500);

/// Weight 0 first; then wait, until the connections have ended or the time is over; then delete. Tells how many
/// connections were cut by that.
pub(crate) fn apply_drained(
    director: &mut Client,
    desired: &Config,
    options: &Options,
    before: State,
    limit: Duration,
) -> anyhow::Result<usize> {
    let leaving = leaving(&plan(desired, &before, options).changes, &before);
    let drain = Options { drain: true, ..options.clone() };
    let first = plan(desired, &before, &drain);
    apply_plan(&mut WithProgress(director), desired, &drain, before, first)?;
    let cut = wait(director, &leaving, limit)?;
    apply(&mut WithProgress(director), desired, options)?;
    Ok(cut)
}

/// Servers that are to go, each with its service.
type Leaving = BTreeSet<(ServiceKey, DestinationKey)>;

/// The servers that a plan deletes, also with their services.
fn leaving(changes: &[Change], state: &State) -> Leaving {
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

/// How many connections are left then.
fn wait(director: &mut Client, leaving: &Leaving, limit: Duration) -> anyhow::Result<usize> {
    let start = Instant::now();
    let mut progress = Progress::default();
    loop {
        let asked = Instant::now();
        let (connections, templates) = left(director, leaving)?;
        let over = start.elapsed() >= limit;
        if connections == 0 || over {
            progress.end();
            return Ok(connections);
        }
        let rest = humantime::format_duration(Duration::from_secs(limit.saturating_sub(start.elapsed()).as_secs()));
        progress.show(&format!(
            "draining {}: {} and {} left, for at most {rest}",
            count(leaving.len(), "server"),
            count(connections, "connection"),
            count(templates, "persistent client"),
        ));
        // Reading a large connection table takes the kernel's time, too.
        std::thread::sleep(PAUSE.max(4 * asked.elapsed()).min(limit.saturating_sub(start.elapsed())));
    }
}

/// Connections, and persistence templates, of the servers that are to go.
fn left(director: &mut Client, leaving: &Leaving) -> anyhow::Result<(usize, usize)> {
    let (mut active, mut inactive, mut templates) = (0, 0, 0);
    let services: BTreeSet<ServiceKey> = leaving.iter().map(|(service, _)| *service).collect();
    for service in services {
        for server in director.destinations(&service)? {
            if leaving.contains(&(service, server.destination.key)) {
                active += server.active_connections as usize;
                inactive += server.inactive_connections as usize;
                templates += server.persistent_connections as usize;
            }
        }
    }
    // What is counted as inactive may still be half open, or long over and only remembered: the table tells.
    let connections = if active == 0 && inactive > 0 { unfinished(director, leaving)? } else { active + inactive };
    Ok((connections, templates))
}

/// Connections to these servers that are not over. A server is told by its address alone: which service a connection
/// belongs to, the table does not say.
fn unfinished(director: &Client, leaving: &Leaving) -> anyhow::Result<usize> {
    let servers: BTreeSet<DestinationKey> = leaving.iter().map(|(_, server)| *server).collect();
    let mut unfinished = 0;
    for entry in director.connections()? {
        let entry = entry?;
        let is_over = matches!(entry.state.as_bytes(), b"TIME_WAIT" | b"CLOSE" | b"CLOSED" | b"NONE");
        let server = DestinationKey { address: entry.destination.ip(), port: entry.destination.port() };
        if !entry.is_template() && !is_over && servers.contains(&server) {
            unfinished += 1;
        }
    }
    Ok(unfinished)
}
