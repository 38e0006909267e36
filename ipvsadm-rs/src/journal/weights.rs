//! The weights of drained servers, until `undrain` restores them.

use std::io;

use anyhow::Context as _;
use ipvs::{DestinationKey, ServiceKey};
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Origin};
use super::{Folder, Journal};

/// The file with the weights.
const WEIGHTS: &str = "weights";

/// The changes of `drain`, so that `undrain` reverts them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The table that the weights belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<Identity>,
    weights: Vec<Weight>,
    /// The services that got the fallback flag.
    fallback: Vec<ServiceKey>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Weight {
    service: ServiceKey,
    server: DestinationKey,
    weight: u32,
}

impl Remembered {
    /// Returns the weight of a server.
    pub(crate) fn weight(&self, service: &ServiceKey, server: &DestinationKey) -> Option<u32> {
        let found = self.weights.iter().find(|weight| (weight.service, weight.server) == (*service, *server));
        found.map(|weight| weight.weight)
    }

    /// Returns the servers of a service whose weights are remembered, with these weights.
    pub(crate) fn of_service(&self, service: ServiceKey) -> impl Iterator<Item = (DestinationKey, u32)> {
        let of_service = self.weights.iter().filter(move |weight| weight.service == service);
        of_service.map(|weight| (weight.server, weight.weight))
    }

    /// Remembers the weight of a server, in place of an earlier one.
    pub(crate) fn insert(&mut self, service: ServiceKey, server: DestinationKey, weight: u32) {
        self.remove(&service, &server);
        self.weights.push(Weight { service, server, weight });
    }

    /// Forgets the weight of a server.
    pub(crate) fn remove(&mut self, service: &ServiceKey, server: &DestinationKey) {
        self.weights.retain(|weight| (weight.service, weight.server) != (*service, *server));
    }

    /// Remembers that a service got the fallback flag.
    pub(crate) fn insert_fallback(&mut self, service: ServiceKey) {
        if !self.fallback.contains(&service) {
            self.fallback.push(service);
        }
    }

    /// Returns whether a service got the fallback flag.
    pub(crate) fn has_fallback(&self, service: &ServiceKey) -> bool {
        self.fallback.contains(service)
    }

    /// Forgets that a service got the fallback flag, unless another of its servers is still drained. Returns whether the
    /// flag is to be cleared.
    pub(crate) fn take_fallback(&mut self, service: &ServiceKey) -> bool {
        let is_drained = self.weights.iter().any(|weight| weight.service == *service);
        let had = self.fallback.contains(service);
        if !is_drained {
            self.fallback.retain(|other| other != service);
        }
        had && !is_drained
    }
}

impl Folder {
    /// Reads the weights of drained servers. Those of another table are ignored.
    pub(crate) fn remembered(&self) -> anyhow::Result<Remembered> {
        let Ok(directory) = self.directory() else { return Ok(Remembered::default()) };
        let read = match directory.read(WEIGHTS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Remembered::default()),
            read => read.with_context(|| format!("cannot read {self}/{WEIGHTS}"))?,
        };
        let read: Remembered =
            serde_json::from_slice(&read).with_context(|| format!("cannot read {self}/{WEIGHTS}"))?;
        let is_of_this_table = self.identity().origin(read.table.as_ref()) == Origin::ThisTable;
        Ok(if is_of_this_table { read } else { Remembered::default() })
    }
}

impl Journal {
    /// Writes the weights of drained servers.
    pub(crate) fn remember(&self, remembered: Remembered) -> anyhow::Result<()> {
        let remembered = Remembered { table: Some(self.identity().clone()), ..remembered };
        let bytes = serde_json::to_vec(&remembered)?;
        let written = self.directory()?.replace(WEIGHTS, &bytes, None);
        written.with_context(|| format!("cannot write {self}/{WEIGHTS}", self = **self))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::file::testing::Place;

    #[test]
    fn weights_are_kept_until_they_are_removed() {
        let place = Place::new("weights");
        let journal = Journal::open(Folder::of(place.path(), None).unwrap(), Duration::ZERO).unwrap();
        assert_eq!(journal.remembered().unwrap(), Remembered::default());
        let (web, dns) = (ServiceKey::tcp([192, 0, 2, 1], 80), ServiceKey::udp([192, 0, 2, 1], 53));
        let server = |last| DestinationKey::from(([10, 0, 0, last], 80));
        let mut remembered = Remembered::default();
        for (service, last, weight) in [(web, 1, 3), (web, 2, 4), (dns, 1, 5), (web, 1, 6)] {
            remembered.insert(service, server(last), weight);
        }
        remembered.insert_fallback(web);
        journal.remember(remembered).unwrap();
        let mut read = journal.remembered().unwrap();
        let weight = |read: &Remembered, service, last| read.weight(&service, &server(last));
        assert_eq!((weight(&read, web, 1), weight(&read, dns, 1), weight(&read, dns, 2)), (Some(6), Some(5), None));
        assert_eq!(read.of_service(web).collect::<Vec<_>>(), [(server(2), 4), (server(1), 6)]);
        read.remove(&web, &server(1));
        assert!(!read.take_fallback(&web) && !read.take_fallback(&dns), "another server is drained");
        read.remove(&web, &server(2));
        assert!(read.take_fallback(&web) && !read.take_fallback(&web));
        assert_eq!(weight(&read, dns, 1), Some(5));
    }
}
