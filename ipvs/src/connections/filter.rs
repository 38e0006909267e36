//! Selection and sums of connection entries.

use std::collections::{BTreeMap, btree_map};
use std::io;
use std::iter::Map;

use ipnet::IpNet;
use ipvs_sys::wire::Name;

use super::ConnectionEntry;
use crate::family::Protocol;
use crate::key::{DestinationKey, ServiceKey};

/// A selection of connection entries. Fields that are empty or `None` select every entry.
///
/// Each method adds an alternative. An entry is selected if one alternative of each field selects it.
///
/// ```
/// use ipvs::{ConnectionFilter, ServiceKey};
///
/// let web = ServiceKey::tcp([192, 0, 2, 1], 80);
/// let filter = ConnectionFilter::default().service(web).state("SYN_RECV").state("SYN_SENT");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ConnectionFilter {
    /// Entries of these protocols. Templates of services by mark have no protocol.
    pub protocols: Vec<Protocol>,
    /// Entries in these states, as the kernel writes them: `ESTABLISHED`.
    pub states: Vec<Name>,
    /// Entries whose client is in one of these networks.
    pub clients: Vec<IpNet>,
    /// Entries with one of these keys as [`ConnectionEntry::service_key`].
    pub services: Vec<ServiceKey>,
    /// Entries of these real servers.
    pub destinations: Vec<DestinationKey>,
    /// True: only persistence templates. False: only connections.
    pub templates: Option<bool>,
}

impl ConnectionFilter {
    /// Selects entries of a protocol.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocols.push(protocol);
        self
    }

    /// Selects entries in a state, such as `ESTABLISHED`. A text that is too long for a state selects no entry.
    pub fn state(mut self, state: impl AsRef<[u8]>) -> Self {
        // No state is empty.
        self.states.push(Name::new(state.as_ref()).unwrap_or_default());
        self
    }

    /// Selects entries whose client is in a network.
    pub fn client(mut self, network: impl Into<IpNet>) -> Self {
        self.clients.push(network.into());
        self
    }

    /// Selects entries of a service. See [`ConnectionEntry::service_key`] for those of services by mark or with port 0.
    pub fn service(mut self, service: ServiceKey) -> Self {
        self.services.push(service);
        self
    }

    /// Selects entries of a real server.
    pub fn destination(mut self, destination: impl Into<DestinationKey>) -> Self {
        self.destinations.push(destination.into());
        self
    }

    /// Selects only persistence templates (true), or only connections (false).
    pub fn templates(self, templates: bool) -> Self {
        Self { templates: Some(templates), ..self }
    }

    /// Returns whether the entry is selected.
    pub fn selects(&self, entry: &ConnectionEntry) -> bool {
        let Self { protocols, states, clients, services, destinations, templates } = self;
        any(protocols, |protocol| entry.protocol() == Some(*protocol))
            && any(states, |state| entry.state == *state)
            && any(clients, |network| network.contains(&entry.client.ip()))
            && any(services, |service| entry.service_key() == Some(*service))
            && any(destinations, |destination| DestinationKey::from(entry.destination) == *destination)
            && templates.is_none_or(|templates| entry.is_template() == templates)
    }
}

/// Returns whether one of the alternatives selects an entry, or there is none.
fn any<T>(alternatives: &[T], selects: impl Fn(&T) -> bool) -> bool {
    alternatives.is_empty() || alternatives.iter().any(selects)
}

/// The number of connection entries for each real server and state. It takes memory for these, not for the entries.
///
/// [`ConnectionCounts`](crate::ConnectionCounts) counts by client, service or anything else, and limits its memory.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ipvs::Client::open()?;
/// let sums = client.connections()?.collect::<Result<ipvs::ConnectionSums, _>>()?;
/// for (server, state, count) in &sums {
///     println!("{server} {state} {count}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionSums {
    counts: BTreeMap<(DestinationKey, Name), u64>,
}

impl ConnectionSums {
    /// Counts an entry.
    pub fn add(&mut self, entry: &ConnectionEntry) {
        *self.counts.entry((entry.destination.into(), entry.state)).or_default() += 1;
    }

    /// Returns the number of entries of each server and state, sorted by server. No number is 0.
    pub fn iter(&self) -> impl Iterator<Item = (DestinationKey, Name, u64)> {
        self.into_iter()
    }

    /// Returns the number of entries of a server, in all states.
    pub fn of(&self, destination: &DestinationKey) -> u64 {
        self.iter().filter(|(key, ..)| key == destination).map(|(.., count)| count).sum()
    }

    /// Returns the number of all entries.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

type Row = (DestinationKey, Name, u64);
type Count<'a> = (&'a (DestinationKey, Name), &'a u64);

/// Iterates as [`iter`](ConnectionSums::iter) does.
impl<'a> IntoIterator for &'a ConnectionSums {
    type Item = Row;
    type IntoIter = Map<btree_map::Iter<'a, (DestinationKey, Name), u64>, fn(Count<'a>) -> Row>;

