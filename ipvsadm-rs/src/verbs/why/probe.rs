//! Connections to the servers and to the service, for `--probe`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use ipvs::{DestinationKey, Forwarding, Namespace, Protocol};

use super::report::{Finding, Steps};
use super::subject::Subject;
use crate::network::{Network, RouteKind};
use crate::terminal::commands::Command;

/// The time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time to wait for an ICMP error after a datagram.
const PATIENCE_FOR_ERRORS: Duration = Duration::from_millis(300);
/// The number of connections at a time.
const AT_ONCE: usize = 16;
/// The maximum number of servers that are probed.
const MOST: usize = 256;

/// The answer to a connection, or to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Refused,
    /// There was no answer in time. For a datagram, this is no error.
    None,
    /// There is no route, or no host has the address.
    Unreachable,
}

/// The answers of servers.
#[derive(Debug, Default)]
pub(super) struct Probes(HashMap<DestinationKey, Answer>);

impl Probes {
    pub(super) fn of(&self, server: &DestinationKey) -> Option<Answer> {
        self.0.get(server).copied()
    }

    /// Connects to the servers of a service from the network namespace of this thread.
    pub(super) fn of_servers(subject: &Subject) -> Self {
        let Some(protocol) = probed(subject) else { return Self::default() };
        let servers: Vec<(DestinationKey, SocketAddr)> = subject
            .servers()
            .take(MOST)
            .filter_map(|server| {
                let key = server.destination.key;
                let port =
                    if key.port == 0 { subject.followed.target.map(|target| target.port()) } else { Some(key.port) };
                Some((key, SocketAddr::new(key.address, port.filter(|port| *port != 0)?)))
            })
            .collect();
        let answers = Mutex::new(HashMap::new());
        let next = Mutex::new(servers.iter());
        std::thread::scope(|scope| {
            for _ in 0..servers.len().min(AT_ONCE) {
                // Without a thread, fewer servers are probed at a time.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || {
                    loop {
                        let taken = next.lock().ok().and_then(|mut next| next.next().copied());
                        let Some((key, address)) = taken else { return };
                        let answer = ask(protocol, address);
                        if let Ok(mut answers) = answers.lock() {
                            answers.insert(key, answer);
                        }
                    }
                });
            }
        });
        Self(answers.into_inner().unwrap_or_default())
    }

    /// Adds the answers to the steps.
    pub(super) fn add_to(&self, subject: &Subject, steps: &mut Steps<'_>) {
        let Some(protocol) = probed(subject) else {
            steps.add(Finding::unknown("probe", "not probed: only TCP and UDP services can be probed"));
            return;
        };
        let found = |server: &ipvs::DestinationState| {
            let key = server.destination.key;
            Some((key, finding(subject, server.destination.forwarding, key, protocol, self.of(&key)?)))
        };
        steps.add_all(subject.servers().filter_map(found).collect());
        let others = subject.servers().count().saturating_sub(MOST);
        if others > 0 {
            steps.add(Finding::unknown("probe", format!("{others} more servers were not probed")));
        }
    }
}

/// Returns the protocol of a probe. `None`: the service cannot be probed.
fn probed(subject: &Subject) -> Option<Protocol> {
    match subject.followed.protocol {
        Some(protocol @ (Protocol::Tcp | Protocol::Udp)) => Some(protocol),
        None => Some(Protocol::Tcp),
        Some(_) => None,
    }
}

