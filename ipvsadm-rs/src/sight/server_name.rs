//! Servers that a person names.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};
use ipvs::DestinationKey;

use crate::hints;
use crate::resolver::System;
use crate::terminal::text;

/// A server that a person named: all its addresses, and the port if there is one.
pub(crate) struct ServerName {
    pub(crate) text: String,
    addresses: BTreeSet<IpAddr>,
    port: Option<u16>,
}

impl ServerName {
    /// Reads servers that are separated by commas: ADDRESS, ADDRESS:PORT, \[ADDRESS\]:PORT, NAME or NAME:PORT. Names are
    /// looked up, so the table must not be locked.
    pub(crate) fn read_all(texts: &[String]) -> anyhow::Result<Vec<Self>> {
        let mut names = System::default();
        texts.iter().flat_map(|text| text.split(',')).map(|text| Self::read(text, &mut names)).collect()
    }

    fn read(text: &str, names: &mut System) -> anyhow::Result<Self> {
        let named = |addresses: BTreeSet<IpAddr>, port| Self { text: text.to_owned(), addresses, port };
        if let Some((address, port)) = address_and_port(text) {
            return Ok(named([address].into(), port));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => {
                let port = port.parse().ok().with_context(|| invalid(text))?;
                (name, Some(port))
            }
            None => (text, None),
        };
        if name.is_empty() || name.contains(':') {
            bail!(invalid(text));
        }
        match names.all_addresses(name) {
            Ok(addresses) => Ok(named(addresses, port)),
            Err(error) => {
                let message = format!("server {}: {error}", text::escaped(name));
                Err(hints::with_hint(&message, hints::for_host(error).map(str::to_owned)))
            }
        }
    }

    pub(crate) fn is(&self, server: &DestinationKey) -> bool {
        self.addresses.contains(&server.address) && self.port.is_none_or(|port| server.port == port)
    }
}

/// Reads ADDRESS, \[ADDRESS\], ADDRESS:PORT or \[ADDRESS\]:PORT. Returns `None` for every other text.
pub(crate) fn address_and_port(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let alone = text.trim_start_matches('[').trim_end_matches(']').parse().ok().map(|address| (address, None));
    alone.or_else(|| text.parse().ok().map(|server: SocketAddr| (server.ip(), Some(server.port()))))
}

fn invalid(text: &str) -> String {
    format!("invalid server `{}': expected HOST or HOST:PORT", text::escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let read = |text: &str| {
            let named = ServerName::read(text, &mut System::default()).expect(text);
            (named.addresses.into_iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" "), named.port)
        };
        assert_eq!(read("10.0.0.1"), ("10.0.0.1".into(), None));
        assert_eq!(read("10.0.0.1:80"), ("10.0.0.1".into(), Some(80)));
        assert_eq!(read("2001:db8::1"), ("2001:db8::1".into(), None));
        assert_eq!(read("[2001:db8::1]"), ("2001:db8::1".into(), None));
        assert_eq!(read("[2001:db8::1]:80"), ("2001:db8::1".into(), Some(80)));
        for text in ["", ":80", "web:x", "10.0.0.1:99999", "a:b:80"] {
            assert!(ServerName::read(text, &mut System::default()).is_err(), "{text}");
        }
    }
}
