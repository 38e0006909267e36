//! The services of connection entries.

use std::collections::{HashMap, HashSet};

use super::ConnectionEntry;
use crate::family::Family;
use crate::key::{DestinationKey, ServiceKey};
use crate::state::ServiceState;

/// The services of a table, to find the service of each of many connection entries.
///
/// The kernel does not report the service of an entry, but only the address and port of its packets. A connection of a
/// service by mark is recognised by its server, which other services by mark can have, too.
#[derive(Clone, Debug, Default)]
pub struct ServiceIndex {
    keys: HashSet<ServiceKey>,
    /// The services by mark that have a server.
    marks: HashMap<(Family, DestinationKey), Vec<ServiceKey>>,
}

/// The service of a connection entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceMatch<'i> {
    /// The service with the address and port of the entry, or with its address and port 0. For a template of a service
    /// by mark: the service with this mark.
    Service(ServiceKey),
    /// No service has this address. These services by mark have the server of the entry. There is at least one.
    Marks(&'i [ServiceKey]),
    /// There is no such service. It may have been deleted, or the server may have been.
    Unknown,
}

impl ServiceMatch<'_> {
    /// Returns the service. `None` if it is unknown, or if several services by mark have the server.
    pub fn one(self) -> Option<ServiceKey> {
        match self {
            Self::Service(key) | Self::Marks(&[key]) => Some(key),
            Self::Marks(_) | Self::Unknown => None,
        }
    }

    /// Returns the service, or all services by mark that have the server.
    pub fn candidates(&self) -> &[ServiceKey] {
        match self {
            Self::Service(key) => std::slice::from_ref(key),
            Self::Marks(keys) => keys,
            Self::Unknown => &[],
        }
    }
}

impl ServiceIndex {
    /// Returns an index of these services. Only those by mark need their destinations.
    pub fn new<'s>(services: impl IntoIterator<Item = &'s ServiceState>) -> Self {
        let mut index = Self::default();
        for state in services {
            let key = state.service.key;
            index.keys.insert(key);
            if let ServiceKey::Fwmark { family, .. } = key {
                for server in &state.destinations {
                    index.marks.entry((family, server.destination.key)).or_default().push(key);
                }
            }
        }
        index
    }

    /// Returns the service of a connection entry.
    pub fn find(&self, entry: &ConnectionEntry) -> ServiceMatch<'_> {
        let Some(key) = entry.service_key() else { return ServiceMatch::Unknown };
        if self.keys.contains(&key) {
            return ServiceMatch::Service(key);
        }
        let ServiceKey::Address { protocol, address, .. } = key else { return ServiceMatch::Unknown };
        let any_port = ServiceKey::new(protocol, address, 0);
        if self.keys.contains(&any_port) {
            return ServiceMatch::Service(any_port);
        }
        let server = DestinationKey::from(entry.destination);
        // A server with port 0 gets the port of the packet.
        let has = |server| self.marks.get(&(entry.family(), server));
        match has(server).or_else(|| has(DestinationKey { port: 0, ..server })) {
            Some(keys) => ServiceMatch::Marks(keys),
            None => ServiceMatch::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connections, Destination, DestinationState, Forwarding, Scheduler, Service};

    fn service(key: ServiceKey, servers: &[(u8, u16)]) -> ServiceState {
        let server = |(last, port): &(u8, u16)| {
            DestinationState::new(Destination::new(([10, 1, 0, *last], *port), Forwarding::DirectRoute))
        };
        let destinations = servers.iter().map(server).collect();
        ServiceState { destinations, ..ServiceState::new(Service::new(key, Scheduler::RR)) }
    }

    fn entry(line: &str) -> ConnectionEntry {
        let table = format!("Pro \n{line} ESTABLISHED 899\n");
        Connections::new(table.as_bytes()).expect("a title").next().expect("a line").expect("an entry")
    }

    #[test]
    fn services_are_found_by_address_then_by_server() {
        let (web, all) = (ServiceKey::tcp([10, 0, 0, 1], 80), ServiceKey::tcp([10, 0, 0, 1], 0));
        let mark = |number| ServiceKey::fwmark(number, Family::V4).expect("not 0");
        let six = ServiceKey::fwmark(7, Family::V6).expect("not 0");
        let services = [
            service(web, &[(1, 80)]),
            service(all, &[(1, 0)]),
            service(mark(7), &[(1, 0), (2, 443)]),
            service(mark(8), &[(2, 443)]),
            service(six, &[(3, 0)]),
        ];
        let index = ServiceIndex::new(&services);
        for (line, expected) in [
            ("TCP 0A090001 9C41 0A000001 0050 0A010001 0050", &[web][..]),
            ("TCP 0A090001 0000 0A000001 0050 0A010001 0050", &[web]),
            ("TCP 0A090001 9C41 0A000001 01BB 0A010001 01BB", &[all]),
            ("TCP 0A090001 9C41 0A000002 01BB 0A010001 01BB", &[mark(7)]),
            ("UDP 0A090001 9C41 0A000002 01BB 0A010002 01BB", &[mark(7), mark(8)]),
            ("UDP 0A090001 9C41 0A000002 01BB 0A010002 01BC", &[]),
            ("IP  0A090001 0000 00000008 0000 0A010001 0000", &[mark(8)]),
            ("IP  0A090001 0000 00000009 0000 0A010001 0000", &[]),
            ("TCP 0A090001 9C41 0A000002 01BB 0A010003 01BB", &[]),
            ("TCP 2001:db8::9 9C41 2001:db8::1 01BB 0A010003 01BB", &[six]),
            ("AH 0A090001 9C41 0A000001 0050 0A010001 0050", &[]),
        ] {
            let found = index.find(&entry(line));
            assert_eq!(found.candidates(), expected, "{line}");
            let one = if let [one] = expected { Some(*one) } else { None };
            assert_eq!(found.one(), one, "{line}");
        }
    }
}
