//! Services, destinations and changes → lines of ipvsadm's language.

use std::fmt;
use std::io::Write as _;

use super::line_writer::LineWriter;
use super::options::{COMMANDS, OPTIONS, Verb, Write};
use super::resolver::{Namer, Numeric};
use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::family::Protocol;
use crate::key::{DestinationKey, ServiceKey};
use crate::name::is_visible;
use crate::service::Service;

/// The values from which the options of a line are written.
#[derive(Default)]
struct Values<'a> {
    key: Option<ServiceKey>,
    service: Option<&'a Service>,
    server: Option<DestinationKey>,
    destination: Option<&'a Destination>,
}

fn write_line(out: &mut Vec<u8>, verb: Verb, values: &Values<'_>, names: &mut dyn Namer) {
    let Some(command) = COMMANDS.iter().find(|row| row.verb == verb) else { return };
    match command.shorts.as_bytes().first() {
        Some(letter) => out.extend_from_slice(&[b'-', *letter]),
        None => {
            out.extend_from_slice(b"--");
            out.extend_from_slice(command.long.as_bytes());
        }
    }
    let mut line = LineWriter { out, names };
    for write in &WRITES {
        match (write, values) {
            (Write::ServiceKey(write), Values { key: Some(key), .. }) => write(&mut line, key),
            (Write::Service(write), Values { service: Some(service), .. }) => write(&mut line, service),
            (Write::DestinationKey(write), Values { key, server: Some(server), .. }) => {
                write(&mut line, key.as_ref(), *server);
            }
            (Write::Destination(write), Values { destination: Some(server), .. }) => write(&mut line, server),
            _ => {}
        }
    }
}

/// The functions that write options in saved lines. Only about a third of the options have one, so they are collected
/// at compile time.
static WRITES: [Write; COUNT] = {
    let mut writes = [Write::Service(|_, _| ()); COUNT];
    let (mut row, mut next) = (0, 0);
    while row < OPTIONS.len() {
        if let Some(write) = OPTIONS[row].write {
            writes[next] = write;
            next += 1;
        }
        row += 1;
    }
    writes
};
const COUNT: usize = {
    let (mut row, mut count) = (0, 0);
    while row < OPTIONS.len() {
        count += OPTIONS[row].write.is_some() as usize;
        row += 1;
    }
    count
};

/// Returns whether ipvsadm's language can name a service. It has no option for protocols other than TCP, UDP and SCTP.
fn has_words(key: &ServiceKey) -> bool {
    !matches!(key, ServiceKey::Address { protocol: Protocol::Other(_), .. })
}

/// Appends the line that adds a service, without a line end.
///
/// If the language cannot name the service (a protocol other than TCP, UDP and SCTP), the line is a comment.
pub fn write_service(out: &mut Vec<u8>, service: &Service, names: &mut dyn Namer) {
    if !has_words(&service.key) {
        return write_comment(out, &service.key);
    }
    let values = Values { key: Some(service.key), service: Some(service), ..Values::default() };
    write_line(out, Verb::AddService, &values, names);
}

fn write_comment(out: &mut Vec<u8>, what: &dyn fmt::Display) {
    // Writing to memory does not fail.
    let _ = write!(out, "# ipvsadm cannot express: {what}");
}

/// Appends the line that adds a destination to the service `key`, without a line end.
///
/// If the language cannot name the service, the line is a comment.
pub fn write_destination(out: &mut Vec<u8>, key: &ServiceKey, destination: &Destination, names: &mut dyn Namer) {
    // Otherwise the line would name a TCP service.
    if !has_words(key) {
        return write_comment(out, &Change::AddDestination(*key, *destination).describe());
    }
    let values =
        Values { key: Some(*key), server: Some(destination.key), destination: Some(destination), ..Values::default() };
    write_line(out, Verb::AddServer, &values, names);
}

