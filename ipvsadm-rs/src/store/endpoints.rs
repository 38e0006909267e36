//! Several servers of one store. The one that works is used until it fails.

use std::fmt::Write as _;

use anyhow::anyhow;

use crate::store::client::Client;
use crate::store::location::Place;

/// The servers of a store.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// `http://host:port`
    urls: Vec<String>,
    /// The index of the server to use next.
    current: usize,
}

impl Endpoints {
    pub(super) fn new(place: &Place, is_encrypted: bool) -> Self {
        let scheme = if is_encrypted { "https" } else { "http" };
        Self { urls: place.endpoints.iter().map(|host| format!("{scheme}://{host}")).collect(), current: 0 }
    }

    /// Returns the URL of the server to use next.
    pub(super) fn current(&self) -> &str {
        self.urls.get(self.current).map_or("", String::as_str)
    }

    /// Uses another server from now on.
    pub(super) fn advance(&mut self) {
        self.current = (self.current + 1) % self.urls.len().max(1);
    }

    /// Tries each server once, until one succeeds. Fails with the reasons of all.
    pub(super) fn try_each<T>(
        &mut self,
        client: &mut Client,
        mut call: impl FnMut(&mut Client, &str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        client.reload()?;
        let mut reasons: Vec<(String, String)> = Vec::new();
        for _ in 0..self.urls.len() {
            match call(client, self.current()) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    let host = self.current().split_once("://").map_or("", |(_, host)| host).to_owned();
                    reasons.push((host, format!("{error:#}")));
                    self.advance();
                }
            }
        }
        Err(match reasons.as_slice() {
            [(_, reason)] => anyhow!("{reason}"),
            [(_, first), rest @ ..] if rest.iter().all(|(_, reason)| reason == first) => {
                anyhow!("{first} (all servers)")
            }
            reasons => anyhow!("{}", listed(reasons)),
        })
    }
}

/// Returns a line for each server.
fn listed(reasons: &[(String, String)]) -> String {
    reasons.iter().fold("no server can be used".into(), |mut text: String, (host, reason)| {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {host}: {reason}");
        text
    })
}
