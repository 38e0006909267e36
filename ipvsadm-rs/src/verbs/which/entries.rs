//! The entries of the connection table that belong to the clients.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use anyhow::Context as _;
use ipvs::{Client, ConnectionEntry, DestinationKey, Service, ServiceIndex, ServiceKey, TemplateKey};

use super::clients::Wanted;
use crate::plan::entries::Entries;
use crate::sight::reading;

/// A connection or a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) server: DestinationKey,
    pub(super) state: String,
    /// The time until the kernel deletes the entry if no packet arrives, in seconds.
    pub(super) expires: u32,
}

impl Entry {
    fn of(entry: &ConnectionEntry) -> Self {
        Self { server: entry.destination.into(), state: entry.state.to_string(), expires: entry.expires }
    }
}

/// The entries of one client.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    /// The first connection from the port of the client.
    pub(super) connection: Option<Entry>,
    /// The number of connections of the client to each server. With a port, only connections from this port are counted.
    pub(super) connections: BTreeMap<DestinationKey, u64>,
    pub(super) template: Option<Entry>,
}

/// Reads the connection table once, and returns the entries of each client. Only these are kept in memory.
pub(super) fn find(
    director: &mut Client,
    service: &Service,
    clients: &[Wanted],
    to: Option<(IpAddr, Option<u16>)>,
) -> anyhow::Result<Vec<Held>> {
    // Fails if permission or IPVS is missing. Reading the file would report neither.
    director.info()?;
    // A connection to the address and port of a service is found before the service, so its service need not be known.
    let index = match service.key {
        ServiceKey::Address { port, .. } if port != 0 => None,
        _ => Some(reading::service_index(director)?),
    };
    let entries = director.connections().context("cannot read the connection table")?;
    let mut entries = Entries::new(entries);
    let mut search = Search::new(service, clients, to, index);
    for entry in entries.by_ref() {
        search.add(&entry.context("cannot read the connection table")?);
    }
    entries.print_warning();
    Ok(search.found)
}

/// The clients whose entries are searched.
struct Search {
    service: ServiceKey,
    to: Option<(IpAddr, Option<u16>)>,
    index: Option<ServiceIndex>,
    /// The places of the clients in `found`. There can be a client for each port of an address, so each lookup must take
    /// constant time.
    by_client: HashMap<Wanted, usize>,
    by_template: HashMap<TemplateKey, Vec<usize>>,
    found: Vec<Held>,
}

impl Search {
    fn new(
        service: &Service,
        clients: &[Wanted],
        to: Option<(IpAddr, Option<u16>)>,
        index: Option<ServiceIndex>,
    ) -> Self {
        let mut by_client = HashMap::new();
        let mut by_template: HashMap<TemplateKey, Vec<usize>> = HashMap::new();
        for (place, client) in clients.iter().enumerate() {
            by_client.insert(*client, place);
            if let Some(key) = TemplateKey::new(service, client.address) {
                by_template.entry(key).or_default().push(place);
            }
        }
        Self { service: service.key, to, index, by_client, by_template, found: vec![Held::default(); clients.len()] }
    }

    fn add(&mut self, entry: &ConnectionEntry) {
        if entry.is_template() {
            if self.by_template.is_empty() {
                return;
            }
            let Some(places) = TemplateKey::of(entry).and_then(|key| self.by_template.get(&key)) else { return };
            for place in places {
                self.found[*place].template.get_or_insert_with(|| Entry::of(entry));
            }
            return;
        }
        let (address, port) = (entry.client.ip(), entry.client.port());
        let place = |port| self.by_client.get(&Wanted { address, port }).copied();
        let (with_port, without) = (place(Some(port)), place(None));
        if with_port.or(without).is_none() || !self.is_of_service(entry) {
            return;
        }
        for place in with_port.into_iter().chain(without) {
            *self.found[place].connections.entry(entry.destination.into()).or_default() += 1;
        }
        if let Some(place) = with_port {
            self.found[place].connection.get_or_insert_with(|| Entry::of(entry));
        }
    }

    fn is_of_service(&self, entry: &ConnectionEntry) -> bool {
        let is_wanted = |(address, port): (IpAddr, Option<u16>)| {
            entry.service.ip() == address && port.is_none_or(|port| port == entry.service.port())
        };
        if !self.to.is_none_or(is_wanted) {
            return false;
        }
        match &self.index {
            None => entry.service_key() == Some(self.service),
            Some(index) => index.find(entry).candidates().contains(&self.service),
        }
    }
}

#[cfg(test)]
mod tests {
    use ipvs::{Connections, Scheduler};

    use super::*;

    #[test]
    fn entries_of_clients_are_found() {
        let table = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
            TCP 0A090001 9C41 0A000001 0050 0A010001 1F90 ESTABLISHED     899\n\
            TCP 0A090001 9C42 0A000001 0050 0A010002 1F90 SYN_RECV         59\n\
            TCP 0A090001 9C41 0A000001 0051 0A010003 1F90 ESTABLISHED     899\n\
            UDP 0A090001 9C41 0A000001 0050 0A010003 1F90 UDP             299\n\
            TCP 0A090001 0000 0A000001 0050 0A010001 1F90 ASSURED         120\n\
            TCP 0A090002 9C41 0A000001 0050 0A010002 1F90 ESTABLISHED     899\n";
        let service =
            Service { persistence: Some(120), ..Service::new(ServiceKey::tcp([10, 0, 0, 1], 80), Scheduler::SH) };
        let client = |last, port| Wanted { address: [10, 9, 0, last].into(), port };
        let clients = [client(1, Some(40001)), client(1, None), client(2, Some(1)), client(3, None)];
        let mut search = Search::new(&service, &clients, None, None);
        for entry in Connections::new(&table[..]).expect("a title") {
            search.add(&entry.expect("an entry"));
        }
        let [one, all, other_port, none] = &search.found[..] else { panic!("four") };
        let connection = one.connection.as_ref().expect("a connection");
        assert_eq!((connection.server.to_string(), &*connection.state), ("10.1.0.1:8080".into(), "ESTABLISHED"));
        assert_eq!(one.template.as_ref().map(|entry| (&*entry.state, entry.expires)), Some(("ASSURED", 120)));
        assert_eq!((all.connections.len(), &all.connection, &all.template), (2, &None, &one.template));
        assert_eq!((other_port, none), (&Held::default(), &Held::default()));
    }

    /// With a search through all clients of an address for each connection, this takes half a minute.
    #[test]
    fn all_ports_of_an_address_take_little_time() {
        let service = Service::new(ServiceKey::tcp([10, 0, 0, 1], 80), Scheduler::SH);
        let clients: Vec<Wanted> =
            (1..=u16::MAX).map(|port| Wanted { address: [10, 9, 0, 1].into(), port: Some(port) }).collect();
        let line = |port| format!("TCP 0A090001 {port:04X} 0A000001 0050 0A010001 1F90 ESTABLISHED 899\n");
        let table = format!("Pro \n{}", (1..=u16::MAX).map(line).collect::<String>());
        let start = std::time::Instant::now();
        let mut search = Search::new(&service, &clients, None, None);
        for entry in Connections::new(table.as_bytes()).expect("a title") {
            search.add(&entry.expect("an entry"));
        }
        let time = start.elapsed();
        assert!(search.found.iter().all(|held| held.connection.is_some() && held.connections.len() == 1));
        assert!(time < std::time::Duration::from_secs(3), "{time:?}");
    }
}