/// Appends the line that makes a change, without a line end.
///
/// If the language cannot name the service or the interface, the line is a comment.
pub fn write_change(out: &mut Vec<u8>, change: &Change) {
    if change.service().is_some_and(|key| !has_words(&key)) {
        return write_comment(out, &change.describe());
    }
    let mut values = Values { key: change.service(), ..Values::default() };
    let verb = match change {
        Change::AddService(service) => {
            values.service = Some(service);
            Verb::AddService
        }
        Change::EditService(service) => {
            values.service = Some(service);
            Verb::EditService
        }
        Change::DeleteService(_) => Verb::DeleteService,
        Change::AddDestination(_, destination) => {
            (values.server, values.destination) = (Some(destination.key), Some(destination));
            Verb::AddServer
        }
        Change::EditDestination(_, destination) => {
            (values.server, values.destination) = (Some(destination.key), Some(destination));
            Verb::EditServer
        }
        Change::DeleteDestination(_, server) => {
            values.server = Some(*server);
            Verb::DeleteServer
        }
        Change::Zero(_) => Verb::Zero,
        Change::Flush => Verb::Flush,
        Change::SetTimeouts(timeouts) => {
            // Writing to memory does not fail.
            let _ = write!(out, "--set {} {} {}", timeouts.tcp, timeouts.tcp_fin, timeouts.udp);
            return;
        }
        // The kernel accepts control characters in the name of an interface, except those that are blanks.
        Change::StartDaemon(daemon) if !is_visible(daemon.interface.as_bytes()) => {
            return write_comment(out, &change.describe());
        }
        Change::StartDaemon(daemon) => return write_daemon(out, daemon),
        Change::StopDaemon(role) => return drop(write!(out, "--stop-daemon {role}")),
    };
    write_line(out, verb, &values, &mut Numeric);
}

fn write_daemon(out: &mut Vec<u8>, daemon: &SyncDaemon) {
    let SyncDaemon { role, interface, sync_id, max_length, group, port, ttl } = daemon;
    // Writing to memory does not fail.
    let _ = write!(out, "--start-daemon {role}");
    let mut line = LineWriter { out, names: &mut Numeric };
    // The kernel accepts any bytes in a name.
    line.bytes("--mcast-interface", interface.as_bytes());
    line.number("--syncid", *sync_id);
    if let Some(bytes) = max_length {
        line.display("--sync-maxlen", bytes);
    }
    if let Some(group) = group {
        line.display("--mcast-group", group);
    }
    if let Some(port) = port {
        line.display("--mcast-port", port);
    }
    if let Some(ttl) = ttl {
        line.display("--mcast-ttl", ttl);
    }
}

/// Prints the ipvsadm line that makes the change.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Vec::new();
        write_change(&mut line, self);
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

/// Prints the server and its settings as ipvsadm's options: `-r 10.0.0.1:80 -m -w 1`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = Values { server: Some(self.key), destination: Some(self), ..Values::default() };
        let mut line = Vec::new();
        write_line(&mut line, Verb::AddServer, &values, &mut Numeric);
        let line = String::from_utf8_lossy(&line);
        // The command is removed, because it belongs to a change.
        f.write_str(line.split_once(' ').map_or("", |(_, options)| options))
    }
}

/// Prints the ipvsadm line that adds the service.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Change::AddService(*self).fmt(f)
    }
}

/// Prints the ipvsadm line that starts the daemon.
impl fmt::Display for SyncDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Change::StartDaemon(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Role;
    use crate::destination::Forwarding;
    use crate::name::{Interface, Scheduler};
    use crate::rules::{read_config, write_config};
    use crate::state::{Config, ServiceConfig};

    #[test]
    fn names_stay_one_word_of_one_line() {
        for (name, word) in [("rr\n-C", r"rr\n-C"), ("a b", r"a\x20b"), ("\u{1b}c", r"\x1bc"), ("a#'\"\\", "a#'\"\\")] {
            let service = Service {
                engine: Some(name.parse().expect("short")),
                persistence: Some(60),
                ..Service::new(ServiceKey::udp([192, 0, 2, 1], 80), name.parse().expect("short"))
            };
            assert_eq!(service.to_string(), format!("-A -u 192.0.2.1:80 -s {word} -p 60 --pe {word}"));
        }
        let daemon = |name| SyncDaemon::new(Role::Master, Interface::new(name).expect("short"), 1);
        for name in ["eth0\n-C", "\t", "\u{1b}c"] {
            let line = Change::StartDaemon(daemon(name)).to_string();
            assert_eq!(line, "# ipvsadm cannot express: start the master sync daemon");
        }
    }

    #[test]
    fn inexpressible_services_are_comments() {
        let service = |protocol| ServiceConfig {
            service: Service::new(ServiceKey::new(protocol, [192, 0, 2, 1], 80), Scheduler::RR),
            destinations: vec![Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade)],
        };
        let services = vec![service(Protocol::Tcp), service(Protocol::Other(99))];
        let config = Config { services, ..Config::default() };
        let mut text = Vec::new();
        write_config(&mut text, &config);
        assert_eq!(
            String::from_utf8_lossy(&text),
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n\
             # ipvsadm cannot express: protocol 99 192.0.2.1:80\n\
             # ipvsadm cannot express: add server 10.0.0.1:80 to protocol 99 192.0.2.1:80\n"
        );
        let read = read_config(&text, &mut Numeric).expect("reads").config;
        assert_eq!(read.services, config.services[..1]);
    }
}
