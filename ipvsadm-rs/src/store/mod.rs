//! Stores of documents: files, web servers, etcd and Consul. Nothing here knows tables. A store has named documents, and
//! tells when they change.
//!
//! Everything that a server returns is untrusted. Bytes, counts and times are limited, and names are escaped in messages.

mod arguments;
mod backoff;
mod client;
mod consul;
mod credentials;
mod endpoints;
mod etcd;
mod file;
mod http;
mod location;
mod snapshot;
#[cfg(test)]
mod testing;
mod url;
mod watch;

use std::time::Duration;

pub(crate) use arguments::{StoreArguments, interval};
pub(crate) use backoff::Backoff;
pub(crate) use location::Location;
pub(crate) use snapshot::{Snapshot, StoredDocument};

use crate::file::limit::Limit;
use client::Client;
use credentials::Credentials;

/// Documents that can be read, written and waited for.
pub(crate) trait Store: Send {
    /// Returns the documents at the first call, and later when they have changed. `None`: nothing has changed in the
    /// time of this call, which is about 30 seconds at most. After an error, the caller waits for a [`Backoff`].
    fn next(&mut self) -> anyhow::Result<Option<Snapshot>>;

    /// Reads the documents now. Does not affect [`next`](Self::next).
    fn read(&mut self) -> anyhow::Result<Snapshot>;

    /// Writes the document `name` below the location: a key below the key, a file in the directory. For a web server,
    /// the name is appended if the location ends with a slash.
    fn write(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()>;
}

/// Opens a store. No server is contacted yet. Documents that are longer than `limit` together are refused.
pub(crate) fn open(location: &Location, arguments: &StoreArguments, limit: Limit) -> anyhow::Result<Box<dyn Store>> {
    open_with(location, arguments, limit, Times::default())
}

fn open_with(
    location: &Location,
    arguments: &StoreArguments,
    limit: Limit,
    times: Times,
) -> anyhow::Result<Box<dyn Store>> {
    let client = || Credentials::load(arguments, limit).map(|credentials| Client::new(credentials, limit, times));
    let is_encrypted = location.is_encrypted(arguments);
    Ok(match location {
        Location::File(path) => Box::new(file::Files::new(path.clone(), limit, times)),
        Location::Http(url) => {
            anyhow::ensure!(
                is_encrypted || !arguments.has_certificates(),
                "cannot use certificates with {location}: http:// is not encrypted\nUse https:// instead."
            );
            Box::new(http::Page::new(url.clone(), client()?, arguments.interval))
        }
        Location::Etcd(place) => Box::new(etcd::Etcd::new(place, is_encrypted, client()?)),
        Location::Consul(place) => Box::new(consul::Consul::new(place, is_encrypted, client()?)),
    })
}

/// The time limits. Tests use shorter ones.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// For the connection to a server, with TLS.
    connect: Duration,
    /// For a whole request that a server answers at once.
    request: Duration,
    /// For a change, in one call of [`Store::next`].
    wait: Duration,
    /// The shortest time between two requests of the same kind, if a server wakes up its clients without reason.
    pause: Duration,
    /// Between two looks at a file. File systems of other machines, and mounts, cause no events.
    look: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request: Duration::from_secs(10),
            wait: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            look: Duration::from_secs(5),
        }
    }
}
