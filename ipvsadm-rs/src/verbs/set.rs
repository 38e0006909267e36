//! `ipvsadm-rs set`: an edit that touches only what it names.

use std::net::IpAddr;
use std::num::NonZeroU16;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use ipvs::hash::TableSizes;
use ipvs::rules::{self, Command};
use ipvs::{
    Change, Client, Destination, DestinationState, Director, Engine, Forwarding, GueChecksum, Netmask, Plan, Scheduler,
    Service, ServiceKey, State, Tunnel,
};

use crate::context::{Context, code};
use crate::plan::report::Report;
use crate::plan::transaction::Transaction;
use crate::resolver::System;
use crate::terminal::exit::say;

/// Change what is named of a service or a server, and nothing else
///
/// With a server (-r) its settings are changed, else the service's. Without a service, the server's in every service that
/// has it: `ipvsadm-rs set -r 10.0.0.7 --weight 0` drains it everywhere.
///
/// This is not kept for `undo`, which health checkers would fill; to undo it, set what was before.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("service").multiple(false))]
pub(super) struct Set {
    /// The service, TCP
    #[arg(short, long, value_name = "HOST[:PORT]", group = "service")]
    tcp_service: Option<String>,
    /// The service, UDP
    #[arg(short, long, value_name = "HOST[:PORT]", group = "service")]
    udp_service: Option<String>,
    /// The service, SCTP
    #[arg(long, value_name = "HOST[:PORT]", group = "service")]
    sctp_service: Option<String>,
    /// The service, by firewall mark
    #[arg(short, long, value_name = "MARK", group = "service")]
    fwmark_service: Option<String>,
    /// The mark's service is IPv6
    #[arg(short = '6', long, requires = "fwmark_service")]
    ipv6: bool,
    /// The server; without a port, all of its ports
    #[arg(short, long, value_name = "ADDRESS[:PORT]")]
    real_server: Option<String>,
    #[command(flatten)]
    of_service: OfService,
    #[command(flatten)]
    of_server: OfServer,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Settings of a service.
#[derive(Args, Debug, PartialEq)]
#[command(next_help_heading = "Settings of a service")]
struct OfService {
    /// How servers are picked
    #[arg(short, long)]
    scheduler: Option<Scheduler>,
    /// Scheduler flags, separated by commas; "" for none
    #[arg(short = 'b', long, value_name = "FLAGS")]
    sched_flags: Option<String>,
    /// Seconds that a client stays with its server; `off` for not at all
    #[arg(short, long, value_name = "SECONDS|off", value_parser = seconds_or_off)]
    persistent: Option<Switch<u32>>,
    /// Clients equal under this mask or prefix length are one to persistence
    #[arg(short = 'M', long)]
    netmask: Option<String>,
    /// The persistence engine; `off` for none
    #[arg(long, value_name = "NAME|off", value_parser = engine_or_off)]
    pe: Option<Switch<Engine>>,
    /// Schedule every UDP packet by itself
    #[arg(short, long, value_name = "on|off", value_parser = on_or_off)]
    ops: Option<bool>,
}

/// Settings of a server.
#[derive(Args, Debug, PartialEq)]
#[command(next_help_heading = "Settings of a server (-r)")]
struct OfServer {
    /// The share of new connections; 0 for none
    #[arg(short, long)]
    weight: Option<u32>,
    /// How packets get there
    #[arg(long, value_enum)]
    forwarding: Option<Method>,
    /// The UDP port of a gue tunnel
    #[arg(long, value_name = "PORT")]
    tun_port: Option<NonZeroU16>,
    /// Checksums of a gue or gre tunnel
    #[arg(long, value_enum)]
    tun_checksum: Option<Checksum>,
    /// No new connections from this many on; 0 for no limit
    #[arg(short = 'x', long, value_name = "CONNECTIONS")]
    u_threshold: Option<u32>,
    /// New connections again below this many
    #[arg(short = 'y', long, value_name = "CONNECTIONS")]
    l_threshold: Option<u32>,
}

/// Something that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Switch<T> {
    Off,
    On(T),
}

