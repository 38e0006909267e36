//! `ipvsadm-rs why`: finds the first broken thing on the way of a packet.

mod answer;
mod arrival;
mod backup;
mod choice;
mod firewall;
mod mark;
mod probe;
mod reply;
mod report;
mod rule;
mod servers;
mod subject;
mod symptoms;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::{Client, Family, Namespace, Protocol, ServiceKey, ServiceState};

use crate::context::{Context, code};
use crate::network::{Network, module};
use crate::terminal::commands::Command;
use arrival::Arriving;
use probe::Probes;
use report::{Finding, Report, Steps};
use subject::{Followed, Subject};

/// Find out why the connections of a service fail
///
/// Follows a packet through the director, step by step: its address, the firewall, the service, the choice of a server,
/// the way to each server, the way of the replies, the connections and the counters. Prints the first step that is
/// broken, the reason, and the commands that mend it.
///
/// Only this service is read. Nothing is changed. Settings of the servers cannot be seen from the director.
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_long_help = EXIT_CODES, group = clap::ArgGroup::new("service").required(true))]
pub(super) struct Why {
    /// TCP service
    #[arg(short, long, value_name = "ADDRESS:PORT", group = "service")]
    tcp_service: Option<String>,
    /// UDP service
    #[arg(short, long, value_name = "ADDRESS:PORT", group = "service")]
    udp_service: Option<String>,
    /// SCTP service
    #[arg(long, value_name = "ADDRESS:PORT", group = "service")]
    sctp_service: Option<String>,
    /// Service of a firewall mark, 1 to 4294967295
    #[arg(short, long, value_name = "MARK", group = "service")]
    fwmark_service: Option<u32>,
    /// With -f: the service for IPv6 packets instead of IPv4 packets
    #[arg(short = '6', long, requires = "fwmark_service")]
    ipv6: bool,
    /// With -f: the protocol (tcp, udp or sctp), address and port to which clients send [default: not checked]
    ///
    /// Without a protocol, TCP packets are followed.
    #[arg(long, value_name = "[PROTOCOL:]ADDRESS:PORT", value_parser = target, requires = "fwmark_service")]
    to: Option<ServiceKey>,
    /// Client whose packets are followed [default: the client of a connection without an answer]
    #[arg(long, value_name = "CLIENT[:PORT]", value_parser = client)]
    client: Option<SocketAddr>,
    /// Connect to each server from the director, and wait for its answer for at most 1 second
    ///
    /// A UDP server gets an empty datagram. SCTP servers are not probed.
    #[arg(long)]
    probe: bool,
    /// Connect to the service from this network namespace, 2 to 8 times
    #[arg(long, value_name = "NAME|PATH|PID")]
    probe_from: Option<Namespace>,
}

/// clap does not wrap the usage, and its own is longer than 80 columns.
const USAGE: &str =
    "ipvsadm-rs why [OPTIONS] <-t|-u|--sctp-service> <ADDRESS:PORT>\n       ipvsadm-rs why [OPTIONS] -f <MARK>";

const EXIT_CODES: &str = "\
Exit codes:
  0  Nothing broken was found
  1  Error
  2  A step is broken";

/// Parses an address, with or without a port. Without a port, it is 0.
fn client(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 0));
    text.parse().or_else(|_| alone()).map_err(|_| "expected ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT".into())
}

/// Parses the protocol, address and port of packets. Without a protocol, it is TCP.
fn target(text: &str) -> Result<ServiceKey, String> {
    let parse = |text: &str| text.parse().ok().filter(|key| matches!(key, ServiceKey::Address { port: 1.., .. }));
    parse(text).or_else(|| parse(&format!("tcp:{text}"))).ok_or_else(|| {
        "expected ADDRESS:PORT, after udp: or sctp: if it is not TCP, with an IPv6 address in brackets".into()
    })
}

fn module_is_missing() -> Finding {
    let why = "It has the services. This program does not load it, because it only reads.";
    Finding::broken("module", "the kernel module ip_vs is not loaded, so there are no services", why)
        .cure(Command::director("modprobe ip_vs"))
}

