//! The servers of a service, by their addresses and ports.

use std::collections::HashMap;
use std::net::IpAddr;

use ipvs::{Destination, DestinationKey};

/// The weights of servers. There can be as many servers as clients, so each lookup must take constant time.
pub(super) struct Servers {
    weights: HashMap<DestinationKey, u32>,
    /// The oldest server of each address.
    by_address: HashMap<IpAddr, DestinationKey>,
}

impl Servers {
    pub(super) fn new(oldest_first: impl Iterator<Item = Destination>) -> Self {
        let (mut weights, mut by_address) = (HashMap::new(), HashMap::new());
        for server in oldest_first {
            weights.insert(server.key, server.weight);
            by_address.entry(server.key.address).or_insert(server.key);
        }
        Self { weights, by_address }
    }

    /// Returns the weight of a server. `None`: the service does not have it.
    pub(super) fn weight(&self, server: DestinationKey) -> Option<u32> {
        self.weights.get(&server).copied()
    }

    /// Returns the server of an entry of the connection table. A server with port 0 gets the port of the packet. Some
    /// templates have no port.
    pub(super) fn of_entry(&self, server: DestinationKey, is_template: bool) -> Option<DestinationKey> {
        let any_port = DestinationKey { port: 0, ..server };
        let exact = [server, any_port].into_iter().find(|key| self.weights.contains_key(key));
        let of_address = || self.by_address.get(&server.address).filter(|_| is_template && server.port == 0).copied();
        exact.or_else(of_address)
    }
}

#[cfg(test)]
mod tests {
    use ipvs::Forwarding;

    use super::*;

    fn key(last: u8, port: u16) -> DestinationKey {
        DestinationKey::from(([10, 0, 0, last], port))
    }

    #[test]
    fn ports_of_entries_may_differ() {
        let all = [key(1, 80), key(1, 81), key(2, 0), key(3, 80)];
        let servers = Servers::new(all.into_iter().map(|key| Destination::new(key, Forwarding::Masquerade)));
        for (entry, is_template, expected) in [
            (key(1, 81), false, Some(key(1, 81))),
            (key(1, 82), false, None),
            (key(2, 80), false, Some(key(2, 0))),
            (key(2, 0), true, Some(key(2, 0))),
            (key(1, 0), true, Some(key(1, 80))),
            (key(1, 0), false, None),
            (key(4, 80), true, None),
        ] {
            assert_eq!(servers.of_entry(entry, is_template), expected, "{entry} {is_template}");
        }
        assert_eq!((servers.weight(key(3, 80)), servers.weight(key(3, 81))), (Some(1), None));
    }
}