impl<T> Switch<T> {
    fn into_option(self) -> Option<T> {
        match self {
            Self::Off => None,
            Self::On(value) => Some(value),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Method {
    Masquerade,
    DirectRoute,
    Ipip,
    Gue,
    Gre,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Checksum {
    None,
    Full,
    Remote,
}

fn seconds_or_off(text: &str) -> Result<Switch<u32>, String> {
    match text {
        "off" => Ok(Switch::Off),
        seconds => seconds.parse().map(Switch::On).map_err(|_| "not a number of seconds, nor `off'".into()),
    }
}

fn engine_or_off(text: &str) -> Result<Switch<Engine>, ipvs::InvalidName> {
    if text == "off" { Ok(Switch::Off) } else { text.parse().map(Switch::On) }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("neither `on' nor `off'".into()),
    }
}

impl Set {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let key = self.service()?;
        let transaction = if self.dry_run { None } else { Some(Transaction::open(context)?) };
        let mut director = context.open()?;
        let state = self.read(&mut director, key)?;
        let changes = match &self.real_server {
            Some(server) => self.server_changes(&state, server)?,
            None => self.service_change(&state)?.into_iter().collect(),
        };
        for change in &changes {
            change.validate().map_err(|why| anyhow!("{}: {why}", change.describe()))?;
            change.warnings().iter().for_each(|warning| say(&format!("warning: {change}: {warning}")));
        }
        let plan = Plan { changes, order_kept: Vec::new() };
        let report = Report::new(&plan, &state, TableSizes::default());
        if self.dry_run {
            return report.print_plan(context);
        }
        if let Some(waiting) = transaction.as_ref().and_then(Transaction::journal).and_then(|journal| journal.waiting())
        {
            say(&format!("note: plan {} waits for confirmation; put back, it takes this along", waiting.number));
        }
        let refused = director.submit(&plan.changes)?;
        for (_, error) in &refused {
            say(&error.to_string());
        }
        if !refused.is_empty() {
            bail!("{} refused", crate::terminal::plural::count(refused.len(), "change"));
        }
        report.print_result(context)?;
        Ok(code::DONE)
    }

    /// The service as ipvsadm would read it.
    fn service(&self) -> anyhow::Result<Option<ServiceKey>> {
        let mut words: Vec<&[u8]> = vec![b"-Z"];
        let spelled = [
            (&b"-t"[..], &self.tcp_service),
            (b"-u", &self.udp_service),
            (b"--sctp-service", &self.sctp_service),
            (b"-f", &self.fwmark_service),
        ];
        for (option, value) in spelled {
            if let Some(value) = value {
                words.extend([option, value.as_bytes()]);
            }
        }
        if self.ipv6 {
            words.push(b"-6");
        }
        match rules::parse(&words, &mut System::default())? {
            Command::Change(Change::Zero(key)) => Ok(key),
            _ => Ok(None),
        }
    }

    /// What the change is about: one service, or all.
    fn read(&self, director: &mut Client, key: Option<ServiceKey>) -> anyhow::Result<State> {
        let Some(key) = key else {
            if self.real_server.is_none() {
                bail!("name a service (-t, -u, --sctp-service, -f) or a server (-r)");
            }
            return Ok(director.state()?);
        };
        let mut service = director.service(&key)?;
        service.destinations = director.destinations(&key)?;
        Ok(State { services: vec![service], ..State::default() })
    }

    fn service_change(&self, state: &State) -> anyhow::Result<Option<Change>> {
        if self.of_server != NO_SERVER_SETTINGS {
            bail!("weight, forwarding and thresholds are a server's: name it with -r");
        }
        let Some(held) = state.services.first() else { return Ok(None) };
        let service = self.of_service.over(&held.service)?;
        Ok((service != held.service).then_some(Change::EditService(service)))
    }

    fn server_changes(&self, state: &State, server: &str) -> anyhow::Result<Vec<Change>> {
        if self.of_service != NO_SERVICE_SETTINGS {
            bail!("scheduler and persistence are a service's: leave -r out");
        }
        let (address, port) = read_server(server)?;
        let is_meant = |held: &&DestinationState| {
            held.destination.key.address == address && port.is_none_or(|port| held.destination.key.port == port)
        };
        let mut found = false;
        let mut changes = Vec::new();
        for service in &state.services {
            for held in service.destinations.iter().filter(is_meant) {
                found = true;
                let destination = self.of_server.over(&held.destination)?;
                if destination != held.destination {
                    changes.push(Change::EditDestination(service.service.key, destination));
                }
            }
        }
        if !found {
            bail!("no such server: {server}");
        }
        Ok(changes)
    }
}

const NO_SERVICE_SETTINGS: OfService =
    OfService { scheduler: None, sched_flags: None, persistent: None, netmask: None, pe: None, ops: None };
const NO_SERVER_SETTINGS: OfServer = OfServer {
    weight: None,
    forwarding: None,
    tun_port: None,
    tun_checksum: None,
    u_threshold: None,
    l_threshold: None,
};

/// An address, or an address with a port, as ipvsadm writes them.
fn read_server(text: &str) -> anyhow::Result<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok((address, None));
    }
    match text.parse::<std::net::SocketAddr>() {
        Ok(server) => Ok((server.ip(), Some(server.port()))),
        Err(_) => bail!("`{text}' is no address, and no address with a port"),
    }
}

