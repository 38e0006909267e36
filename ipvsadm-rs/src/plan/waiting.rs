//! Waiting until the connections of servers have ended.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use ipvs::{Client, Counters, DestinationKey, ServiceKey};
use serde::Serialize;

use crate::context::code;
use crate::plan::entries::Entries;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// The minimum time between two readings of the table.
const PAUSE: Duration = Duration::from_millis(500);

/// The number of connections from which the connection table is read only if no connection is active.
const MANY: u64 = 100_000;

/// Servers, each with its service.
pub(crate) type Servers = BTreeSet<(ServiceKey, DestinationKey)>;

/// The connections of servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Left {
    /// Established connections.
    pub(crate) active_connections: u64,
    /// Connections in other states. Those that have ended do not count, if the connection table was read.
    pub(crate) inactive_connections: u64,
    /// Clients that persistence ties to a server.
    pub(crate) persistence_templates: u64,
    /// The seconds until the last of them expires, if no packet arrives. Absent if the connection table was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expire_within: Option<u64>,
}

impl Left {
    /// Returns the number of connections, without templates.
    pub(crate) fn connections(&self) -> u64 {
        self.active_connections + self.inactive_connections
    }

    /// Returns whether there are neither connections nor templates.
    pub(crate) fn is_nothing(&self) -> bool {
        self.connections() == 0 && self.persistence_templates == 0
    }

    /// Prints a note if connections were dropped, because the time limit of --drain was reached.
    pub(crate) fn print_note(&self) {
        if self.connections() > 0 {
            print_error(&format!("note: the time limit of --drain was reached: {self} dropped"));
        }
    }

    /// Returns the exit code of a command that dropped these connections.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.connections() > 0 { code::TIME_OVER } else { code::DONE }
    }
}

/// Formats as `3 active, 1 inactive connection, 1 persistence template`.
impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} active, {}", self.active_connections, count(self.inactive_connections, "inactive connection"))?;
        if self.persistence_templates > 0 {
            write!(f, ", {}", count(self.persistence_templates, "persistence template"))?;
        }
        Ok(())
    }
}

/// The end of a wait.
pub(crate) enum Waited {
    /// Nothing is left.
    Ended,
    /// The limit was reached.
    Over(Left),
    /// It was stopped.
    Stopped,
}

/// Reads the connections of servers again and again, until `is_done` returns true, the limit is reached, or it is
/// stopped. `is_done` also gets the time that is left.
pub(crate) fn wait(
    director: &mut Client,
    servers: &Servers,
    limit: Option<Duration>,
    is_stopped: &dyn Fn() -> bool,
    is_done: &mut dyn FnMut(&Left, Option<Duration>) -> bool,
) -> anyhow::Result<Waited> {
    let start = Instant::now();
    loop {
        let started = Instant::now();
        let left = left(director, servers, is_stopped)?;
        let rest = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        if is_done(&left, rest) {
            return Ok(Waited::Ended);
        }
        if rest.is_some_and(|rest| rest.is_zero()) {
            return Ok(Waited::Over(left));
        }
        // Reading a large connection table is expensive. At most a fifth of the time is spent on it.
        let pause = PAUSE.max(4 * started.elapsed()).min(rest.unwrap_or(Duration::MAX));
        if !sleep(pause, is_stopped) {
            return Ok(Waited::Stopped);
        }
    }
}

/// Returns a line of at most 80 columns about servers that are being drained.
pub(crate) fn line(servers: &Servers, left: &Left, rest: Option<Duration>) -> String {
    let seconds = |seconds: u64| humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let Left { active_connections: active, inactive_connections: inactive, persistence_templates: templates, .. } =
        left;
    let templates = if *templates > 0 { format!(", {}", count(*templates, "template")) } else { String::new() };
    let end = left.expire_within.map(|within| format!("; expire in {}", seconds(within))).unwrap_or_default();
    let rest = rest.map(|rest| format!("; limit in {}", seconds(rest.as_secs()))).unwrap_or_default();
    format!(
        "draining {}: {active} active, {inactive} inactive{templates}{end}{rest}",
        count(addresses(servers), "server")
    )
}

