//! TABLE: the commands and options of ipvsadm's language.
//!
//! One row defines an option completely: its spelling and value, the commands that accept it, its help, and the
//! functions that read and write it. It also states whether ipvsadm 1.31 and `ipvsadm-rs set` have the option.
//!
//! The order of the rows determines which of several invalid options of a line is reported, as in ipvsadm. It is also
//! the order of the options in saved lines.

mod lookup;
mod row;

use std::net::IpAddr;
use std::num::NonZeroU16;

pub(crate) use lookup::{LEGAL, Word, first_of_name};
pub use row::{CommandRow, OptionRow, Value, Verb};
pub(crate) use row::{Read, Write};

use super::address;
use super::command::{Columns, Subject};
use super::draft::{DEFAULT_INTERFACE, Draft, Method, Server, protocol_of_ports};
use super::flags::flag_names;
use super::line_writer::LineWriter;
use super::number::strtol;
use super::resolver::Resolver;
use super::tunnel::{Checksum, Kind};
use super::value_error::ValueError;
use crate::daemon::SyncDaemon;
use crate::destination::{Destination, Forwarding, GueChecksum, Tunnel};
use crate::family::{Family, Protocol};
use crate::invalid_value::InvalidValue;
use crate::key::{DestinationKey, ServiceKey};
use crate::name::{Engine, Interface, Scheduler, visible};
use crate::service::Netmask;

/// The commands, in the order of the help text.
pub const COMMANDS: &[CommandRow] = &[
    CommandRow::new(Verb::AddService, "A", "add-service", "Add a virtual service"),
    CommandRow::new(
        Verb::EditService,
        "E",
        "edit-service",
        "Replace all settings of a virtual service; options not given return to their defaults",
    ),
    CommandRow::new(Verb::DeleteService, "D", "delete-service", "Delete a virtual service and its servers"),
    CommandRow::new(Verb::Flush, "C", "clear", "Delete all virtual services and servers").called("flush"),
    CommandRow::new(Verb::Restore, "R", "restore", "Run the command lines on standard input"),
    CommandRow::new(Verb::Save, "S", "save", "Write the table to standard output, as lines for --restore"),
    CommandRow::new(Verb::AddServer, "a", "add-server", "Add a server to a virtual service"),
    CommandRow::new(
        Verb::EditServer,
        "e",
        "edit-server",
        "Replace all settings of a server; options not given return to their defaults",
    ),
    CommandRow::new(Verb::DeleteServer, "d", "delete-server", "Delete a server from a virtual service"),
    CommandRow::new(Verb::List, "Ll", "list", "List all virtual services, or one"),
    CommandRow::new(Verb::Zero, "Z", "zero", "Reset the counters of all virtual services, or of one"),
    CommandRow::new(
        Verb::Set,
        "",
        "set",
        "Set the timeouts of TCP, TCP after FIN, and UDP connections, in seconds; 0 keeps the current value",
    )
    .with_words("tcp tcpfin udp"),
    CommandRow::new(
        Verb::StartDaemon,
        "",
        "start-daemon",
        "Start a sync daemon: a master sends connections, a backup receives them",
    )
    .taking("master|backup"),
    CommandRow::new(Verb::StopDaemon, "", "stop-daemon", "Stop a sync daemon").taking("master|backup"),
    CommandRow::new(Verb::Help, "h", "help", "Show this help"),
    CommandRow::new(Verb::Version, "v", "version", "Show the version"),
];

const NAMES_A_SERVICE: &[Verb] =
    &[Verb::AddService, Verb::EditService, Verb::DeleteService, Verb::AddServer, Verb::EditServer, Verb::DeleteServer];
const SETS_A_SERVICE: &[Verb] = &[Verb::AddService, Verb::EditService];
const SETS_A_SERVER: &[Verb] = &[Verb::AddServer, Verb::EditServer];
const NAMES_A_SERVER: &[Verb] = &[Verb::AddServer, Verb::EditServer, Verb::DeleteServer];
const LIST: &[Verb] = &[Verb::List];
const START: &[Verb] = &[Verb::StartDaemon];

