//! `--by`: the groups of entries.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::bail;
use ipvs::{ConnectionEntry, DestinationKey, IpNet, Name, Selector, ServiceKey, ServiceMatch};

use super::Key;

/// A value that entries are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    State,
    Server,
    Service,
    /// The networks of clients, with the number of their bits.
    Client {
        v4: u8,
        v6: u8,
    },
}

impl Part {
    /// Returns whether rows are sorted by this value.
    pub(super) fn is(self, key: Key) -> bool {
        self.key() == key
    }

    /// Returns the key that sorts rows by this value.
    fn key(self) -> Key {
        match self {
            Self::State => Key::State,
            Self::Server => Key::Server,
            Self::Service => Key::Service,
            Self::Client { .. } => Key::Client,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Server => "server",
            Self::Service => "service",
            Self::Client { .. } => "client",
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// The length of the networks that sites usually have.
        const SITE: u8 = 64;
        let client = |lengths: &str| {
            let (v4, v6) = lengths.split_once('/').unwrap_or((lengths, ""));
            let v6 = if v6.is_empty() && !lengths.contains('/') { Some(SITE) } else { v6.parse().ok() };
            let (v4, v6) = (v4.parse().ok()?, v6?);
            (v4 <= 32 && v6 <= 128).then_some(Self::Client { v4, v6 })
        };
        let found = match text {
            "state" => Some(Self::State),
            "server" => Some(Self::Server),
            "service" => Some(Self::Service),
            "client" => Some(Self::Client { v4: 32, v6: 128 }),
            _ => text.strip_prefix("client/").and_then(client),
        };
        found.ok_or_else(|| "expected state, server, service, client, client/24 or client/24/64".into())
    }
}

/// Fails if a value occurs twice.
pub(super) fn ensure_unique(parts: &[Part]) -> anyhow::Result<()> {
    for (index, part) in parts.iter().enumerate() {
        if parts[..index].iter().any(|other| other.key() == part.key()) {
            bail!("--by has {} twice", part.name());
        }
    }
    Ok(())
}

/// The service of an entry, or the address of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Service {
    /// A service of the table.
    InTable(ServiceKey),
    /// One of several services by mark.
    Ambiguous(ServiceKey),
    /// The table has no such service.
    NotInTable(ServiceKey),
    /// Packets of a protocol that cannot have a service.
    Other(Name, SocketAddr),
}

impl Service {
    /// Returns the service of an entry.
    pub(super) fn of(entry: &ConnectionEntry, found: ServiceMatch<'_>) -> Self {
        match (found, entry.service_key()) {
            (_, None) => Self::Other(entry.protocol, entry.service),
            (ServiceMatch::Marks([_, _, ..]), Some(key)) => Self::Ambiguous(key),
            (found, Some(key)) => found.one().map_or(Self::NotInTable(key), Self::InTable),
        }
    }

    /// Returns the relation to the table, as in JSON.
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self::InTable(_) => "in_table",
            Self::Ambiguous(_) => "ambiguous",
            Self::NotInTable(_) | Self::Other(..) => "not_in_table",
        }
    }

    /// Returns the service as in JSON, which is a selector.
    pub(super) fn selector(&self) -> String {
        match self {
            Self::InTable(key) | Self::Ambiguous(key) | Self::NotInTable(key) => Selector::from(*key).to_string(),
            Self::Other(protocol, address) => format!("{}:{address}", protocol.to_string().to_ascii_lowercase()),
        }
    }

    /// Returns the service as in tables.
    pub(super) fn text(&self) -> String {
        match self {
            Self::InTable(key) => key.to_string(),
            Self::Ambiguous(key) => format!("{key} (one of several marks)"),
            Self::NotInTable(key) => format!("{key} (no service)"),
            Self::Other(protocol, address) => format!("{protocol} {address}"),
        }
    }
}

/// A group of entries: the values that they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    pub(super) service: Option<Service>,
    pub(super) server: Option<DestinationKey>,
    pub(super) client: Option<IpNet>,
    pub(super) state: Option<Name>,
}

impl Group {
    /// Returns the group of an entry.
    pub(super) fn of(entry: &ConnectionEntry, found: ServiceMatch<'_>, parts: &[Part]) -> Self {
        let mut group = Self::default();
        for part in parts {
            match *part {
                Part::State => group.state = Some(entry.state),
                Part::Server => group.server = Some(entry.destination.into()),
                Part::Service => group.service = Some(Service::of(entry, found)),
                Part::Client { v4, v6 } => group.client = Some(entry.client_network(v4, v6)),
            }
        }
        group
    }

    /// Returns one of the values, as in tables.
    pub(super) fn text(&self, part: Part) -> String {
        let Self { service, server, client, state } = self;
        match part {
            Part::State => state.map_or_else(String::new, |state| state.to_string()),
            Part::Server => server.map_or_else(String::new, |server| server.to_string()),
            Part::Service => service.map_or_else(String::new, |service| service.text()),
            Part::Client { .. } => client.map_or_else(String::new, |client| network(&client)),
        }
    }
}

/// Returns an address, or a network with its length.
fn network(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read() {
        let read = |text: &str| text.parse::<Part>().ok();
        assert_eq!(read("state"), Some(Part::State));
        assert_eq!(read("client"), Some(Part::Client { v4: 32, v6: 128 }));
        assert_eq!(read("client/24"), Some(Part::Client { v4: 24, v6: 64 }));
        assert_eq!(read("client/24/56"), Some(Part::Client { v4: 24, v6: 56 }));
        assert_eq!(read("client/0/0"), Some(Part::Client { v4: 0, v6: 0 }));
        for text in ["", "client/", "client/33", "client/24/", "client/24/129", "client/24/64/1", "server/24", "x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn groups_are_unique() {
        let client = |v4| Part::Client { v4, v6: 64 };
        assert!(ensure_unique(&[Part::State, Part::Server, Part::Service, client(24)]).is_ok());
        let error = ensure_unique(&[client(24), Part::State, client(16)]).expect_err("twice").to_string();
        assert_eq!(error, "--by has client twice");
    }
}