    fn into_iter(self) -> Self::IntoIter {
        self.counts.iter().map(|((destination, state), count)| (*destination, *state, *count))
    }
}

/// Counts entries.
impl FromIterator<ConnectionEntry> for ConnectionSums {
    fn from_iter<I: IntoIterator<Item = ConnectionEntry>>(entries: I) -> Self {
        let mut sums = Self::default();
        entries.into_iter().for_each(|entry| sums.add(&entry));
        sums
    }
}

/// Returns the selected entries, and all errors.
pub(super) fn select<E: Iterator<Item = io::Result<ConnectionEntry>>>(
    entries: E,
    filter: ConnectionFilter,
) -> impl Iterator<Item = io::Result<ConnectionEntry>> {
    entries.filter(move |entry| entry.as_ref().map_or(true, |entry| filter.selects(entry)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::{Connections, Protocol};

    const TABLE: &[u8] = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
        TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n\
        TCP 0A090002 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n\
        TCP 0A090003 9C41 0A000001 0050 0A010002 1F90 SYN_RECV         59\n\
        UDP 0A080001 9C41 0A000001 0035 0A010001 1F90 UDP             299\n\
        TCP 0A090001 0000 0A000001 0050 0A010001 1F90 NONE            359\n\
        IP  0A090001 0000 00000007 0000 0A010001 0000 NONE            359\n";

    fn count(filter: ConnectionFilter) -> usize {
        Connections::new(TABLE).expect("a title").matching(filter).filter(Result::is_ok).count()
    }

    #[test]
    fn entries_are_selected_by_each_field() {
        let all = ConnectionFilter::default;
        assert_eq!(count(all()), 6);
        assert_eq!(count(all().protocol(Protocol::Tcp)), 4);
        assert_eq!(count(all().state("ESTABLISHED")), 2);
        assert_eq!((count(all().state("")), count(all().state("A_STATE_LONGER_THAN_ANY_NAME"))), (0, 0));
        assert_eq!(count(all().client("10.9.0.0/16".parse::<IpNet>().expect("a network"))), 5);
        assert_eq!(count(all().service(ServiceKey::udp([10, 0, 0, 1], 53))), 1);
        assert_eq!(count(all().service(ServiceKey::fwmark(7, Family::V4).expect("not 0"))), 1);
        assert_eq!(count(all().destination(([10, 1, 0, 2], 8080))), 1);
        assert_eq!((count(all().templates(true)), count(all().templates(false))), (2, 4));
        assert_eq!(count(all().protocol(Protocol::Tcp).templates(true)), 1);
    }

    #[test]
    fn alternatives_of_one_field_select_more() {
        let all = ConnectionFilter::default;
        assert_eq!(count(all().state("ESTABLISHED").state("SYN_RECV")), 3);
        assert_eq!(count(all().protocol(Protocol::Tcp).protocol(Protocol::Udp)), 5);
        let networks = ["10.9.0.2/32", "10.8.0.0/16"].map(|text| text.parse::<IpNet>().expect("a network"));
        assert_eq!(count(all().client(networks[0]).client(networks[1])), 2);
        assert_eq!(count(all().state("ESTABLISHED").state("SYN_RECV").destination(([10, 1, 0, 2], 8080))), 1);
        let (web, dns) = (ServiceKey::tcp([10, 0, 0, 1], 80), ServiceKey::udp([10, 0, 0, 1], 53));
        assert_eq!(count(all().service(web).service(dns).templates(false)), 4);
    }

    #[test]
    fn malformed_lines_are_not_hidden() {
        let table = [TABLE, b"nonsense\n"].concat();
        let selected = Connections::new(&table[..]).expect("a title").matching(ConnectionFilter::default().state("NO"));
        assert_eq!(selected.filter(Result::is_err).count(), 1);
    }

    #[test]
    fn sums_are_by_server_and_state() {
        let sums: ConnectionSums = Connections::new(TABLE).expect("a title").map_while(Result::ok).collect();
        let one = DestinationKey::from(([10, 1, 0, 1], 8080));
        assert_eq!((sums.total(), sums.of(&one)), (6, 4));
        let rows: Vec<String> = sums.iter().map(|(server, state, count)| format!("{server} {state} {count}")).collect();
        assert_eq!(
            rows,
            [
                "10.1.0.1:0 NONE 1",
                "10.1.0.1:8080 ESTABLISHED 2",
                "10.1.0.1:8080 NONE 1",
                "10.1.0.1:8080 UDP 1",
                "10.1.0.2:8080 SYN_RECV 1"
            ]
        );
        assert!((&sums).into_iter().eq(sums.iter()));
    }
}