/// The options.
pub const OPTIONS: &[OptionRow] = &[
    OptionRow::flag("numeric", "n", |draft| draft.listing.numeric = true)
        .help("Print addresses and ports as numbers")
        .on(&[Verb::List, Verb::Save]),
    OptionRow::flag("connection", "c", |draft| draft.listing.subject = Subject::Connections)
        .help("List the connections")
        .alone_on(LIST),
    OptionRow::service("tcp-service", "t", |draft, value, names| read_service(Protocol::Tcp, draft, value, names))
        .help("Virtual service for TCP to this address and port")
        .write_service_key(write_service_key),
    OptionRow::service("udp-service", "u", |draft, value, names| read_service(Protocol::Udp, draft, value, names))
        .help("Virtual service for UDP to this address and port"),
    OptionRow::service("sctp-service", "", |draft, value, names| read_service(Protocol::Sctp, draft, value, names))
        .help("Virtual service for SCTP to this address and port"),
    OptionRow {
        value: Value::Required("mark"),
        ..OptionRow::service("fwmark-service", "f", |draft, value, _| {
            draft.key = ServiceKey::fwmark(strtol(value, 1, u32::MAX)?, Family::V4);
            Ok(())
        })
        .help("Virtual service for packets with this firewall mark, 1 to 4294967295")
        .complaint("invalid fwmark value `{}' specified")
    },
    OptionRow::flag("ipv6", "6", |draft| draft.ipv6 = true)
        .help("With -f: match IPv6 packets instead of IPv4 packets")
        .called(""),
    OptionRow::value("scheduler", "s", Value::Required("scheduler"), |draft, value, _| {
        draft.service.scheduler = cut(value, Scheduler::MAX, |name| Scheduler::new(name))?.unwrap_or_default();
        Ok(())
    })
    .help("Choose a server for each new connection with this scheduler")
    .complaint("illegal scheduler specified")
    .default("wlc")
    .on(SETS_A_SERVICE)
    .write_service(|line, service| line.bytes("-s", &visible(service.scheduler.as_bytes())))
    .settable(),
    OptionRow::value("persistent", "p", Value::Optional("seconds"), |draft, value, _| {
        draft.service.persistence = Some(strtol(value, 1, draft.limits.persistence)?);
        Ok(())
    })
    .help(
        "Send a client to the same server until this many seconds have passed since its last connection, 1 to 2678400",
    )
    .complaint("invalid timeout value `{}' specified")
    .default("off; without a value: 360")
    .on(SETS_A_SERVICE)
    .write_service(|line, service| {
        if let Some(seconds) = service.persistence {
            line.number("-p", seconds);
        }
    })
    .settable_or_off(|draft| draft.service.persistence = None),
    OptionRow::value("netmask", "M", Value::Required("netmask"), read_netmask)
        .help("With -p: treat all clients of a network as one client: netmask (IPv4) or prefix length")
        .complaint("illegal virtual server persistent mask specified")
        .default("255.255.255.255 or 128")
        .on(SETS_A_SERVICE)
        .write_service(|line, service| {
            // Without persistence a netmask has no effect, and ipvsadm does not save it.
            if service.persistence.is_some() && service.netmask != Netmask::host(service.key.family()) {
                line.display("-M", service.netmask);
            }
        })
        .settable(),
    OptionRow::value("real-server", "r", Value::Required("host[:port]"), read_server)
        .help("Server of the virtual service")
        .complaint("illegal real server address[:port] specified")
        .default("the port of the service")
        .needed_on(NAMES_A_SERVER)
        .write_server_key(write_server_key),
    OptionRow::flag("gatewaying", "g", |draft| draft.method = Some(Method::DirectRoute))
        .help("Forward by direct routing; the default")
        .called("forwarding-method")
        .on(SETS_A_SERVER)
        .write_server(|line, server| {
            line.word(match server.forwarding {
                Forwarding::Masquerade => b"-m",
                Forwarding::Tunnel(_) => b"-i",
                Forwarding::DirectRoute | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) => b"-g",
            });
        }),
    OptionRow::flag("ipip", "i", |draft| draft.method = Some(Method::Tunnel))
        .help("Forward through a tunnel")
        .called("forwarding-method")
        .on(SETS_A_SERVER),
    OptionRow::flag("masquerading", "m", |draft| draft.method = Some(Method::Masquerade))
        .help("Forward by masquerading (NAT)")
        .called("forwarding-method")
        .on(SETS_A_SERVER),
    OptionRow::value("weight", "w", Value::Required("weight"), |draft, value, _| {
        draft.destination.weight = strtol(value, 0, Destination::MAX)?;
        Ok(())
    })
    .help("Share of new connections relative to the other servers, up to 2147483647; 0: none")
    .complaint("illegal weight specified")
    .default("1")
    .on(SETS_A_SERVER)
    .write_server(|line, server| line.number("-w", server.weight))
    .settable(),
    OptionRow::value("u-threshold", "x", Value::Required("connections"), |draft, value, _| {
        draft.destination.upper_threshold = strtol(value, 0, Destination::MAX)?;
        Ok(())
    })
    .help("Stop new connections at this many connections, up to 2147483647; 0: no limit")
    .complaint("illegal u_threshold specified")
    .default("0")
    .on(SETS_A_SERVER)
    .write_server(|line, server| line.number_unless_zero("-x", server.upper_threshold))
    .settable(),
    OptionRow::value("l-threshold", "y", Value::Required("connections"), |draft, value, _| {
        draft.destination.lower_threshold = strtol(value, 0, Destination::MAX)?;
        Ok(())
    })
    .help("Accept new connections again below this many connections, up to -x; 0: 3/4 of -x")
    .complaint("illegal l_threshold specified")
    .default("0")
    .on(SETS_A_SERVER)
    .write_server(|line, server| line.number_unless_zero("-y", server.lower_threshold))
    .settable(),
    OptionRow::value("mcast-interface", "", Value::Required("interface"), |draft, value, _| {
        let name = cut(value, Interface::MAX, |name| Interface::new(name))?;
        draft.daemon.interface = name.unwrap_or(DEFAULT_INTERFACE);
        Ok(())
    })
    .help("Sync: network interface")
    .complaint("illegal interface specified")
    .default("eth0")
    .on(START),
    OptionRow::flag("timeout", "", |draft| draft.listing.subject = Subject::Timeouts)
        .help("List the timeouts of connections")
        .alone_on(LIST),
    OptionRow::flag("daemon", "", |draft| draft.listing.subject = Subject::Daemons)
        .help("List the sync daemons")
        .alone_on(LIST),
    OptionRow::flag("stats", "", |draft| draft.listing.show(Columns::Stats)).help("List the counters").on(LIST),
    OptionRow::flag("rate", "", |draft| draft.listing.show(Columns::Rates)).help("List the rates per second").on(LIST),
    OptionRow::flag("thresholds", "", |draft| draft.listing.show(Columns::Thresholds))
        .help("List the thresholds (-x, -y)")
        .on(LIST),
    OptionRow::flag("persistent-conn", "", |draft| draft.listing.show(Columns::PersistentConnections))
        .help("List the numbers of persistent connections")
        .on(LIST),
    OptionRow::flag("nosort", "", |draft| draft.listing.sorted = false).help("List in the kernel's order").on(LIST),
    OptionRow::flag("sort", "", |_| ()).help("List in the order of addresses; the default").called(""),
    // Accepted with --list and --stop-daemon, where it has no effect.
    OptionRow::value("syncid", "", Value::Required("id"), |draft, value, _| {
        draft.daemon.sync_id = strtol(value, 0, SyncDaemon::MAX_SYNC_ID)?;
        Ok(())
    })
    .help("Sync: id of the packets, 0 to 255; a backup accepts only its own id, or every id if it is 0")
    .complaint("illegal syncid specified")
    .default("0")
    .on(&[Verb::StartDaemon, Verb::StopDaemon, Verb::List]),
    OptionRow::flag("exact", "X", |draft| draft.listing.exact = true)
        .help("Print counters in full, without K, M and G")
        .on(LIST),
    OptionRow::value("pe", "", Value::Required("engine"), |draft, value, _| {
        draft.service.engine = cut(value, Engine::MAX, |name| Engine::new(name))?;
        Ok(())
    })
    .help("With -p: recognise clients with this persistence engine: sip, by the Call-ID")
    .complaint("illegal persistence engine specified")
    .default("none")
    .on(SETS_A_SERVICE)
    .write_service(|line, service| {
        if let Some(engine) = &service.engine {
            line.bytes("--pe", &visible(engine.as_bytes()));
        }
    })
    .settable_or_off(|draft| draft.service.engine = None),
    OptionRow::flag("ops", "o", |draft| draft.service.one_packet = true)
        .help("Schedule every UDP packet separately, without connections")
        .on(SETS_A_SERVICE)
        .write_service(|line, service| {
            if service.one_packet {
                line.word(b"-o");
            }
        })
        .settable_or_off(|draft| draft.service.one_packet = false),
    OptionRow::value("sched-flags", "b", Value::Required("flags"), |draft, value, _| {
        draft.scheduler_flags = Some(value);
        Ok(())
    })
    .help("Scheduler flags, separated by commas; \"\": none")
    .default("none")
    .on(SETS_A_SERVICE)
    .write_service(|line, service| line.list("-b", flag_names(service.scheduler, service.flags)))
    .settable(),
    OptionRow::value("mcast-group", "", Value::Required("address"), |draft, value, _| {
        let group = std::str::from_utf8(value).ok().and_then(|text| text.parse::<IpAddr>().ok());
        draft.daemon.group = Some(group.filter(IpAddr::is_multicast).ok_or(ValueError::NotMulticast)?);
        Ok(())
    })
    .help("Sync: multicast address")
    .complaint("invalid {family} mcast-group `{}'")
    .default("224.0.0.81")
    .on(START),
    OptionRow::value("mcast-port", "", Value::Required("port"), |draft, value, _| {
        draft.daemon.port = Some(strtol(value, 1, u16::MAX.into())? as u16);
        Ok(())
    })
    .help("Sync: UDP port, 1 to 65535")
    .complaint("illegal mcast-port specified")
    .default("8848")
    .on(START),
    OptionRow::value("mcast-ttl", "", Value::Required("hops"), |draft, value, _| {
        draft.daemon.ttl = Some(strtol(value, 1, u8::MAX.into())? as u8);
        Ok(())
    })
    .help("Sync: time to live of the packets, 1 to 255")
    .complaint("illegal mcast-ttl specified")
    .default("1")
    .on(START),
    OptionRow::value("sync-maxlen", "", Value::Required("bytes"), |draft, value, _| {
        draft.daemon.max_length = Some(strtol(value, 1, 65507)? as u16);
        Ok(())
    })
    .help("Sync: largest UDP payload, 1 to 65507 bytes")
    .complaint("illegal sync-maxlen specified")
    .default("1472; backup: as the MTU of the interface allows")
    .on(START),
    OptionRow::flag("tun-info", "", |draft| draft.listing.show(Columns::Tunnels)).help("List the tunnels").on(LIST),
    OptionRow::value("tun-type", "", Value::Required("type"), |draft, value, _| {
        draft.tunnel.kind = Some(Kind::from_name(value).ok_or(ValueError::NotOneOf("ipip, gue, gre"))?);
        Ok(())
    })
    .help("With -i: encapsulation, one of ipip, gue and gre")
    .complaint("illegal tunnel type specified")
    .default("ipip")
    .on(SETS_A_SERVER)
    .write_server(write_tunnel),
    OptionRow::value("tun-port", "", Value::Required("port"), |draft, value, _| {
        draft.tunnel.port = NonZeroU16::new(strtol(value, 1, u16::MAX.into())? as u16);
        Ok(())
    })
    .help("UDP port of a gue tunnel on the server, 1 to 65535; required for gue")
    .complaint("illegal tunnel port specified")
    .on(SETS_A_SERVER)
    .settable(),
    OptionRow::flag("tun-nocsum", "", |draft| draft.tunnel.add(Checksum::None))
        .help("With --tun-type gue or gre: send no checksums; the default")
        .on(SETS_A_SERVER),
    OptionRow::flag("tun-csum", "", |draft| draft.tunnel.add(Checksum::Full))
        .help("With --tun-type gue or gre: send checksums")
        .on(SETS_A_SERVER),
    OptionRow::flag("tun-remcsum", "", |draft| draft.tunnel.add(Checksum::Remote))
        .help("With --tun-type gue: use remote checksum offload")
        .on(SETS_A_SERVER),
    OptionRow::flag("stream", "", |draft| draft.stream = true)
        .help("Run each line as it arrives, instead of checking all lines first")
        .on(&[Verb::Restore])
        .beyond_1_31(),
];

