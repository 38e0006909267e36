//! Faults that the connection table and the counters show.

use std::net::IpAddr;

use ipvs::{DestinationState, Forwarding, GueChecksum, Protocol, Tunnel};

use super::probe::{Answer, Probes};
use super::report::{Finding, Steps};
use super::servers::Way;
use super::subject::{Subject, Sums, options_of};
use crate::terminal::commands::Command;

/// The least number of connections without an answer that shows a fault. A client that is gone can leave one behind.
const LEAST: u64 = 2;

/// Checks the connections and counters of each server.
pub(super) fn check(subject: &Subject, ways: &[Way], probes: &Probes, steps: &mut Steps<'_>) {
    if let Some(skipped) = &subject.skipped {
        steps.add(Finding::unknown("connections", skipped.clone()));
    }
    if subject.followed.target.is_none() {
        let text =
            "connections were not checked: the connection table does not name their mark (use --to ADDRESS:PORT)";
        steps.add(Finding::unknown("connections", text));
    }
    let symptoms = |way: &Way| {
        let server = &way.server;
        let sums = subject.sums(&server.destination.key);
        let finding = symptom(subject, way, &sums, probes.of(&server.destination.key))?;
        Some((server.destination.key, finding))
    };
    let found: Vec<_> = ways.iter().filter_map(symptoms).collect();
    steps.add_all(found);
    let stats = &subject.state.stats;
    let connections = subject.state.destinations.iter().any(DestinationState::has_connections);
    if stats.incoming_packets == 0 && !connections {
        steps.add(Finding::unknown("counters", "no packet of a client has been counted by the service"));
    }
}

fn symptom(subject: &Subject, way: &Way, sums: &Sums, answer: Option<Answer>) -> Option<Finding> {
    let server = &way.server;
    if sums.stuck() >= LEAST {
        return Some(stuck(subject, way, sums, answer));
    }
    let is_masqueraded = server.destination.forwarding == Forwarding::Masquerade;
    if sums.reset() >= LEAST && is_masqueraded && answer != Some(Answer::Accepted) {
        return Some(refused(subject, server, sums));
    }
    let stats = &server.stats;
    let is_silent = stats.incoming_packets > 0 && stats.outgoing_packets == 0;
    if is_masqueraded
        && is_silent
        && subject.followed.protocol == Some(Protocol::Udp)
        && !subject.state.service.one_packet
    {
        let text = format!("{} packets of clients were sent to it, and no reply came back", stats.incoming_packets);
        let finding = Finding::broken("no_replies", text, no_reply_reason(answer, server));
        return Some(replies_cures(finding, subject, way));
    }
    let good = match (sums.all, sums.answered) {
        (0, _) | (_, 0) => return None,
        (all, answered) => format!("{answered} of {all} connections were answered"),
    };
    Some(Finding::good("connections", good))
}

/// Returns the possible reasons. A client that is gone leaves the same connections as a server that does not answer, if
/// replies have passed through the director.
fn no_reply_reason(answer: Option<Answer>, server: &DestinationState) -> String {
    let passed = server.stats.outgoing_packets;
    let reason = match (answer, passed) {
        (Some(Answer::Accepted), 0) => {
            "The server accepts connections from the director, and no reply to a client has passed through the director."
        }
        (Some(Answer::Accepted), _) => {
            "The server accepts connections from the director. Its replies to these clients take another route, or do \
             not reach the clients."
        }
        (_, 0) => "The server does not answer, or its replies do not pass through the director.",
        (_, _) => "The server does not answer, or its replies do not reach these clients through the director.",
    };
    format!("{reason} Without a route back, a firewall rule can rewrite the source address.")
}

