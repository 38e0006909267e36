//! A page of a web server, requested at intervals.
//!
//! A server that sends an ETag or a date is asked only for changes:
//! <https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests>

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::http::Method;

use crate::store::Store;
use crate::store::client::{Answer, Call, Client};
use crate::store::snapshot::{Snapshot, StoredDocument, ensure_component};
use crate::store::url::Url;
use crate::terminal::text;

/// The maximum number of redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// A page of a web server.
#[derive(Debug)]
pub(super) struct Page {
    url: Url,
    client: Client,
    interval: Duration,
    /// The time of the next request. `None`: now.
    due: Option<Instant>,
    seen: Option<Seen>,
}

/// The last page that was returned.
#[derive(Debug)]
struct Seen {
    etag: Option<String>,
    date: Option<String>,
    digest: String,
}

impl Page {
    pub(super) fn new(url: Url, client: Client, interval: Duration) -> Self {
        Self { url, client, interval, due: None, seen: None }
    }

    /// Requests the page, or only a change since `seen`. `None`: it has not changed.
    fn get(&mut self, seen: Option<&Seen>) -> anyhow::Result<Option<(Snapshot, Seen)>> {
        let mut conditions = Vec::new();
        if let Some(etag) = seen.and_then(|seen| seen.etag.clone()) {
            conditions.push(("If-None-Match", etag));
        }
        if let Some(date) = seen.and_then(|seen| seen.date.clone()) {
            conditions.push(("If-Modified-Since", date));
        }
        let answer = self.follow(&conditions)?;
        let documents = match answer.status {
            304 if !conditions.is_empty() => return Ok(None),
            200 => vec![StoredDocument { name: self.url.to_string(), bytes: answer.body.clone() }],
            404 | 410 => Vec::new(),
            _ => return Err(answer.refusal()),
        };
        let header = |name| answer.header(name).filter(|value| !value.is_empty() && value.len() <= 1024);
        let (etag, date) = (header("etag").map(String::from), header("last-modified").map(String::from));
        let is_found = !documents.is_empty();
        let revision = etag.clone().or_else(|| date.clone()).filter(|_| is_found);
        let snapshot = Snapshot::new(revision, documents)?;
        let digest = snapshot.digest().to_owned();
        let conditions = if is_found { (etag, date) } else { (None, None) };
        Ok(Some((snapshot, Seen { etag: conditions.0, date: conditions.1, digest })))
    }

    /// Sends a GET request, and follows redirects.
    fn follow(&mut self, conditions: &[(&'static str, String)]) -> anyhow::Result<Answer> {
        self.client.reload()?;
        let mut url = self.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut headers = conditions.to_vec();
            // Another server must not see the password.
            if url.origin() == self.url.origin() {
                headers.extend(self.authorization());
            }
            let within = self.client.times.request;
            let call = Call { method: Method::GET, url: url.as_str(), headers, body: &[], within };
            let answer = self.client.exchange(call)?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let Some(location) = answer.header("location") else { return Err(answer.refusal()) };
            url = url.redirected(location).map_err(|error| anyhow!("invalid redirect: {error}"))?;
        }
        bail!("more than {MOST_REDIRECTS} redirects")
    }

    fn authorization(&self) -> Option<(&'static str, String)> {
        let value = match (self.client.token(), self.client.user()) {
            (Some(token), _) => format!("Bearer {token}"),
            (None, Some(user)) => {
                format!("Basic {}", STANDARD.encode(format!("{}:{}", user.name, user.password)))
            }
            (None, None) => return None,
        };
        Some(("Authorization", value))
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        ensure_component(name)?;
        self.client.reload()?;
        let (url, within) = (self.url.below(name), self.client.times.request);
        let headers = self.authorization().into_iter().collect();
        let answer = self.client.exchange(Call { method: Method::PUT, url: &url, headers, body: bytes, within })?;
        ensure!((200..300).contains(&answer.status), answer.refusal());
        Ok(())
    }
}

impl Store for Page {
    fn next(&mut self) -> anyhow::Result<Option<Snapshot>> {
        let rest = self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
        let wait = self.client.times.wait;
        if rest > wait {
            std::thread::sleep(wait);
            return Ok(None);
        }
        std::thread::sleep(rest);
        // After an error, the caller decides when to ask again.
        self.due = None;
        let seen = self.seen.take();
        let found = self.get(seen.as_ref()).with_context(|| format!("cannot read {}", self.url));
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.seen = seen;
                return Err(error);
            }
        };
        self.due = Instant::now().checked_add(self.interval);
        let Some((snapshot, new)) = found else {
            self.seen = seen;
            return Ok(None);
        };
        let is_same = seen.is_some_and(|seen| seen.digest == new.digest);
        self.seen = Some(new);
        Ok((!is_same).then_some(snapshot))
    }

    fn read(&mut self) -> anyhow::Result<Snapshot> {
        let found = self.get(None).with_context(|| format!("cannot read {}", self.url))?;
        found.map(|(snapshot, _)| snapshot).context("the server returned no page")
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.put(name, bytes).with_context(|| format!("cannot write {} to {}", text::escaped(name), self.url))
    }
}

#[cfg(test)]
mod tests;
