//! The persistence template of a client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ConnectionEntry;
use crate::family::Family;
use crate::key::ServiceKey;
use crate::service::{Netmask, Service};

/// The key by which the kernel finds the persistence template of a client. Clients with equal keys share a template.
///
/// A template has the network of its client instead of the address. It has no port if the service has port 0 or 21 or is
/// one by firewall mark. See `ip_vs_sched_persist` in
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_core.c>.
///
/// ```
/// use std::time::Duration;
///
/// use ipvs::{Netmask, Scheduler, Service, ServiceKey, TemplateKey};
///
/// let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::SH);
/// let mut web = web.with_persistence(Duration::from_secs(300));
/// web.netmask = Netmask::V4([255, 255, 255, 0].into());
/// let key = |last: u8| TemplateKey::new(&web, [203, 0, 113, last]);
/// assert_eq!(key(1), key(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TemplateKey {
    service: ServiceKey,
    network: IpAddr,
}

/// The port of FTP, whose templates cover all ports.
const FTP: u16 = 21;

impl TemplateKey {
    /// Returns the key of a client's template. Returns `None` if the service is not persistent, if it has a persistence
    /// engine, which distinguishes clients by more than their address, or if the client is of another family.
    pub fn new(service: &Service, client: impl Into<IpAddr>) -> Option<Self> {
        let client = client.into();
        if service.persistence.is_none() || service.engine.is_some() || service.key.family() != Family::of(client) {
            return None;
        }
        let key = match service.key {
            ServiceKey::Address { protocol, address, port: FTP } => ServiceKey::new(protocol, address, 0),
            key => key,
        };
        Some(Self { service: key, network: masked(client, service.netmask) })
    }

    /// Returns the key of an entry. Returns `None` if it is not a template, has a persistence engine, or has an unknown
    /// protocol.
    pub fn of(entry: &ConnectionEntry) -> Option<Self> {
        if !entry.is_template() || entry.engine.is_some() {
            return None;
        }
        Some(Self { service: entry.service_key()?, network: entry.client.ip() })
    }

    /// Returns the first address of the network of the client.
    pub fn network(&self) -> IpAddr {
        self.network
    }
}

/// Returns an address without the bits that are not in the mask. A mask of the other family has no effect.
fn masked(address: IpAddr, netmask: Netmask) -> IpAddr {
    match (address, netmask) {
        (IpAddr::V4(address), Netmask::V4(mask)) => Ipv4Addr::from_bits(address.to_bits() & mask.to_bits()).into(),
        (IpAddr::V6(address), Netmask::V6(prefix)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        (address, _) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connections, Scheduler};

    fn entry(line: &str) -> ConnectionEntry {
        let table = format!("Pro \n{line} NONE 299\n");
        Connections::new(table.as_bytes()).expect("a title").next().expect("a line").expect("an entry")
    }

    #[test]
    fn templates_are_found_by_network_and_service() {
        let persistent = |key| Service { persistence: Some(300), ..Service::new(key, Scheduler::SH) };
        let web = persistent(ServiceKey::tcp([10, 0, 0, 1], 80));
        let network = Service { netmask: Netmask::V4([255, 255, 0, 0].into()), ..web };
        let all = persistent(ServiceKey::tcp([10, 0, 0, 1], 0));
        let ftp = persistent(ServiceKey::tcp([10, 0, 0, 1], 21));
        let mark = persistent(ServiceKey::fwmark(7, Family::V4).expect("not 0"));
        let six: IpAddr = "2001:db8::1".parse().expect("an address");
        let six = Service { netmask: Netmask::V6(64), ..persistent(ServiceKey::tcp(six, 80)) };
        for (line, service, client, is_found) in [
            ("TCP 0A090001 0000 0A000001 0050 0A010001 0050", web, "10.9.0.1", true),
            ("TCP 0A090001 0000 0A000001 0050 0A010001 0050", web, "10.9.0.2", false),
            ("TCP 0A090001 0000 0A000001 0051 0A010001 0050", web, "10.9.0.1", false),
            ("TCP 0A090001 0001 0A000001 0050 0A010001 0050", web, "10.9.0.1", false),
            ("UDP 0A090001 0000 0A000001 0050 0A010001 0050", web, "10.9.0.1", false),
            ("TCP 0A090000 0000 0A000001 0050 0A010001 0050", network, "10.9.3.1", true),
            ("TCP 0A090000 0000 0A000001 0000 0A010001 0000", all, "10.9.0.0", true),
            ("TCP 0A090000 0000 0A000001 0000 0A010001 0000", ftp, "10.9.0.0", true),
            ("IP  0A090000 0000 00000007 0000 0A010001 0000", mark, "10.9.0.0", true),
            ("IP  0A090000 0000 00000008 0000 0A010001 0000", mark, "10.9.0.0", false),
            ("TCP 2001:db8:9:: 0000 2001:db8::1 0050 2001:db8::2 0050", six, "2001:db8:9::7", true),
        ] {
            let key = TemplateKey::new(&service, client.parse::<IpAddr>().expect("an address"));
            assert!(key.is_some(), "{line}");
            assert_eq!(TemplateKey::of(&entry(line)) == key, is_found, "{line} {client}");
        }
        let none = Service { persistence: None, ..web };
        assert_eq!(TemplateKey::new(&none, [10, 9, 0, 1]), None);
        assert_eq!(TemplateKey::new(&six, [10, 9, 0, 1]), None);
        assert_eq!(
            TemplateKey::of(&entry("TCP 0A090001 0000 0A000001 0050 0A010001 0050 ")).map(|key| key.network()),
            Some([10, 9, 0, 1].into())
        );
    }
}
