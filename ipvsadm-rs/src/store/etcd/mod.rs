//! A key of etcd and the keys below it, through the gateway that speaks JSON:
//! <https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>
//!
//! A watch only wakes this program up. The documents are then read in one transaction, so they are of one revision.
//! Reads are linearizable: a server that has no contact to the majority returns an error, not old documents.
//! <https://etcd.io/docs/v3.5/learning/api_guarantees/>

mod messages;
#[cfg(test)]
mod tests;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::store::Store;
use crate::store::client::{Call, Client, Line};
use crate::store::endpoints::Endpoints;
use crate::store::location::Place;
use crate::store::snapshot::{MOST, Snapshot, StoredDocument, ensure_component};
use crate::terminal::text;
use messages::{Event, Header, Login, Ranges, Single, WatchLine, bytes, encoded};

/// A key of etcd and the keys below it.
#[derive(Debug)]
pub(super) struct Etcd {
    endpoints: Endpoints,
    client: Client,
    key: String,
    /// The location, for messages.
    name: String,
    /// The token of the user.
    token: Option<String>,
    seen: Option<Seen>,
}

/// The state of the store when it was read.
#[derive(Clone, Debug)]
struct Seen {
    cluster: u64,
    /// The revision of the whole store. The watch starts after it.
    revision: u64,
    digest: String,
}

/// The result of a watch.
enum Watched {
    /// The documents may have changed.
    Woken,
    /// Nothing was reported within the time limit.
    Quiet,
}

impl Etcd {
    pub(super) fn new(place: &Place, is_encrypted: bool, client: Client) -> Self {
        let name = crate::store::Location::Etcd(place.clone()).to_string();
        let endpoints = Endpoints::new(place, is_encrypted);
        Self { endpoints, client, key: place.key.clone(), name, token: None, seen: None }
    }

    /// Sends a request to the first server that works. A request may be sent twice.
    fn request<T: serde::de::DeserializeOwned>(&mut self, path: &str, body: &Value) -> anyhow::Result<T> {
        let Self { endpoints, client, token, .. } = self;
        endpoints.try_each(client, |client, url| {
            let answer = send(client, url, token, path, body)?;
            serde_json::from_slice(&answer).context("the response is not a valid message of etcd")
        })
    }

    /// Reads the documents, all of one revision.
    fn get(&mut self) -> anyhow::Result<(Snapshot, Seen)> {
        let (first, end) = below(&self.key);
        let read: Ranges = self.request(
            "/v3/kv/txn",
            &json!({"success": [
                {"requestRange": {"key": encoded(self.key.as_bytes())}},
                {"requestRange": {"key": encoded(&first), "range_end": encoded(&end), "limit": (MOST + 1).to_string()}},
            ]}),
        )?;
        ensure!(read.succeeded && read.responses.len() == 2, "the response is not a valid message of etcd");
        let mut documents = Vec::new();
        let mut newest = 0;
        for (range, is_below) in read.responses.into_iter().map(|response| response.response_range).zip([false, true]) {
            // The transaction asks for one key, and for up to the limit of the others.
            ensure!(!range.more && range.kvs.len() <= MOST, "there are more than {MOST} documents");
            ensure!(range.kvs.len() as u64 == range.count, "the server returned only a part of the documents");
            for pair in range.kvs {
                let name = bytes(&pair.key).context("the name of a key is not valid base64")?;
                let is_asked = if is_below { name.starts_with(&first) } else { name == self.key.as_bytes() };
                let name = String::from_utf8_lossy(&name).into_owned();
                ensure!(is_asked, "the server returned another key: {}", text::escaped(&name));
                let bytes = bytes(&pair.value)
                    .with_context(|| format!("the value of {} is not valid base64", text::escaped(&name)))?;
                newest = newest.max(pair.mod_revision);
                documents.push(StoredDocument { name, bytes });
            }
        }
        let Header { cluster_id: cluster, revision } = read.header;
        let snapshot = Snapshot::new(Some(newest.to_string()), documents)?;
        let digest = snapshot.digest().to_owned();
        Ok((snapshot, Seen { cluster, revision, digest }))
    }

    /// Waits for a change after a revision, at the server that works.
    fn watch(&mut self, after: u64) -> anyhow::Result<Watched> {
        self.client.reload()?;
        let (_, end) = below(&self.key);
        // One range for both, because a watch cannot have two. Others in it, such as `web.old`, are skipped.
        let body = json!({"create_request": {
            "key": encoded(self.key.as_bytes()),
            "range_end": encoded(&end),
            "start_revision": after.saturating_add(1).to_string(),
        }})
        .to_string();
        let url = format!("{}/v3/watch", self.endpoints.current());
        let mut headers = headers(self.token.as_deref());
        // The server ends the watch when it loses the contact to the others.
        headers.push(("Grpc-Metadata-hasleader", "true".into()));
        let within = self.client.times.wait;
        let call = Call { method: Method::POST, url: &url, headers, body: body.as_bytes(), within };
        let mut lines = self.client.lines(call)?;
        let mut is_created = false;
        loop {
            let line = match lines.next()? {
                Line::Text(line) => line,
                Line::Timeout if is_created => return Ok(Watched::Quiet),
                Line::Timeout => bail!("the watch did not start in time"),
                Line::End => bail!("the server ended the watch"),
            };
            let line: WatchLine = serde_json::from_slice(&line).context("the watch is not valid")?;
            if let Some(error) = line.error {
                bail!("the server ended the watch: {}", text::escaped(&error.message));
            }
            let Some(result) = line.result else { continue };
            is_created |= result.created;
            // The old revisions were removed, and with them the events: https://etcd.io/docs/v3.5/op-guide/maintenance/
            if result.compact_revision > 0 || result.events.iter().any(|event| self.is_ours(event)) {
                return Ok(Watched::Woken);
            }
            ensure!(!result.canceled, "the server ended the watch: {}", text::escaped(&result.cancel_reason));
        }
    }

