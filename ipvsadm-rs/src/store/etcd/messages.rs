//! The messages of etcd's gateway. Keys and values are base64. Numbers of 64 bits are strings, and fields that are empty
//! or 0 are omitted: <https://etcd.io/docs/v3.5/dev-guide/api_reference_v3/>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, de};

pub(super) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn bytes(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(text)
}

/// The header of a response.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    pub(super) cluster_id: u64,
    #[serde(deserialize_with = "number")]
    pub(super) revision: u64,
}

/// The response to a transaction of reads.
#[derive(Debug, Deserialize)]
pub(super) struct Ranges {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<RangeOf>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RangeOf {
    pub(super) response_range: Range,
}

#[derive(Debug, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub(super) kvs: Vec<Pair>,
    #[serde(default)]
    pub(super) more: bool,
    #[serde(default, deserialize_with = "number")]
    pub(super) count: u64,
}

/// The response to a read of one key.
#[derive(Debug, Deserialize)]
pub(super) struct Single {
    pub(super) header: Header,
}

/// A key and its value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: u64,
}

/// A line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct WatchLine {
    pub(super) result: Option<WatchResult>,
    pub(super) error: Option<WatchError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WatchResult {
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) cancel_reason: String,
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: u64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) kv: Pair,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WatchError {
    pub(super) message: String,
}

/// The response to a login.
#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    pub(super) token: String,
}

/// Returns whether a request was refused because its token is not valid any more. The texts are those of
/// <https://github.com/etcd-io/etcd/blob/v3.5.16/api/v3rpc/rpctypes/error.go>
pub(super) fn is_old_token(status: u16, body: &[u8]) -> bool {
    const TEXTS: [&str; 3] = ["invalid auth token", "revision of auth store is old", "user name is empty"];
    let body = String::from_utf8_lossy(body);
    status == 401 || TEXTS.iter().any(|text| body.contains(text))
}

/// Reads a number that may be a string.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Number(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(|_| de::Error::custom("not a number")),
    }
}