/// Reads the address of a service. A missing port is 0.
fn read_service(
    protocol: Protocol,
    draft: &mut Draft<'_>,
    value: &[u8],
    resolver: &mut dyn Resolver,
) -> Result<(), ValueError> {
    let endpoint = address::endpoint(value, Some(protocol), resolver)?;
    draft.key = Some(ServiceKey::new(protocol, endpoint.address, endpoint.port.unwrap_or(0)));
    Ok(())
}

fn write_service_key(line: &mut LineWriter<'_>, key: &ServiceKey) {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            let option = match protocol {
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
                Protocol::Tcp | Protocol::Other(_) => "-t",
            };
            line.endpoint(option, address, port, Some(protocol));
        }
        ServiceKey::Fwmark { mark, family } => {
            line.display("-f", mark);
            if family == Family::V6 {
                line.word(b"-6");
            }
        }
    }
}

/// Checks a netmask and stores its text. It is parsed at the end of the line, when the family is known.
fn read_netmask<'a>(draft: &mut Draft<'a>, value: &'a [u8], resolver: &mut dyn Resolver) -> Result<(), ValueError> {
    match draft.key {
        Some(ServiceKey::Address { address, .. }) => address::netmask(value, Family::of(address), resolver),
        Some(ServiceKey::Fwmark { .. }) if draft.ipv6 => address::netmask(value, Family::V6, resolver),
        // `-6` or an address of either family may follow.
        _ => address::netmask(value, Family::V4, resolver)
            .or_else(|_| address::netmask(value, Family::V6, resolver))
            .map_err(|_| ValueError::Netmask),
    }?;
    draft.netmask = Some(value);
    Ok(())
}

