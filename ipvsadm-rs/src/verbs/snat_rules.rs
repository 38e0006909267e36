//! `ipvsadm-rs snat-rules`: prints firewall rules for one-armed NAT.

use std::net::IpAddr;
use std::num::NonZeroU32;

use anyhow::bail;
use clap::{Args, ValueEnum};
use ipvs::document::SCHEMA;
use ipvs::rules::{self, Command};
use ipvs::{Change, Family, Protocol, ServiceKey};
use serde::Serialize;

use crate::context::{Context, code};
use crate::hints;
use crate::resolver::System;

/// Print firewall rules that source-NAT a masqueraded service (-m)
///
/// With these rules the servers see the director as their client, as with FULLNAT. They need no route back through the
/// director. Nothing on this machine is changed.
///
/// For a firewall mark, the rules match the packets with the mark. With a range of ports, one rule covers all services
/// on these ports.
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_long_help = EXIT_CODES, group = clap::ArgGroup::new("service").required(true))]
pub(super) struct SnatRules {
    /// TCP service; port 0 for all ports, FIRST-LAST for a range
    #[arg(short, long, value_name = "HOST:PORT", group = "service")]
    tcp_service: Option<String>,
    /// UDP service; port 0 for all ports, FIRST-LAST for a range
    #[arg(short, long, value_name = "HOST:PORT", group = "service")]
    udp_service: Option<String>,
    /// SCTP service; port 0 for all ports, FIRST-LAST for a range
    #[arg(long, value_name = "HOST:PORT", group = "service")]
    sctp_service: Option<String>,
    /// Service of a firewall mark, 1 to 4294967295
    #[arg(short, long, value_name = "MARK", group = "service")]
    fwmark_service: Option<String>,
    /// With -f: the service for IPv6 packets instead of IPv4 packets
    #[arg(short = '6', long, requires = "fwmark_service")]
    ipv6: bool,
    /// Source address that the servers see [default: the address of the director's outgoing interface]
    #[arg(long, value_name = "ADDRESS")]
    to_source: Option<IpAddr>,
    /// Firewall program to print commands for
    #[arg(long = "for", value_enum, default_value = "nft", value_name = "FIREWALL")]
    firewall: Firewall,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Firewall {
    /// nft (nftables)
    Nft,
    /// iptables, or ip6tables for an IPv6 service
    Iptables,
}

/// clap does not wrap the usage, and its own is longer than 80 columns.
const USAGE: &str = "ipvsadm-rs snat-rules [OPTIONS] <-t|-u|--sctp-service> <HOST:PORT>";

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

#[derive(Serialize)]
struct Document {
    schema: u32,
    commands: Vec<String>,
}

/// The packets that the rules match.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Packets {
    /// Packets to an address, with the first and the last port. Port 0 means all ports.
    Address {
        protocol: &'static str,
        address: IpAddr,
        first: u16,
        last: u16,
    },
    Mark {
        mark: NonZeroU32,
        family: Family,
    },
}

impl Packets {
    fn is_ipv4(self) -> bool {
        match self {
            Self::Address { address, .. } => address.is_ipv4(),
            Self::Mark { family, .. } => family == Family::V4,
        }
    }

    /// Returns the match of an nft rule. nft cannot match IPVS services, so it matches the original destination of a
    /// connection.
    fn nft(self) -> String {
        match self {
            Self::Address { protocol, address, first, last } => {
                let family = if address.is_ipv4() { "ip" } else { "ip6" };
                let ports = match (first, last) {
                    (0, _) => String::new(),
                    (first, last) if first == last => format!(" ct original proto-dst {first}"),
                    (first, last) => format!(" ct original proto-dst {first}-{last}"),
                };
                format!("meta l4proto {protocol} ct original {family} daddr {address}{ports}")
            }
            Self::Mark { mark, .. } => format!("meta mark {mark}"),
        }
    }