impl Why {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let key = self.key()?;
        let client = self.client.map(|client| Family::of(client.ip()));
        for (option, family) in [("--client", client), ("--to", self.to.map(|target| target.family()))] {
            if family.is_some_and(|family| family != key.family()) {
                bail!("{option}: the address is not of the family of the service");
            }
        }
        let (target, protocol) = match self.to.unwrap_or(key) {
            ServiceKey::Address { protocol, address, port } => (Some(SocketAddr::new(address, port)), Some(protocol)),
            ServiceKey::Fwmark { .. } => (None, None),
        };
        let followed = Followed { key, target, protocol, client: self.client };
        // A reading in another namespace runs on a thread of its own.
        let examine = || self.examine(&followed, context.netns.as_ref());
        let report = match &context.netns {
            Some(namespace) => namespace.within(examine)??,
            None => examine()?,
        };
        if context.json {
            context.write_json(&report.document())?;
        } else {
            let text = report.text(&context.palette(), has_unicode());
            context.write(|out| out.write_all(text.as_bytes()))?;
        }
        Ok(if report.steps.is_broken() { code::CHANGES } else { code::DONE })
    }

    fn key(&self) -> anyhow::Result<ServiceKey> {
        let named = [("tcp", &self.tcp_service), ("udp", &self.udp_service), ("sctp", &self.sctp_service)];
        for (protocol, text) in named {
            if let Some(text) = text {
                let key = format!("{protocol}:{text}").parse();
                return key.ok().context("expected ADDRESS:PORT, with an IPv6 address in brackets");
            }
        }
        let family = if self.ipv6 { Family::V6 } else { Family::V4 };
        let mark = self.fwmark_service.unwrap_or_default();
        ServiceKey::fwmark(mark, family).context("expected a mark from 1 to 4294967295")
    }

    /// Examines the service in the network namespace of this thread.
    fn examine<'n>(&self, followed: &Followed, namespace: Option<&'n Namespace>) -> anyhow::Result<Report<'n>> {
        let Followed { key, target, .. } = followed;
        let (key, target) = (*key, *target);
        let mut steps = Steps::new(namespace);
        if !module::is_loaded() {
            steps.add(module_is_missing());
            return Ok(Report { key, title: self.title(key, None), steps });
        }
        let mut director = Client::open()?;
        let mut network = Network::open().context("cannot read the network")?;
        if let Some(target) = target {
            let mark = match key {
                ServiceKey::Fwmark { mark, .. } => mark.get(),
                ServiceKey::Address { .. } => 0,
            };
            arrival::check(
                &mut network,
                Arriving { address: target.ip(), mark, client: followed.client_address() },
                &mut steps,
            )?;
        } else {
            steps.add(Finding::unknown("address", "the address was not checked: use --to ADDRESS:PORT"));
        }
        let passage = firewall::check(&mut network, &mut director, followed, &mut steps)?;
        backup::check(&mut director, &mut steps)?;
        let found = choice::find(&mut director, &key, &mut steps)?;
        let title = self.title(key, found.as_ref());
        let Some(state) = found else { return Ok(Report { key, title, steps }) };
        // Before the connections and the neighbours are read, so that they show the answers.
        let of_service = self.probe_service(&state, followed)?;
        let probes = if self.probe {
            Probes::of_servers(&Subject::without_connections(state.clone(), followed))
        } else {
            Probes::default()
        };
        let subject = Subject::new(&mut director, state, followed)?;
        choice::check(&subject, &mut steps);
        let ways = servers::check(&mut network, &subject, &mut steps)?;
        if let Some(seen) = &of_service {
            answer::check(&mut network, &subject, &ways, &seen.hardware, &mut steps)?;
        }
        passage.check_servers(&subject, &ways, &mut steps);
        reply::check(&mut network, &subject, &ways, &mut steps)?;
        passage.check_replies(&mut network, &ways, &mut steps)?;
        if self.probe {
            probes.add_to(&subject, &mut steps);
        }
        symptoms::check(&subject, &ways, &probes, &mut steps);
        if let (Some(namespace), Some(target), Some(seen)) = (&self.probe_from, target, &of_service) {
            probe::add_of_service(namespace, target, seen, &mut steps);
        }
        Ok(Report { key, title, steps })
    }

    fn probe_service(&self, state: &ServiceState, followed: &Followed) -> anyhow::Result<Option<probe::Seen>> {
        let Some(namespace) = &self.probe_from else { return Ok(None) };
        let Some(target) = followed.target.filter(|target| target.port() != 0) else {
            bail!("--probe-from needs the address and port to which clients send\nWith -f, use --to ADDRESS:PORT.");
        };
        let protocol = followed.protocol.unwrap_or(Protocol::Tcp);
        if !matches!(protocol, Protocol::Tcp | Protocol::Udp) {
            bail!("--probe-from: only TCP and UDP services can be probed");
        }
        probe::from_namespace(namespace, protocol, target, state.destinations.len()).map(Some)
    }

    fn title(&self, key: ServiceKey, found: Option<&ServiceState>) -> String {
        let mut title = key.to_string();
        if let Some(state) = found {
            let servers = crate::terminal::plural::count(state.destinations.len(), "server");
            title = format!("{title}: {}, {servers}", state.service.scheduler);
        }
        match self.client {
            Some(client) if client.port() == 0 => format!("{title}, from {}", client.ip()),
            Some(client) => format!("{title}, from {client}"),
            None => title,
        }
    }
}

/// Returns whether the output can have characters beyond ASCII, by the locale and the terminal.
fn has_unicode() -> bool {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value).unwrap_or_default().to_ascii_uppercase();
    let is_utf8 = locale.contains("UTF-8") || locale.contains("UTF8");
    is_utf8 && value("TERM").is_none_or(|term| term != "dumb" && term != "linux")
}
