//! The selection of entries by service and server, and the reading of the table.

use std::fs::File;
use std::net::IpAddr;

use anyhow::Context as _;
use ipvs::{
    Client, ConnectionEntry, ConnectionFilter, Connections, DestinationKey, IpNet, Selector, ServiceIndex, ServiceKey,
    ServiceMatch,
};

use crate::plan::entries::Entries;
use crate::sight::reading;
use crate::sight::server_name::ServerName;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::text;

/// Reads ADDRESS or ADDRESS/LENGTH.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "expected ADDRESS or ADDRESS/LENGTH".into())
}

/// The selected entries. Without selectors and servers, all services and servers are selected.
pub(super) struct Filter {
    pub(super) entries: ConnectionFilter,
    pub(super) servers: Vec<ServerName>,
    pub(super) services: Vec<Selector>,
}

impl Filter {
    /// Returns whether the server is selected.
    fn selects_server(&self, entry: &ConnectionEntry) -> bool {
        let server = DestinationKey::from(entry.destination);
        self.servers.is_empty() || self.servers.iter().any(|name| name.is(&server))
    }

    /// Returns whether the service is selected, and whether another service may have the entry instead.
    fn selects_service(&self, entry: &ConnectionEntry, found: ServiceMatch<'_>) -> (bool, bool) {
        let is_selected = |key: &ServiceKey| self.services.iter().any(|selector| selector.selects(key));
        if self.services.is_empty() || entry.service_key().is_some_and(|key| is_selected(&key)) {
            return (true, false);
        }
        let candidates = found.candidates();
        let selected = candidates.iter().filter(|key| is_selected(key)).count();
        (selected > 0, selected > 0 && selected < candidates.len())
    }

    /// Prints a note for each service and server that the table does not have. Intended for a result without entries,
    /// which can be due to a typing error.
    pub(super) fn print_note(&self, director: &mut Client) -> anyhow::Result<()> {
        if self.services.is_empty() && self.servers.is_empty() {
            return Ok(());
        }
        let services = reading::read(director)?.services;
        for selector in &self.services {
            if !services.iter().any(|state| selector.selects(&state.service.key)) {
                print_error(&format!("note: the table has no service {selector}"));
            }
        }
        for name in &self.servers {
            let mut servers = services.iter().flat_map(|state| &state.destinations);
            if !servers.any(|state| name.is(&state.destination.key)) {
                print_error(&format!("note: the table has no server {}", text::escaped(&name.text)));
            }
        }
        Ok(())
    }
}

/// A reading of the connection table.
pub(super) struct Reading<'f> {
    entries: Entries<Connections<File>>,
    filter: &'f Filter,
    index: Option<ServiceIndex>,
    /// The number of selected entries that may belong to a service that is not selected.
    ambiguous: u64,
}

impl<'f> Reading<'f> {
    /// Starts a reading. The index is needed if services are selected.
    pub(super) fn new(entries: Connections<File>, filter: &'f Filter, index: Option<ServiceIndex>) -> Self {
        Self { entries: Entries::new(entries), filter, index, ambiguous: 0 }
    }

    /// Returns the next selected entry.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<ConnectionEntry>> {
        while let Some(entry) = self.entries.next() {
            let entry = entry.context("cannot read the connection table")?;
            if self.selects(&entry) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Passes each selected entry to a function, with its service. The service is unknown if there is no index.
    pub(super) fn each(&mut self, mut act: impl FnMut(&ConnectionEntry, ServiceMatch<'_>)) -> anyhow::Result<()> {
        while let Some(entry) = self.next()? {
            act(&entry, find(self.index.as_ref(), &entry));
        }
        Ok(())
    }

    fn selects(&mut self, entry: &ConnectionEntry) -> bool {
        let Self { filter, index, ambiguous, .. } = self;
        if !filter.entries.selects(entry) || !filter.selects_server(entry) {
            return false;
        }
        if filter.services.is_empty() {
            return true;
        }
        let (is_selected, is_ambiguous) = filter.selects_service(entry, find(index.as_ref(), entry));
        *ambiguous += u64::from(is_ambiguous);
        is_selected
    }

    /// Prints a warning if lines of the table were skipped, and a note if entries may belong to services that are not
    /// selected.
    pub(super) fn print_notes(&self) {
        self.entries.print_warning();
        if self.ambiguous > 0 {
            print_error(&format!(
                "note: {} may belong to another firewall mark with the same server",
                count(self.ambiguous, "of these connection")
            ));
        }
    }
}

fn find<'i>(index: Option<&'i ServiceIndex>, entry: &ConnectionEntry) -> ServiceMatch<'i> {
    index.map_or(ServiceMatch::Unknown, |index| index.find(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_or_prefixes() {
        let read = |text: &str| network(text).map(|network| network.to_string());
        assert_eq!(read("203.0.113.0/24").as_deref(), Ok("203.0.113.0/24"));
        assert_eq!(read("203.0.113.7").as_deref(), Ok("203.0.113.7/32"));
        assert_eq!(read("2001:db8::/32").as_deref(), Ok("2001:db8::/32"));
        for text in ["", "203.0.113.0/33", "203.0.113", "web"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