fn addresses(servers: &Servers) -> usize {
    servers.iter().map(|(_, server)| server.address).collect::<BTreeSet<_>>().len()
}

/// Returns the number of servers and of services: `1 server in 40 services`.
pub(crate) fn number(servers: &Servers) -> String {
    let services: BTreeSet<_> = servers.iter().map(|(service, _)| service).collect();
    format!("{} in {}", count(addresses(servers), "server"), count(services.len(), "service"))
}

/// Sleeps, and returns whether it slept to the end. Returns false as soon as it is stopped.
pub(crate) fn sleep(pause: Duration, is_stopped: &dyn Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if is_stopped() {
            return false;
        }
        let rest = pause.saturating_sub(start.elapsed());
        if rest.is_zero() {
            return true;
        }
        std::thread::sleep(rest.min(PAUSE));
    }
}

/// Returns the connections of the servers.
pub(crate) fn left(director: &mut Client, servers: &Servers, is_stopped: &dyn Fn() -> bool) -> anyhow::Result<Left> {
    let mut left = Left::default();
    let services: BTreeSet<ServiceKey> = servers.iter().map(|(service, _)| *service).collect();
    for service in services {
        for server in director.destinations_with(&service, Counters::Skip)? {
            if servers.contains(&(service, server.destination.key)) {
                left.active_connections += u64::from(server.active_connections);
                left.inactive_connections += u64::from(server.inactive_connections);
                left.persistence_templates += u64::from(server.persistent_connections);
            }
        }
    }
    // Inactive connections may be half open, or ended and kept only for a timeout. Only the connection table
    // distinguishes them.
    if !left.is_nothing() && (left.active_connections == 0 || left.connections() < MANY) {
        let (unfinished, expire_within) = unfinished(director, servers, is_stopped)?;
        left.expire_within = expire_within;
        if left.active_connections == 0 {
            left.inactive_connections = unfinished;
        }
    }
    Ok(left)
}

/// Returns the number of connections to these servers that have not ended, and the seconds until the last of them, or of
/// their templates, expires. They are matched by the server's address alone, because the connection table does not name
/// the service. The number is too low if it was stopped.
fn unfinished(
    director: &Client,
    servers: &Servers,
    is_stopped: &dyn Fn() -> bool,
) -> anyhow::Result<(u64, Option<u64>)> {
    /// The number of connections that are read at once. Reading millions takes seconds.
    const PIECE: usize = 65536;
    let servers: BTreeSet<DestinationKey> = servers.iter().map(|(_, server)| *server).collect();
    let (mut unfinished, mut expire_within) = (0, None);
    for (index, entry) in Entries::new(director.connections()?).enumerate() {
        if index % PIECE == PIECE - 1 && is_stopped() {
            break;
        }
        let entry = entry?;
        let has_ended = matches!(entry.state.as_bytes(), b"TIME_WAIT" | b"CLOSE" | b"CLOSED");
        let server = DestinationKey { address: entry.destination.ip(), port: entry.destination.port() };
        // A template has the state NONE.
        let is_idle = entry.state.as_bytes() == b"NONE" && !entry.is_template();
        if has_ended || is_idle || !servers.contains(&server) {
            continue;
        }
        expire_within = expire_within.max(Some(entry.expires_in().as_secs()));
        unfinished += u64::from(!entry.is_template());
    }
    Ok((unfinished, expire_within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_counts_once() {
        let service = |port| ServiceKey::tcp([192, 0, 2, 1], port);
        let server = |last, port| DestinationKey::from(([10, 0, 0, last], port));
        let servers: Servers =
            [(service(80), server(1, 80)), (service(443), server(1, 443)), (service(443), server(2, 443))].into();
        assert_eq!(number(&servers), "2 servers in 2 services");
        let left =
            Left { active_connections: 5, persistence_templates: 1, expire_within: Some(870), ..Left::default() };
        let line = line(&servers, &left, Some(Duration::from_millis(90_500)));
        assert_eq!(line, "draining 2 servers: 5 active, 0 inactive, 1 template; expire in 14m 30s; limit in 1m 30s");
        assert_eq!((left.exit_code(), Left::default().exit_code()), (3, 0));
    }
}
