//! A key of Consul and the keys below it: <https://developer.hashicorp.com/consul/api-docs/kv>
//!
//! A change is awaited with blocking queries: <https://developer.hashicorp.com/consul/api-docs/features/blocking>

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::Method;

use crate::store::client::{Call, Client};
use crate::store::endpoints::Endpoints;
use crate::store::location::Place;
use crate::store::snapshot::{Snapshot, StoredDocument, ensure_component};
use crate::store::url;
use crate::store::{Location, Store};
use crate::terminal::text;

/// A key of Consul and the keys below it.
#[derive(Debug)]
pub(super) struct Consul {
    endpoints: Endpoints,
    client: Client,
    key: String,
    /// The location, for messages.
    name: String,
    /// The index of the last response. 0: the next request is answered at once.
    index: u64,
    /// The digest of the documents that were returned last.
    digest: Option<String>,
}

/// A key and its value, in base64. `None`: the value is empty.
#[derive(Deserialize)]
struct Pair {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Value")]
    value: Option<String>,
    #[serde(rename = "ModifyIndex")]
    index: u64,
}

impl Consul {
    pub(super) fn new(place: &Place, is_encrypted: bool, client: Client) -> Self {
        let name = Location::Consul(place.clone()).to_string();
        let endpoints = Endpoints::new(place, is_encrypted);
        Self { endpoints, client, key: place.key.clone(), name, index: 0, digest: None }
    }

    /// Returns the documents and the index. Unless `after` is 0, waits until the index is higher.
    fn get(&mut self, after: u64) -> anyhow::Result<(Snapshot, u64)> {
        let Self { endpoints, client, key, .. } = self;
        let wait = client.times.wait;
        let mut query = format!("/v1/kv/{}?recurse", url::encoded(key));
        let mut within = client.times.request;
        if after > 0 {
            query.push_str(&format!("&index={after}&wait={}ms", wait.as_millis()));
            // The server adds up to a sixteenth.
            within += wait + wait / 16;
        }
        endpoints.try_each(client, |client, endpoint| {
            let url = format!("{endpoint}{query}");
            let headers = headers(client);
            let answer = client.exchange(Call { method: Method::GET, url: &url, headers, body: &[], within })?;
            let pairs = match answer.status {
                200 => serde_json::from_slice(&answer.body).context("the response is not a list of keys")?,
                404 => Vec::new(),
                _ => return Err(answer.refusal()),
            };
            let index = answer.header("x-consul-index").and_then(|index| index.parse::<u64>().ok());
            // A web server that is not Consul has none. Its 404 must not look like an absent key.
            let index = index.context("the response has no X-Consul-Index")?;
            ensure!(answer.header("x-consul-knownleader") != Some("false"), "the server knows no leader");
            Ok((snapshot(key, pairs)?, index.max(1)))
        })
    }

    fn changed(&mut self) -> anyhow::Result<Option<Snapshot>> {
        let start = Instant::now();
        let before = self.index;
        // The next request after an error is answered at once: another server may have another index.
        self.index = 0;
        let (snapshot, index) = self.get(before)?;
        // After a restored backup, the index is lower. Waiting for the old one would miss changes.
        self.index = if index < before { 0 } else { index };
        let digest = snapshot.digest().to_owned();
        if self.digest.as_ref() != Some(&digest) {
            self.digest = Some(digest);
            return Ok(Some(snapshot));
        }
        let pause = self.client.times.pause.saturating_sub(start.elapsed());
        if pause > Duration::ZERO {
            std::thread::sleep(pause);
        }
        Ok(None)
    }
}

/// Returns the documents among the pairs. The request is for all keys that start with the text of the key, including
/// `website` for `web`.
fn snapshot(key: &str, pairs: Vec<Pair>) -> anyhow::Result<Snapshot> {
    let is_ours = |name: &str| name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
    let mut documents = Vec::new();
    let mut newest = 0;
    for pair in pairs {
        // The user interface of Consul creates a key that ends with a slash for each folder.
        if !is_ours(&pair.key) || pair.key.ends_with('/') {
            continue;
        }
        let bytes = STANDARD
            .decode(pair.value.unwrap_or_default())
            .with_context(|| format!("the value of {} is not valid base64", text::escaped(&pair.key)))?;
        newest = newest.max(pair.index);
        documents.push(StoredDocument { name: pair.key, bytes });
    }
    Snapshot::new(Some(newest.to_string()), documents)
}

fn headers(client: &Client) -> Vec<(&'static str, String)> {
    client.token().map(|token| ("X-Consul-Token", token.to_owned())).into_iter().collect()
}

impl Store for Consul {
    fn next(&mut self) -> anyhow::Result<Option<Snapshot>> {
        self.changed().with_context(|| format!("cannot read {}", self.name))
    }

    fn read(&mut self) -> anyhow::Result<Snapshot> {
        let read = self.get(0).with_context(|| format!("cannot read {}", self.name))?;
        Ok(read.0)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        ensure_component(name)?;
        let Self { endpoints, client, key, .. } = self;
        let path = format!("/v1/kv/{}", url::encoded(&format!("{key}/{name}")));
        let written = endpoints.try_each(client, |client, endpoint| {
            let (url, headers, within) = (format!("{endpoint}{path}"), headers(client), client.times.request);
            let answer = client.exchange(Call { method: Method::PUT, url: &url, headers, body: bytes, within })?;
            ensure!(answer.status == 200 && answer.body.trim_ascii() == b"true", answer.refusal());
            Ok(())
        });
        written.with_context(|| format!("cannot write {name} to {}", self.name))
    }
}

#[cfg(test)]
mod tests;
