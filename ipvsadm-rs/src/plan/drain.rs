//! `--drain`: stops new connections to servers, and deletes the servers when their old connections have ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipvs::apply::{apply, apply_plan};
use ipvs::plan::Options;
use ipvs::{Change, Client, Config, DestinationKey, ServiceKey, State, plan};

use crate::plan::progress::{Progress, WithProgress};
use crate::terminal::plural::count;

/// The minimum time between two readings of the table.
const PAUSE: Duration = Duration::from_millis(500);

/// Sets weights to 0, waits until the connections have ended or the limit is reached, and then applies the plan.
/// Returns the number of connections that were dropped.
pub(crate) fn apply_drained(
    director: &mut Client,
    desired: &Config,
    options: &Options,
    before: State,
    limit: Duration,
) -> anyhow::Result<usize> {
    let to_delete = to_delete(&plan(desired, &before, options).changes, &before);
    let drain = Options { drain: true, ..options.clone() };
    let first = plan(desired, &before, &drain);
    apply_plan(&mut WithProgress(director), desired, &drain, before, first)?;
    let dropped = wait(director, &to_delete, limit)?;
    apply(&mut WithProgress(director), desired, options)?;
    Ok(dropped)
}

/// Servers to be deleted, each with its service.
type ToDelete = BTreeSet<(ServiceKey, DestinationKey)>;

/// Returns the servers that the changes delete, also those of deleted services.
fn to_delete(changes: &[Change], state: &State) -> ToDelete {
    let servers_of = |key: ServiceKey| {
        let services = state.services.iter().filter(move |service| service.service.key == key);
        services.flat_map(|service| &service.destinations).map(move |server| (key, server.destination.key))
    };
    let mut to_delete = BTreeSet::new();
    for change in changes {
        match change {
            Change::DeleteDestination(key, server) => drop(to_delete.insert((*key, *server))),
            Change::DeleteService(key) => to_delete.extend(servers_of(*key)),
            _ => {}
        }
    }
    to_delete
}

/// Waits until no connections are left, or until the limit is reached. Returns the number of connections that are left.
fn wait(director: &mut Client, to_delete: &ToDelete, limit: Duration) -> anyhow::Result<usize> {
    let start = Instant::now();
    let mut progress = Progress::default();
    loop {
        let started = Instant::now();
        let (connections, templates) = left(director, to_delete)?;
        let is_over = start.elapsed() >= limit;
        if connections == 0 || is_over {
            progress.end();
            return Ok(connections);
        }
        let rest = humantime::format_duration(Duration::from_secs(limit.saturating_sub(start.elapsed()).as_secs()));
        progress.show(&format!(
            "draining {}: {} and {} left, for at most {rest}",
            count(to_delete.len(), "server"),
            count(connections, "connection"),
            count(templates, "persistent client"),
        ));
        // Reading a large connection table is expensive. At most a fifth of the time is spent on it.
        std::thread::sleep(PAUSE.max(4 * started.elapsed()).min(limit.saturating_sub(start.elapsed())));
    }
}

/// Returns the number of connections, and of persistence templates, of the servers to be deleted.
fn left(director: &mut Client, to_delete: &ToDelete) -> anyhow::Result<(usize, usize)> {
    let (mut active, mut inactive, mut templates) = (0, 0, 0);
    let services: BTreeSet<ServiceKey> = to_delete.iter().map(|(service, _)| *service).collect();
    for service in services {
        for server in director.destinations(&service)? {
            if to_delete.contains(&(service, server.destination.key)) {
                active += server.active_connections as usize;
                inactive += server.inactive_connections as usize;
                templates += server.persistent_connections as usize;
            }
        }
    }
    // Inactive connections may be half open, or ended and kept only for a timeout. Only the connection table
    // distinguishes them.
    let connections = if active == 0 && inactive > 0 { unfinished(director, to_delete)? } else { active + inactive };
    Ok((connections, templates))
}

/// Returns the number of connections to these servers that have not ended. They are matched by the server's address
/// alone, because the connection table does not name the service.
fn unfinished(director: &Client, to_delete: &ToDelete) -> anyhow::Result<usize> {
    let servers: BTreeSet<DestinationKey> = to_delete.iter().map(|(_, server)| *server).collect();
    let mut unfinished = 0;
    for entry in director.connections()? {
        let entry = entry?;
        let has_ended = matches!(entry.state.as_bytes(), b"TIME_WAIT" | b"CLOSE" | b"CLOSED" | b"NONE");
        let server = DestinationKey { address: entry.destination.ip(), port: entry.destination.port() };
        if !entry.is_template() && !has_ended && servers.contains(&server) {
            unfinished += 1;
        }
    }
    Ok(unfinished)
}