fn finding(
    subject: &Subject,
    forwarding: Forwarding,
    key: DestinationKey,
    protocol: Protocol,
    answer: Answer,
) -> Finding {
    let is_masqueraded = forwarding == Forwarding::Masquerade;
    let port = if key.port == 0 { subject.followed.target.map_or(0, |target| target.port()) } else { key.port };
    let listening = if protocol == Protocol::Udp { "-Hlun" } else { "-Hltn" };
    let cure = || Command::server(format!("ss {listening} sport = :{port}"));
    match (answer, protocol) {
        (Answer::Accepted, _) => Finding::good("probe", "accepted a connection from this director"),
        (Answer::None, Protocol::Udp) => Finding::good("probe", "did not refuse a datagram from this director"),
        (Answer::Refused, _) if is_masqueraded => {
            Finding::broken("probe", "refused a connection from this director", "No program listens on its port.")
                .cure(cure())
        }
        (Answer::None, _) if is_masqueraded => {
            let why = "The server is off, or a firewall drops the packets.";
            Finding::broken("probe", "did not answer a connection from this director", why).cure(cure())
        }
        (Answer::Unreachable, _) => Finding::broken("probe", "cannot be reached from this director", ""),
        // The program may listen on the virtual address only, which the director itself has.
        (Answer::Refused, _) => Finding::unknown("probe", "refused a connection to its own address"),
        (Answer::None, _) => Finding::unknown("probe", "did not answer a connection to its own address"),
    }
}

fn ask(protocol: Protocol, address: SocketAddr) -> Answer {
    let answer = match protocol {
        Protocol::Udp => datagram(address),
        _ => TcpStream::connect_timeout(&address, PATIENCE).map(|_| ()),
    };
    match answer {
        Ok(()) => Answer::Accepted,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Answer::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Answer::Unreachable,
            _ => Answer::None,
        },
    }
}

/// Sends an empty datagram, and waits for an error or for a reply.
fn datagram(address: SocketAddr) -> std::io::Result<()> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE_FOR_ERRORS))?;
    socket.send(&[])?;
    socket.recv(&mut [0; 1]).map(|_| ())
}

/// The number of connections to the service. Two for each server, within limits, so that most schedulers use each one.
fn rounds(servers: usize) -> usize {
    (servers * 2).clamp(2, 8)
}

/// The answers that a client in another network namespace gets from the service.
#[derive(Debug)]
pub(super) struct Seen {
    answers: Vec<Answer>,
    /// The link-layer address that it uses for the address of the service. Empty: a router is between, or it is unknown.
    pub(super) hardware: Vec<u8>,
}

/// Connects to the service from another network namespace.
pub(super) fn from_namespace(
    namespace: &Namespace,
    protocol: Protocol,
    target: SocketAddr,
    servers: usize,
) -> anyhow::Result<Seen> {
    let probe = || {
        let answers = (0..rounds(servers)).map(|_| ask(protocol, target)).collect();
        Seen { answers, hardware: hardware_of(target.ip()).unwrap_or_default() }
    };
    Ok(namespace.within(probe)?)
}

/// Returns the link-layer address of a neighbour. `None`: it is none, or cannot be read.
fn hardware_of(address: IpAddr) -> Option<Vec<u8>> {
    let mut network = Network::open().ok()?;
    let route = network.route(address.into()).ok()?;
    if route.gateway.is_some() || route.kind != RouteKind::Unicast {
        return None;
    }
    network.neighbour(route.device, address).ok().map(|neighbour| neighbour.hardware)
}

/// Adds the answers of the service to the steps.
pub(super) fn add_of_service(namespace: &Namespace, target: SocketAddr, seen: &Seen, steps: &mut Steps<'_>) {
    let answers = &seen.answers;
    let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
    let all = answers.len();
    let accepted = count(Answer::Accepted);
    if accepted == all {
        let text = format!("{all} of {all} connections from {namespace} to {target} were accepted");
        steps.add(Finding::good("probe_from", text));
        return;
    }
    let text = format!(
        "{accepted} of {all} connections from {namespace} to {target} were accepted, {} refused, {} not answered",
        count(Answer::Refused),
        count(Answer::None) + count(Answer::Unreachable),
    );
    let why = "No step before this one is broken. Look at the servers, and at the firewalls on the way.";
    steps.add(Finding::broken("probe_from", text, if steps.is_broken() { "" } else { why }));
}