fn read_server<'a>(draft: &mut Draft<'a>, value: &'a [u8], resolver: &mut dyn Resolver) -> Result<(), ValueError> {
    let protocol = draft.key.map(|key| protocol_of_ports(&key));
    draft.server = Some(match address::endpoint(value, protocol, resolver) {
        Ok(endpoint) => Server::Read(endpoint),
        // The names of ports depend on the service, which may follow.
        Err(ValueError::UnknownPort) if protocol.is_none() => Server::Later(value),
        Err(reason) => return Err(reason),
    });
    Ok(())
}

fn write_server_key(line: &mut LineWriter<'_>, service: Option<&ServiceKey>, server: DestinationKey) {
    // A firewall mark has no protocol, so the ports of its servers have no names.
    let protocol = match service {
        Some(ServiceKey::Address { protocol, .. }) => Some(*protocol),
        _ => None,
    };
    line.endpoint("-r", server.address, server.port, protocol);
}

/// Writes type, port and checksum, as ipvsadm does for every tunnel.
fn write_tunnel(line: &mut LineWriter<'_>, server: &Destination) {
    match server.forwarding.tunnel() {
        Some(Tunnel::Ipip) => line.word(b"--tun-type ipip"),
        Some(Tunnel::Gue { port, checksum }) => {
            line.word(b"--tun-type gue");
            line.display("--tun-port", port);
            line.word(match checksum {
                GueChecksum::None => b"--tun-nocsum",
                GueChecksum::Full => b"--tun-csum",
                GueChecksum::Remote => b"--tun-remcsum",
            });
        }
        Some(Tunnel::Gre { checksum }) => {
            line.word(b"--tun-type gre");
            line.word(if checksum { b"--tun-csum" } else { b"--tun-nocsum" });
        }
        // The language cannot express it.
        Some(Tunnel::Other { .. }) | None => {}
    }
}

/// Reads a name, which is truncated to the kernel's maximum length, as in ipvsadm. Returns `None`, the default, for an
/// empty name.
fn cut<T>(
    value: &[u8],
    longest: usize,
    name: impl Fn(&[u8]) -> Result<T, InvalidValue>,
) -> Result<Option<T>, ValueError> {
    let value = &value[..value.len().min(longest)];
    if value.is_empty() {
        return Ok(None);
    }
    name(value).map(Some).map_err(|_| ValueError::Name)
}
