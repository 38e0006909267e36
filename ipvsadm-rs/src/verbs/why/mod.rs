//! `ipvsadm-rs why`: finds the first broken thing on the way of a packet.

mod arrival;
mod choice;
mod firewall;
mod probe;
mod reply;
mod report;
mod servers;
mod subject;
mod symptoms;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::{Client, Family, Namespace, Protocol, ServiceKey, ServiceState};

use crate::context::{Context, code};
use crate::network::Network;
use arrival::Arriving;
use probe::Probes;
use report::{Finding, Report, Steps};
use subject::Subject;

/// Find out why the connections of a service fail
///
/// Follows a packet through the director, step by step: its address, the firewall, the service, the choice of a server,
/// the way to each server, the way of the replies, the connections and the counters. Prints the first step that is broken, the
/// reason, and the commands that mend it.
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
    /// With -f: the address and port to which clients send [default: not checked]
    #[arg(long, value_name = "ADDRESS:PORT", requires = "fwmark_service")]
    to: Option<SocketAddr>,
    /// Client whose packets are followed [default: any client]
    #[arg(long, value_name = "CLIENT[:PORT]", value_parser = client)]
    from: Option<SocketAddr>,
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

impl Why {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let key = self.key()?;
        let target = match key {
            ServiceKey::Address { address, port, .. } => Some(SocketAddr::new(address, port)),
            ServiceKey::Fwmark { .. } => self.to,
        };
        for (option, address) in [("--from", self.from), ("--to", self.to)] {
            if address.is_some_and(|address| Family::of(address.ip()) != key.family()) {
                bail!("{option}: the address is not of the family of the service");
            }
        }
        // A reading in another namespace runs on a thread of its own.
        let examine = || self.examine(&key, target);
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
    fn examine(&self, key: &ServiceKey, target: Option<SocketAddr>) -> anyhow::Result<Report> {
        let mut director = Client::open()?;
        let mut steps = Steps::default();
        let mut network = Network::open().context("cannot read the network")?;
        let client = self.from.map(|client| client.ip());
        if let Some(target) = target {
            let mark = match key {
                ServiceKey::Fwmark { mark, .. } => mark.get(),
                ServiceKey::Address { .. } => 0,
            };
            arrival::check(&mut network, Arriving { address: target.ip(), mark, client }, &mut steps)?;
        } else {
            steps.add(Finding::unknown("address", "the address was not checked: use --to ADDRESS:PORT"));
        }
        let passage = firewall::check(&mut network, &mut director, key, target, self.from, &mut steps)?;
        arrival::check_backup(&mut director, &mut steps)?;
        let found = choice::find(&mut director, key, &mut steps)?;
        let title = self.title(key, found.as_ref());
        let Some(state) = found else { return Ok(Report { key: *key, title, steps }) };
        // Before the connections and the neighbours are read, so that they show the answers.
        let of_service = self.probe_service(&state, target)?;
        let probes = if self.probe {
            Probes::of_servers(&Subject::without_connections(state.clone(), target))
        } else {
            Probes::default()
        };
        let subject = Subject::new(&mut director, state, target, self.from)?;
        choice::check(&subject, &mut steps);
        let ways = servers::check(&mut network, &subject, &mut steps)?;
        if let Some(seen) = &of_service {
            arrival::check_answer(&mut network, &subject, &ways, &seen.hardware, &mut steps)?;
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
        Ok(Report { key: *key, title, steps })
    }

    fn probe_service(&self, state: &ServiceState, target: Option<SocketAddr>) -> anyhow::Result<Option<probe::Seen>> {
        let Some(namespace) = &self.probe_from else { return Ok(None) };
        let Some(target) = target.filter(|target| target.port() != 0) else {
            bail!("--probe-from needs the address and port to which clients send\nWith -f, use --to ADDRESS:PORT.");
        };
        let protocol = match state.service.key {
            ServiceKey::Address { protocol, .. } => protocol,
            ServiceKey::Fwmark { .. } => Protocol::Tcp,
        };
        if !matches!(protocol, Protocol::Tcp | Protocol::Udp) {
            bail!("--probe-from: only TCP and UDP services can be probed");
        }
        probe::from_namespace(namespace, protocol, target, state.destinations.len()).map(Some)
    }

    fn title(&self, key: &ServiceKey, found: Option<&ServiceState>) -> String {
        let mut title = key.to_string();
        if let Some(state) = found {
            let servers = crate::terminal::plural::count(state.destinations.len(), "server");
            title = format!("{title}: {}, {servers}", state.service.scheduler);
        }
        match self.from {
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