    /// Returns the match of an iptables rule. The match `ipvs` has no range of ports.
    fn iptables(self) -> String {
        match self {
            Self::Address { protocol, address, first, last } => {
                let length = if address.is_ipv4() { 32 } else { 128 };
                let ports = match (first, last) {
                    (0, _) => String::new(),
                    (first, last) if first == last => format!(" --vport {first}"),
                    (first, last) => format!(" -m conntrack --ctorigdstport {first}:{last}"),
                };
                format!("-m ipvs --vproto {protocol} --vaddr {address}/{length}{ports}")
            }
            Self::Mark { mark, .. } => format!("-m ipvs --ipvs -m mark --mark {mark}"),
        }
    }
}

impl SnatRules {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let packets = self.packets()?;
        if let Some(source) = self.to_source
            && source.is_ipv4() != packets.is_ipv4()
        {
            bail!("--to-source and the service have different address families");
        }
        let lines = match self.firewall {
            Firewall::Nft => self.nft(packets),
            Firewall::Iptables => self.iptables(packets),
        };
        if context.json {
            context.write_json(&Document { schema: SCHEMA, commands: lines })?;
        } else {
            context.write(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))?;
        }
        Ok(code::DONE)
    }

    fn packets(&self) -> anyhow::Result<Packets> {
        let spelled = [
            ("-t", &self.tcp_service),
            ("-u", &self.udp_service),
            ("--sctp-service", &self.sctp_service),
            ("-f", &self.fwmark_service),
        ];
        let given = spelled.into_iter().find_map(|(option, value)| Some((option, value.as_deref()?)));
        let Some((option, value)) = given else { bail!("no service specified") };
        let (value, range) = if option == "-f" { (value.to_owned(), None) } else { split_range(value) };
        let mut words: Vec<&[u8]> = vec![b"-D", option.as_bytes(), value.as_bytes()];
        if self.ipv6 {
            words.push(b"-6");
        }
        let read = rules::parse(&words, &mut System::default());
        match read.map_err(|error| hints::with_hint(&error, hints::for_words(&error, &words)))? {
            Command::Change(Change::DeleteService(ServiceKey::Address { protocol, address, port })) => {
                let protocol = match protocol {
                    Protocol::Udp => "udp",
                    Protocol::Sctp => "sctp",
                    Protocol::Tcp | Protocol::Other(_) => "tcp",
                };
                let (first, last) = range.unwrap_or((port, port));
                if first > last || (first == 0 && last != 0) {
                    bail!("{first}-{last} is not a range of ports");
                }
                Ok(Packets::Address { protocol, address, first, last })
            }
            Command::Change(Change::DeleteService(ServiceKey::Fwmark { mark, family })) => {
                Ok(Packets::Mark { mark, family })
            }
            _ => bail!("the service must have an address and a port, or a mark"),
        }
    }

    fn nft(&self, packets: Packets) -> Vec<String> {
        let family = if packets.is_ipv4() { "ip" } else { "ip6" };
        let action = self.to_source.map_or("masquerade".into(), |source| format!("snat to {source}"));
        vec![
            CONNTRACK.into(),
            format!("nft 'add table {family} ipvs-snat'"),
            format!("nft 'add chain {family} ipvs-snat out {{ type nat hook postrouting priority srcnat; }}'"),
            format!("nft 'add rule {family} ipvs-snat out {} {action}'", packets.nft()),
        ]
    }

    fn iptables(&self, packets: Packets) -> Vec<String> {
        let program = if packets.is_ipv4() { "iptables" } else { "ip6tables" };
        let action = self.to_source.map_or("MASQUERADE".into(), |source| format!("SNAT --to-source {source}"));
        vec![CONNTRACK.into(), format!("{program} -t nat -A POSTROUTING {} -j {action}", packets.iptables())]
    }
}

/// Splits a range of ports off: the text with the first port, and the range. Returns the text if there is no range.
fn split_range(text: &str) -> (String, Option<(u16, u16)>) {
    let range = text.rsplit_once(':').and_then(|(host, ports)| {
        let (first, last) = ports.split_once('-')?;
        Some((format!("{host}:{first}"), Some((first.parse().ok()?, last.parse().ok()?))))
    });
    range.unwrap_or_else(|| (text.to_owned(), None))
}

/// The command that enables connection tracking, and with it the firewall, for the packets that IPVS forwards.
const CONNTRACK: &str = "sysctl -qw net.ipv4.vs.conntrack=1";
