//! Services, destinations and changes → lines of ipvsadm's language.

use std::fmt;
use std::io::Write;

use super::options::{COMMANDS, OPTIONS, Save, Verb};
use super::resolver::{Namer, Numeric};
use super::saved::{self, Line, Saved};
use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::family::Protocol;
use crate::key::ServiceKey;
use crate::service::Service;

fn write_line(out: &mut Vec<u8>, verb: Verb, saved: &Saved<'_>, names: &mut dyn Namer) {
    let Some(command) = COMMANDS.iter().find(|row| row.verb == verb) else { return };
    match command.shorts.as_bytes().first() {
        Some(letter) => out.extend_from_slice(&[b'-', *letter]),
        None => {
            out.extend_from_slice(b"--");
            out.extend_from_slice(command.long.as_bytes());
        }
    }
    let mut line = Line { out, names };
    SAVES.iter().for_each(|save| save(&mut line, saved));
}

/// How the options are written that are saved: a third of the rows, picked once for all lines.
static SAVES: [Save; COUNT] = {
    let mut saves: [Save; COUNT] = [saved::service_address; COUNT];
    let (mut row, mut next) = (0, 0);
    while row < OPTIONS.len() {
        if let Some(save) = OPTIONS[row].save {
            saves[next] = save;
            next += 1;
        }
        row += 1;
    }
    saves
};
const COUNT: usize = {
    let (mut row, mut count) = (0, 0);
    while row < OPTIONS.len() {
        count += OPTIONS[row].save.is_some() as usize;
        row += 1;
    }
    count
};

/// Whether ipvsadm's language has words for a service of that kind: none for protocols other than TCP, UDP and SCTP.
pub fn has_words(key: &ServiceKey) -> bool {
    !matches!(key, ServiceKey::Address { protocol: Protocol::Other(_), .. })
}

/// Append the line that adds a service, without a line end; for one that has no words ([`has_words`]) a comment.
pub fn write_service(out: &mut Vec<u8>, service: &Service, names: &mut dyn Namer) {
    if !has_words(&service.key) {
        return write_comment(out, &service.key);
    }
    let saved = Saved { key: Some(service.key), service: Some(service), ..Saved::default() };
    write_line(out, Verb::AddService, &saved, names);
}

fn write_comment(out: &mut Vec<u8>, what: &dyn fmt::Display) {
    // Writing to memory does not fail.
    let _ = write!(out, "# no words of ipvsadm's for {what}");
}

/// Append the line that adds a destination, without a line end; a comment, if its service has no words.
pub fn write_destination(out: &mut Vec<u8>, key: &ServiceKey, destination: &Destination, names: &mut dyn Namer) {
    // Its line would be about another service.
    if !has_words(key) {
        return write_comment(out, &Change::AddDestination(*key, *destination).describe());
    }
    let saved =
        Saved { key: Some(*key), server: Some(destination.key), destination: Some(destination), ..Saved::default() };
    write_line(out, Verb::AddServer, &saved, names);
}

/// Append the line that makes a change, without a line end; a comment, if its service has no words.
pub fn write_change(out: &mut Vec<u8>, change: &Change) {
    if change.service().is_some_and(|key| !has_words(&key)) {
        return write_comment(out, &change.describe());
    }
    let mut saved = Saved { key: change.service(), ..Saved::default() };
    let verb = match change {
        Change::AddService(service) => {
            saved.service = Some(service);
            Verb::AddService
        }
        Change::EditService(service) => {
            saved.service = Some(service);
            Verb::EditService
        }
        Change::DeleteService(_) => Verb::DeleteService,
        Change::AddDestination(_, destination) => {
            (saved.server, saved.destination) = (Some(destination.key), Some(destination));
            Verb::AddServer
        }
        Change::EditDestination(_, destination) => {
            (saved.server, saved.destination) = (Some(destination.key), Some(destination));
            Verb::EditServer
        }
        Change::DeleteDestination(_, server) => {
            saved.server = Some(*server);
            Verb::DeleteServer
        }
        Change::Zero(_) => Verb::Zero,
        Change::Flush => Verb::Flush,
        Change::SetTimeouts(timeouts) => {
            // Writing to memory does not fail.
            let _ = write!(out, "--set {} {} {}", timeouts.tcp, timeouts.tcp_fin, timeouts.udp);
            return;
        }
        Change::StartDaemon(daemon) => return write_daemon(out, daemon),
        Change::StopDaemon(role) => return drop(write!(out, "--stop-daemon {role}")),
    };
    write_line(out, verb, &saved, &mut Numeric);
}

fn write_daemon(out: &mut Vec<u8>, daemon: &SyncDaemon) {
    let SyncDaemon { role, interface, sync_id, max_length, group, port, ttl } = daemon;
    // Writing to memory does not fail.
    let _ = write!(out, "--start-daemon {role} --mcast-interface ");
    // A name may be any bytes.
    out.extend_from_slice(interface.as_bytes());
    let _ = write!(out, " --syncid {sync_id}");
    let mut line = Line { out, names: &mut Numeric };
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

/// The ipvsadm line that makes the change.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Vec::new();
        write_change(&mut line, self);
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

/// The server and its settings as options of ipvsadm's: `-r 10.0.0.1:80 -m -w 1`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saved = Saved { server: Some(self.key), destination: Some(self), ..Saved::default() };
        let mut line = Vec::new();
        write_line(&mut line, Verb::AddServer, &saved, &mut Numeric);
        let line = String::from_utf8_lossy(&line);
        // The command is that of a change.
        f.write_str(line.split_once(' ').map_or("", |(_, options)| options))
    }
}

/// The ipvsadm line that adds the service.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Change::AddService(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Forwarding;
    use crate::name::Scheduler;
    use crate::rules::{read_config, write_config};
    use crate::state::{Config, ServiceConfig};

    #[test]
    fn what_has_no_words_is_told_of_in_comments() {
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
             # no words of ipvsadm's for protocol 99 192.0.2.1:80\n\
             # no words of ipvsadm's for add server 10.0.0.1:80 to protocol 99 192.0.2.1:80\n"
        );
        let read = read_config(&text, &mut Numeric).expect("reads").config;
        assert_eq!(read.services, config.services[..1]);
    }
}