/// Describes a server whose connections stay in `SYN_RECV`.
fn stuck(subject: &Subject, way: &Way, sums: &Sums, answer: Option<Answer>) -> Finding {
    let server = &way.server;
    let text = format!("the last {} connections were not answered (SYN_RECV)", sums.stuck());
    match server.destination.forwarding {
        Forwarding::Masquerade => {
            let finding = Finding::broken("no_replies", text, no_reply_reason(answer, server));
            replies_cures(finding, subject, way)
        }
        Forwarding::DirectRoute | Forwarding::Tunnel(_) => {
            let why = "The clients have not acknowledged an answer. The server needs the virtual address, must not answer \
                       ARP for it, must listen on it, and must accept its packets.";
            let finding = Finding::broken("no_answer", text, why);
            match (setup(subject, server), server_port(subject)) {
                (Some(command), Some(port)) => {
                    finding.cure(Command::server(command)).cure(Command::server(format!("ss -Hltn sport = :{port}")))
                }
                (Some(command), None) => finding.cure(Command::server(command)),
                _ => finding,
            }
        }
        _ => Finding::broken("no_answer", text, ""),
    }
}

fn replies_cures(finding: Finding, subject: &Subject, way: &Way) -> Finding {
    let client = subject.client_or_waiting().map(|client| client.to_string());
    let family = if way.server.destination.key.address.is_ipv4() { "" } else { " -6" };
    let finding = finding
        .cure(Command::server(format!("ip{family} route get {}", client.unwrap_or_else(|| "CLIENT".to_owned()))));
    match way.route.source.filter(|_| way.route.gateway.is_none()) {
        Some(own) => {
            let service = options_of(subject.state.service.key);
            finding
                .cure(Command::server(format!("ip{family} route replace default via {own}")))
                .cure(Command::director(format!("ipvsadm-rs snat-rules {service} --to-source {own} | sh -e")))
        }
        None => finding,
    }
}

/// Describes a server whose connections are reset. `CLOSE` does not tell whether the server refused a connection, or a
/// side ended an established one. If each connection had one packet, it was refused.
fn refused(subject: &Subject, server: &DestinationState, sums: &Sums) -> Finding {
    let text = format!("the last {} connections were reset (CLOSE)", sums.reset());
    let stats = &server.stats;
    if stats.incoming_packets == 0 || stats.incoming_packets > stats.connections {
        return Finding::unknown("reset", format!("{text}, by the server or by clients: use --probe"));
    }
    let why = "Each had one packet, so the server refused them: no program listens on its port.";
    let finding = Finding::broken("refused", text, why);
    let port = match server.destination.key.port {
        0 => server_port(subject),
        port => Some(port),
    };
    match port {
        Some(port) => finding.cure(Command::server(format!("ss -Hltn sport = :{port}"))),
        None => finding,
    }
}

fn server_port(subject: &Subject) -> Option<u16> {
    subject.followed.target.map(|target| target.port()).filter(|port| *port != 0)
}

/// Returns the command that sets up a server for direct routing or a tunnel. `None`: there is none for its method.
pub(super) fn setup(subject: &Subject, server: &DestinationState) -> Option<String> {
    let vip: IpAddr = subject.followed.target?.ip();
    let own = server.destination.key.address;
    Some(match server.destination.forwarding {
        Forwarding::DirectRoute => format!("ipvsadm-rs rs-setup --mode dr --vip {vip} | sh -e"),
        Forwarding::Tunnel(tunnel) => {
            let mode = match tunnel {
                Tunnel::Ipip => "tun-ipip".to_owned(),
                Tunnel::Gre { checksum: false } => "tun-gre".to_owned(),
                Tunnel::Gre { checksum: true } => "tun-gre --tun-csum".to_owned(),
                Tunnel::Gue { port, checksum } => {
                    let checksum = match checksum {
                        GueChecksum::None => "",
                        GueChecksum::Full => " --tun-csum",
                        GueChecksum::Remote => " --tun-remcsum",
                    };
                    format!("tun-gue --tun-port {port}{checksum}")
                }
                Tunnel::Other { .. } => return None,
            };
            format!("ipvsadm-rs rs-setup --mode {mode} --vip {vip} --own {own} | sh -e")
        }
        _ => return None,
    })
}
