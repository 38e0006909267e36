//! `ipvsadm-rs snat-rules`: prints firewall rules for one-armed NAT.

use std::net::IpAddr;

use anyhow::bail;
use clap::{Args, ValueEnum};
use ipvs::document::SCHEMA;
use ipvs::rules::{self, Command};
use ipvs::{Change, Protocol, ServiceKey};
use serde::Serialize;

use crate::context::{Context, code};
use crate::resolver::System;

/// Print firewall rules that source-NAT a masqueraded service (-m)
///
/// With these rules the servers see the director as their client, as with FULLNAT. They need no route back through the
/// director. Nothing on this machine is changed.
#[derive(Args, Debug)]
#[command(override_usage = USAGE, after_long_help = EXIT_CODES, group = clap::ArgGroup::new("service").required(true))]
pub(super) struct SnatRules {
    /// TCP service; port 0 for all ports
    #[arg(short, long, value_name = "HOST:PORT", group = "service")]
    tcp_service: Option<String>,
    /// UDP service; port 0 for all ports
    #[arg(short, long, value_name = "HOST:PORT", group = "service")]
    udp_service: Option<String>,
    /// SCTP service; port 0 for all ports
    #[arg(long, value_name = "HOST:PORT", group = "service")]
    sctp_service: Option<String>,
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

impl SnatRules {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (protocol, address, port) = self.service()?;
        if let Some(source) = self.to_source
            && source.is_ipv4() != address.is_ipv4()
        {
            bail!("--to-source and the service have different address families");
        }
        let lines = match self.firewall {
            Firewall::Nft => self.nft(protocol, address, port),
            Firewall::Iptables => self.iptables(protocol, address, port),
        };
        if context.json {
            context.write_json(&Document { schema: SCHEMA, commands: lines })?;
        } else {
            context.write(|out| lines.iter().try_for_each(|line| writeln!(out, "{line}")))?;
        }
        Ok(code::DONE)
    }

    fn service(&self) -> anyhow::Result<(&'static str, IpAddr, u16)> {
        let spelled =
            [(&b"-t"[..], &self.tcp_service), (b"-u", &self.udp_service), (b"--sctp-service", &self.sctp_service)];
        let given =
            spelled.into_iter().find_map(|(option, value)| value.as_ref().map(|value| (option, value.as_bytes())));
        let Some((option, value)) = given else { bail!("no service specified") };
        match rules::parse(&[b"-D", option, value], &mut System::default())? {
            Command::Change(Change::DeleteService(ServiceKey::Address { protocol, address, port })) => {
                let protocol = match protocol {
                    Protocol::Udp => "udp",
                    Protocol::Sctp => "sctp",
                    Protocol::Tcp | Protocol::Other(_) => "tcp",
                };
                Ok((protocol, address, port))
            }
            _ => bail!("the service must have an address and a port"),
        }
    }

    /// Returns the commands for nft. nft cannot match IPVS services, so the rule matches the original destination of a
    /// connection.
    fn nft(&self, protocol: &str, address: IpAddr, port: u16) -> Vec<String> {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let port = if port == 0 { String::new() } else { format!(" ct original proto-dst {port}") };
        let action = self.to_source.map_or("masquerade".into(), |source| format!("snat to {source}"));
        vec![
            CONNTRACK.into(),
            format!("nft 'add table {family} ipvs-snat'"),
            format!("nft 'add chain {family} ipvs-snat out {{ type nat hook postrouting priority srcnat; }}'"),
            format!(
                "nft 'add rule {family} ipvs-snat out meta l4proto {protocol} ct original {family} daddr {address}{port} {action}'"
            ),
        ]
    }

    fn iptables(&self, protocol: &str, address: IpAddr, port: u16) -> Vec<String> {
        let (program, length) = if address.is_ipv4() { ("iptables", 32) } else { ("ip6tables", 128) };
        let port = if port == 0 { String::new() } else { format!(" --vport {port}") };
        let action = self.to_source.map_or("MASQUERADE".into(), |source| format!("SNAT --to-source {source}"));
        vec![
            CONNTRACK.into(),
            format!(
                "{program} -t nat -A POSTROUTING -m ipvs --vproto {protocol} --vaddr {address}/{length}{port} -j {action}"
            ),
        ]
    }
}

/// The command that enables connection tracking, and with it the firewall, for the packets that IPVS forwards.
const CONNTRACK: &str = "sysctl -qw net.ipv4.vs.conntrack=1";