    fn is_ours(&self, event: &Event) -> bool {
        let (first, _) = below(&self.key);
        // A name that cannot be decoded causes a read, which reports it.
        bytes(&event.kv.key).map_or(true, |key| key == self.key.as_bytes() || key.starts_with(&first))
    }

    /// Returns whether the store has no newer state than a watch that reported nothing could have missed. Reads through
    /// the majority, because a server alone would report nothing, too.
    fn is_confirmed(&mut self, seen: &Seen) -> anyhow::Result<bool> {
        let body = json!({"key": encoded(self.key.as_bytes()), "count_only": true});
        let found: Single = self.request("/v3/kv/range", &body)?;
        // A cluster that was restored from a backup starts again with an older revision.
        Ok(found.header.cluster_id == seen.cluster && found.header.revision >= seen.revision)
    }

    fn changed(&mut self) -> anyhow::Result<Option<Snapshot>> {
        if let Some(seen) = self.seen.clone() {
            match self.watch(seen.revision) {
                Ok(Watched::Woken) => {}
                Ok(Watched::Quiet) => {
                    if self.is_confirmed(&seen)? {
                        return Ok(None);
                    }
                }
                Err(_) => {
                    // The read below reports the reason if no server works.
                    self.endpoints.advance();
                    std::thread::sleep(self.client.times.pause);
                }
            }
        }
        let (snapshot, seen) = self.get()?;
        let is_same = self.seen.as_ref().is_some_and(|old| old.digest == seen.digest);
        self.seen = Some(seen);
        Ok((!is_same).then_some(snapshot))
    }
}

impl Store for Etcd {
    fn next(&mut self) -> anyhow::Result<Option<Snapshot>> {
        self.changed().with_context(|| format!("cannot read {}", self.name))
    }

    fn read(&mut self) -> anyhow::Result<Snapshot> {
        let read = self.get().with_context(|| format!("cannot read {}", self.name))?;
        Ok(read.0)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        ensure_component(name)?;
        let key = format!("{}/{name}", self.key);
        let body = json!({"key": encoded(key.as_bytes()), "value": encoded(bytes)});
        let written: anyhow::Result<Value> = self.request("/v3/kv/put", &body);
        written.map(|_| ()).with_context(|| format!("cannot write {name} to {}", self.name))
    }
}

/// Returns the start and the end of the keys below a key. The end is not part of them.
fn below(key: &str) -> (Vec<u8>, Vec<u8>) {
    /// The character after the slash.
    const END: &str = "0";
    (format!("{key}/").into_bytes(), format!("{key}{END}").into_bytes())
}

fn headers(token: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("Content-Type", "application/json".into())];
    headers.extend(token.map(|token| ("Authorization", token.to_owned())));
    headers
}

/// Sends a request. Logs in if the server requires it, and again if the token has expired:
/// <https://etcd.io/docs/v3.5/op-guide/authentication/rbac/>
fn send(
    client: &mut Client,
    url: &str,
    token: &mut Option<String>,
    path: &str,
    body: &Value,
) -> anyhow::Result<Vec<u8>> {
    let body = body.to_string();
    if token.is_none() && client.user().is_some() {
        *token = Some(log_in(client, url)?);
    }
    let url_of_path = format!("{url}{path}");
    let mut is_renewed = false;
    loop {
        let (headers, within) = (headers(token.as_deref()), client.times.request);
        let call = Call { method: Method::POST, url: &url_of_path, headers, body: body.as_bytes(), within };
        let answer = client.exchange(call)?;
        match answer.status {
            200 => return Ok(answer.body),
            // The password may have changed, too, so it is read from its file each time.
            _ if !is_renewed && client.user().is_some() && messages::is_old_token(answer.status, &answer.body) => {
                *token = Some(log_in(client, url)?);
                is_renewed = true;
            }
            401 if client.user().is_none() => {
                return Err(answer.refusal().context("the server requires a user\nUse --user-file."));
            }
            _ => return Err(answer.refusal()),
        }
    }
}

fn log_in(client: &mut Client, url: &str) -> anyhow::Result<String> {
    let Some(user) = client.user() else { bail!("no user is specified") };
    let body = json!({"name": user.name, "password": user.password}).to_string();
    let (url, within) = (format!("{url}/v3/auth/authenticate"), client.times.request);
    let call = Call { method: Method::POST, url: &url, headers: headers(None), body: body.as_bytes(), within };
    let answer = client.exchange(call)?;
    if answer.status != 200 {
        return Err(answer.refusal().context("cannot log in"));
    }
    let login: Login = serde_json::from_slice(&answer.body).map_err(|_| anyhow!("cannot log in: invalid response"))?;
    let is_valid =
        !login.token.is_empty() && login.token.len() <= 8192 && login.token.bytes().all(|b| b.is_ascii_graphic());
    ensure!(is_valid, "cannot log in: the server returned no valid token");
    Ok(login.token)
}