impl OfService {
    /// The service with what is named.
    fn over(&self, held: &Service) -> anyhow::Result<Service> {
        let Self { scheduler, sched_flags, persistent, netmask, pe, ops } = self;
        let mut service = *held;
        if let Some(scheduler) = scheduler {
            service.scheduler = *scheduler;
        }
        if let Some(names) = sched_flags {
            service.flags = rules::parse_flags(names, service.scheduler)?;
        }
        if let Some(persistent) = persistent {
            service.persistence = persistent.into_option();
        }
        if let Some(text) = netmask {
            service.netmask = parse_netmask(text, held)?;
        }
        if let Some(engine) = pe {
            service.engine = engine.into_option();
        }
        if let Some(ops) = ops {
            service.one_packet = *ops;
        }
        Ok(service)
    }
}

fn parse_netmask(text: &str, held: &Service) -> anyhow::Result<Netmask> {
    let mask = match text.parse() {
        Ok(prefix) => Netmask::from_prefix(held.key.family(), prefix),
        Err(_) => text.parse().ok().map(Netmask::V4),
    };
    mask.ok_or_else(|| anyhow!("`{text}' is neither a mask nor a prefix length"))
}

impl OfServer {
    /// The server with what is named.
    fn over(&self, held: &Destination) -> anyhow::Result<Destination> {
        let Self { weight, forwarding: _, tun_port: _, tun_checksum: _, u_threshold, l_threshold } = self;
        Ok(Destination {
            forwarding: self.forwarding(held.forwarding)?,
            weight: weight.unwrap_or(held.weight),
            upper_threshold: u_threshold.unwrap_or(held.upper_threshold),
            lower_threshold: l_threshold.unwrap_or(held.lower_threshold),
            ..*held
        })
    }

    fn forwarding(&self, held: Forwarding) -> anyhow::Result<Forwarding> {
        let tunnel = match (self.forwarding, held) {
            (Some(Method::Masquerade), _) => return self.no_tunnel(Forwarding::Masquerade),
            (Some(Method::DirectRoute), _) => return self.no_tunnel(Forwarding::DirectRoute),
            (Some(Method::Ipip), _) => return self.no_tunnel(Forwarding::IPIP),
            (None, Forwarding::Tunnel(tunnel)) => tunnel,
            (None, other) => return self.no_tunnel(other),
            (Some(Method::Gue), Forwarding::Tunnel(tunnel @ Tunnel::Gue { .. })) => tunnel,
            (Some(Method::Gue), _) => {
                let port = self.tun_port.ok_or_else(|| anyhow!("a gue tunnel needs --tun-port"))?;
                Tunnel::Gue { port, checksum: GueChecksum::None }
            }
            (Some(Method::Gre), Forwarding::Tunnel(tunnel @ Tunnel::Gre { .. })) => tunnel,
            (Some(Method::Gre), _) => Tunnel::Gre { checksum: false },
        };
        Ok(Forwarding::Tunnel(match (tunnel, self.tun_checksum) {
            (Tunnel::Gue { port, checksum }, asked) => Tunnel::Gue {
                port: self.tun_port.unwrap_or(port),
                checksum: match asked {
                    None => checksum,
                    Some(Checksum::None) => GueChecksum::None,
                    Some(Checksum::Full) => GueChecksum::Full,
                    Some(Checksum::Remote) => GueChecksum::Remote,
                },
            },
            (Tunnel::Gre { .. }, _) if self.tun_port.is_some() => bail!("a gre tunnel has no port"),
            (Tunnel::Gre { .. }, Some(Checksum::Remote)) => bail!("a gre tunnel has no remote checksum offload"),
            (Tunnel::Gre { checksum }, asked) => {
                Tunnel::Gre { checksum: asked.map_or(checksum, |asked| asked == Checksum::Full) }
            }
            (other, None) if self.tun_port.is_none() => other,
            _ => bail!("an ipip tunnel has neither port nor checksums"),
        }))
    }

    fn no_tunnel(&self, forwarding: Forwarding) -> anyhow::Result<Forwarding> {
        if self.tun_port.is_some() || self.tun_checksum.is_some() {
            bail!("--tun-port and --tun-checksum are for gue and gre tunnels");
        }
        Ok(forwarding)
    }
}
