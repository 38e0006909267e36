//! The way of a packet to IPVS: the address and the device.

use std::net::IpAddr;

use ipvs::{Client, Family, Role};

use super::report::{Cure, Finding, Steps};
use super::servers::Way;
use super::subject::Subject;
use super::symptoms;
use crate::network::{Address, Network, Route, RouteError, RouteKind, Routed, is_in, sysctl};

/// A packet of a client, before IPVS.
#[derive(Clone, Copy)]
pub(super) struct Arriving {
    pub(super) address: IpAddr,
    /// The mark. 0: the packet has none.
    pub(super) mark: u32,
    pub(super) client: Option<IpAddr>,
}

/// Checks that packets to the address are delivered to this host.
pub(super) fn check(network: &mut Network, packet: Arriving, steps: &mut Steps) -> anyhow::Result<()> {
    let Arriving { address, mark, client } = packet;
    if address.is_unspecified() || address.is_multicast() {
        let why = "Clients send to a unicast address. IPVS does not schedule other packets.";
        steps.add(Finding::broken("address", format!("{address} is not a unicast address"), why));
        return Ok(());
    }
    let route = network.route(Routed { destination: address, source: None, arrives_at: None, mark });
    if !matches!(route, Ok(Route { kind: RouteKind::Local, .. })) {
        steps.add(not_local(network, address, mark, &route)?);
        return Ok(());
    }
    let owners: Vec<Address> =
        network.addresses(Family::of(address), None)?.into_iter().filter(|owner| owner.address == address).collect();
    let mut devices = Vec::new();
    for owner in &owners {
        devices.push(network.link(owner.device)?);
    }
    let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    if let [device] = &devices[..]
        && !device.is_up
    {
        // The kernel still delivers packets for the address that arrive at other devices.
        let text = format!("{address} is an address of {}, which is down", device.name);
        let command = format!("ip link set {} up", device.name);
        steps.add(Finding::broken("address", text, "").cure(Cure::director(command)));
    } else if owners.is_empty() {
        steps.add(Finding::good("address", format!("{address} is routed to this director")));
    } else {
        let text = format!("{address} is an address of this director ({})", names.join(", "));
        steps.add(Finding::good("address", text));
    }
    if !owners.is_empty() && devices.iter().all(|device| device.is_loopback) {
        check_loopback(network, address, steps)?;
    }
    if let Some(client) = client {
        for device in devices.iter().filter(|device| !device.is_loopback) {
            let arriving = Routed { destination: address, source: Some(client), arrives_at: Some(device.index), mark };
            // Since Linux 6.14 the kernel does not report which check has failed.
            match network.route(arriving) {
                Err(RouteError::ReversePath) => steps.add(reverse_path(network, client, &device.name)?),
                Err(RouteError::Invalid) if is_filtered(&device.name) && client.is_ipv4() => {
                    steps.add(reverse_path(network, client, &device.name)?);
                }
                Err(RouteError::Invalid) => {
                    let text = format!("the kernel drops packets from {client} that arrive at {}", device.name);
                    steps.add(Finding::broken("source", text, "The source address is not valid at this device."));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Returns the reason why packets to an address are not delivered to this host.
fn not_local(
    network: &mut Network,
    address: IpAddr,
    mark: u32,
    route: &Result<Route, RouteError>,
) -> anyhow::Result<Finding> {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    for owner in network.addresses(Family::of(address), None)? {
        if owner.address != address {
            continue;
        }
        let device = network.link(owner.device)?;
        if owner.is_tentative {
            let why = "Another host on the segment has the address, or the kernel still checks whether one has it. \
                       Until then the kernel does not accept packets for the address.";
            let command = format!("ip -6 address replace {address}/{prefix} dev {} nodad", device.name);
            let text = format!("{address} is a duplicate or tentative address of {}", device.name);
            return Ok(Finding::broken("address", text, why).cure(Cure::director(command)));
        }
    }
    if mark != 0 {
        let text = format!("packets with mark {mark} to {address} are not delivered to this director");
        let why = "IPVS sees only packets that the routing table delivers locally.";
        let family = if address.is_ipv4() { "" } else { " -6" };
        return Ok(Finding::broken("address", text, why)
            .cure(Cure::director(format!("ip{family} route add local {address} dev lo"))));
    }
    let (way, device) = match route {
        Ok(route) => {
            let device = network.link(route.device)?.name;
            let way = match route.gateway {
                Some(gateway) => format!("The route of packets to it leads through {gateway} at {device}. "),
                None => format!("The route of packets to it leads to the segment of {device}. "),
            };
            (way, device)
        }
        Err(RouteError::NotRead(error)) => anyhow::bail!("cannot read the route to {address}: {error}"),
        Err(_) => ("There is no route to it. ".to_owned(), "DEVICE".to_owned()),
    };
    let text = format!("{address} is not an address of this director");
    let why = format!("{way}IPVS sees only packets that are delivered locally.");
    let command = format!("ip address add {address}/{prefix} dev {device}");
    Ok(Finding::broken("address", text, why).cure(Cure::director(command)))
}

/// Checks that the kernel answers ARP and neighbour solicitations for an address of lo.
fn check_loopback(network: &mut Network, address: IpAddr, steps: &mut Steps) -> anyhow::Result<()> {
    let mut segment = None;
    for other in network.addresses(Family::of(address), None)? {
        let has_others = other.length < if address.is_ipv4() { 32 } else { 128 };
        if has_others && is_in(address, other.address, other.length) {
            let device = network.link(other.device)?;
            if !device.is_loopback {
                segment = Some(device.name);
                break;
            }
        }
    }
    let Some(device) = segment else { return Ok(()) };
    if address.is_ipv6() {
        let why = "The kernel does not answer neighbour solicitations for addresses of lo. Clients on the segment, or \
                   their router, cannot find the director.";
        let text = format!("nobody answers neighbour solicitations for {address}, because only lo has it");
        let command = format!("ip -6 address add {address}/128 dev {device} preferred_lft 0");
        steps.add(Finding::broken("arp", text, why).cure(Cure::director(command)));
        return Ok(());
    }
    // The kernel uses the greater value of `all` and the device (IN_DEV_MAXCONF,
    // https://elixir.bootlin.com/linux/v6.12/source/include/linux/inetdevice.h).
    let ignore =
        match (sysctl::of_device("ipv4", "all", "arp_ignore"), sysctl::of_device("ipv4", &device, "arp_ignore")) {
            (Ok(all), Ok(own)) => all.max(own),
            (Err(error), _) | (_, Err(error)) => {
                steps.add(Finding::unknown("arp", format!("arp_ignore of {device} was not checked: {error}")));
                return Ok(());
            }
        };
    if ignore > 0 {
        let text = format!("nobody answers ARP for {address}, because only lo has it");
        let why = format!("arp_ignore of {device} is {ignore}, so the kernel does not answer ARP for addresses of lo.");
        let command = format!("ip address add {address}/32 dev {device}");
        steps.add(Finding::broken("arp", text, why).cure(Cure::director(command)));
    }
    Ok(())
}

/// Returns whether a device has a reverse path filter. The greater value of `all` and the device applies.
fn is_filtered(device: &str) -> bool {
    ["all", device].iter().any(|name| sysctl::of_device("ipv4", name, "rp_filter").is_ok_and(|value| value > 0))
}

fn reverse_path(network: &mut Network, client: IpAddr, device: &str) -> anyhow::Result<Finding> {
    let other = match network.route(client.into()) {
        Ok(route) => format!("leads through {}, not {device}", network.link(route.device)?.name),
        Err(_) => "does not exist".to_owned(),
    };
    let text = format!("the reverse path filter of {device} drops packets from {client}");
    let why = format!("The filter is strict, and the route to {client} {other}.");
    let of = |name: &str| sysctl::of_device("ipv4", name, "rp_filter").unwrap_or_default();
    let mut finding = Finding::broken("reverse_path", text, why);
    // The value 2 is loose. The greater value of `all` and the device applies.
    for name in ["all", device] {
        if name == device || of(name) > 0 {
            finding =
                finding.cure(Cure::director(format!("sysctl -w net.ipv4.conf.{}.rp_filter=2", name.replace('.', "/"))));
        }
    }
    Ok(finding)
}

/// Checks the link-layer address that a client uses for the address of the service. A server that answers ARP for it gets
/// the packets of this client in place of the director.
pub(super) fn check_answer(
    network: &mut Network,
    subject: &Subject,
    ways: &[Way],
    hardware: &[u8],
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let Some(target) = subject.target.filter(|_| !hardware.is_empty()) else { return Ok(()) };
    for way in ways.iter().filter(|way| !way.is_local() && way.route.gateway.is_none()) {
        let server = way.server.destination.key;
        let Ok(neighbour) = network.neighbour(way.route.device, server.address) else { continue };
        if neighbour.hardware != hardware {
            continue;
        }
        let why = "The client sends its packets to the server in place of the director. Afterwards, flush the neighbours \
                   of the client, or wait until it asks again.";
        let finding = Finding::broken("arp_of_server", format!("answers ARP for {}", target.ip()), why);
        let cure = symptoms::setup(subject, &way.server).map(Cure::server);
        let finding = cure.map_or_else(|| finding.clone(), |cure| finding.clone().cure(cure));
        steps.add_all(vec![(server, finding)]);
        return Ok(());
    }
    Ok(())
}

/// Checks that this director does not leave its connections to another one.
pub(super) fn check_backup(director: &mut Client, steps: &mut Steps) -> anyhow::Result<()> {
    if sysctl::number("ipv4/vs/backup_only").unwrap_or_default() == 0 {
        return Ok(());
    }
    let daemons = director.daemons()?;
    let runs = |role| daemons.iter().any(|daemon| daemon.role == role);
    if runs(Role::Backup) && !runs(Role::Master) {
        let why = "net.ipv4.vs.backup_only is 1, and the sync daemon of this director is a backup. The kernel then \
                   does not process packets for services.";
        let finding = Finding::broken("backup_only", "this director is only a backup, and forwards nothing", why)
            .cure(Cure::director("sysctl -w net.ipv4.vs.backup_only=0"));
        steps.add(finding);
    }
    Ok(())
}
