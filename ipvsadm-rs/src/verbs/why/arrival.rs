//! The way of a packet to IPVS: the address and the device.

use std::io;
use std::net::IpAddr;

use ipvs::Family;

use super::report::{Finding, Steps};
use crate::network::{Address, Network, Route, RouteError, RouteKind, Routed, is_in, sysctl};
use crate::terminal::commands::{Command, quoted, set_device};

/// A packet of a client, before IPVS.
#[derive(Clone, Copy)]
pub(super) struct Arriving {
    pub(super) address: IpAddr,
    /// The mark. 0: the packet has none.
    pub(super) mark: u32,
    pub(super) client: Option<IpAddr>,
}

/// Checks that packets to the address are delivered to this host.
pub(super) fn check(network: &mut Network, packet: Arriving, steps: &mut Steps<'_>) -> anyhow::Result<()> {
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
        // The kernel still delivers packets for the address that arrive on other devices.
        let text = format!("{address} is an address of {}, which is down", device.name);
        let command = format!("ip link set {} up", quoted(&device.name));
        steps.add(Finding::broken("address", text, "").cure(Command::director(command)));
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
                Err(RouteError::Invalid)
                    if client.is_ipv4() && filter_of(&device.name).is_ok_and(|value| value > 0) =>
                {
                    steps.add(reverse_path(network, client, &device.name)?);
                }
                Err(RouteError::Invalid) => {
                    let text = format!("the kernel drops packets from {client} that arrive on {}", device.name);
                    steps.add(Finding::broken("source", text, "The source address is not valid on this device."));
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
            let command = format!("ip -6 address replace {address}/{prefix} dev {} nodad", quoted(&device.name));
            let text = format!("{address} is a duplicate or tentative address of {}", device.name);
            return Ok(Finding::broken("address", text, why).cure(Command::director(command)));
        }
    }
    if mark != 0 {
        let text = format!("packets with mark {mark} to {address} are not delivered to this director");
        let why = "IPVS sees only packets that the routing table delivers locally.";
        let family = if address.is_ipv4() { "" } else { " -6" };
        return Ok(Finding::broken("address", text, why)
            .cure(Command::director(format!("ip{family} route add local {address} dev lo"))));
    }
    let (way, device) = match route {
        Ok(route) => {
            let device = network.link(route.device)?.name;
            let way = match route.gateway {
                Some(gateway) => format!("The route of packets to it leads through {gateway} on {device}. "),
                None => format!("The route of packets to it leads to the segment of {device}. "),
            };
            (way, device)
        }
        Err(RouteError::NotRead(error)) => anyhow::bail!("cannot read the route to {address}: {error}"),
        Err(_) => ("There is no route to it. ".to_owned(), "DEVICE".to_owned()),
    };
    let text = format!("{address} is not an address of this director");
    let why = format!("{way}IPVS sees only packets that are delivered locally.");
    let command = format!("ip address add {address}/{prefix} dev {}", quoted(&device));
    Ok(Finding::broken("address", text, why).cure(Command::director(command)))
}

/// Checks that the kernel answers ARP and neighbour solicitations for an address of lo.
fn check_loopback(network: &mut Network, address: IpAddr, steps: &mut Steps<'_>) -> anyhow::Result<()> {
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
        let command = format!("ip -6 address add {address}/128 dev {} preferred_lft 0", quoted(&device));
        steps.add(Finding::broken("arp", text, why).cure(Command::director(command)));
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
        let command = format!("ip address add {address}/32 dev {}", quoted(&device));
        steps.add(Finding::broken("arp", text, why).cure(Command::director(command)));
    }
    Ok(())
}

/// Returns the value of rp_filter that applies to a device: the greater one of `all` and the device.
fn filter_of(device: &str) -> io::Result<i64> {
    Ok(sysctl::of_device("ipv4", "all", "rp_filter")?.max(sysctl::of_device("ipv4", device, "rp_filter")?))
}

fn reverse_path(network: &mut Network, client: IpAddr, device: &str) -> anyhow::Result<Finding> {
    let other = match network.route(client.into()) {
        Ok(route) => Some(network.link(route.device)?.name),
        Err(_) => None,
    };
    Ok(reverse_path_finding(client, device, other.as_deref(), filter_of(device)))
}

/// Describes the filter. `other` is the device of the route to the client. `None`: there is no route.
///
/// The strict filter needs a route through the device, the loose one any route (`__fib_validate_source`,
/// <https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/fib_frontend.c>).
fn reverse_path_finding(client: IpAddr, device: &str, other: Option<&str>, filter: io::Result<i64>) -> Finding {
    const STRICT: i64 = 1;
    let text = format!("the reverse path filter of {device} drops packets from {client}");
    let route = match other {
        Some(other) => format!("The route to {client} leads through {other}, not {device}."),
        None => format!("There is no route to {client}."),
    };
    let kind = match &filter {
        Ok(STRICT) => "rp_filter is 1 (strict). ".to_owned(),
        Ok(value) => format!("rp_filter is {value} (loose). "),
        Err(error) => format!("The value of rp_filter was not checked: {error}. "),
    };
    let finding = Finding::broken("reverse_path", text, kind + &route);
    match (filter, other) {
        (_, None) => finding.cure(Command::director(format!("ip route replace {client} via ROUTER"))),
        (Ok(STRICT), Some(_)) => finding.cure(Command::director(set_device("ipv4", device, "rp_filter", 2))),
        (_, Some(_)) => finding.cure(Command::director(format!("ip route get {client}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_the_filter_is_that_of_its_value() {
        let client: IpAddr = "10.1.0.10".parse().expect("an address");
        let found = |other, filter: io::Result<i64>| {
            let finding = reverse_path_finding(client, "eth0.7", other, filter);
            let commands: Vec<String> = finding.cures.iter().map(|command| command.text().to_owned()).collect();
            (finding.why, commands.join("; "))
        };
        let of = |why: &str, commands: &str| (why.to_owned(), commands.to_owned());
        assert_eq!(
            found(Some("eth1"), Ok(1)),
            of(
                "rp_filter is 1 (strict). The route to 10.1.0.10 leads through eth1, not eth0.7.",
                "sysctl -w net/ipv4/conf/eth0.7/rp_filter=2"
            )
        );
        assert_eq!(
            found(None, Ok(2)),
            of("rp_filter is 2 (loose). There is no route to 10.1.0.10.", "ip route replace 10.1.0.10 via ROUTER")
        );
        let (why, commands) = found(Some("eth1"), Err(io::ErrorKind::PermissionDenied.into()));
        assert!(why.starts_with("The value of rp_filter was not checked: permission denied."), "{why}");
        assert_eq!(commands, "ip route get 10.1.0.10");
    }
}
