//! The JSON objects of rows.

use std::borrow::Cow;
use std::net::SocketAddr;

use ipvs::document::SCHEMA;
use ipvs::{ConnectionEntry, EntryCount};
use serde::Serialize;

use super::group::{Group, Part, Service};

/// An entry.
#[derive(Serialize)]
pub(super) struct Row<'e> {
    /// Absent in a list, which has it once.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    protocol: String,
    client: SocketAddr,
    service: SocketAddr,
    server: SocketAddr,
    state: String,
    /// The time until the kernel deletes the entry if no packet arrives, in seconds.
    expires: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    /// The data of the persistence engine. Bytes that are not UTF-8 are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine_data: Option<Cow<'e, str>>,
    /// The mark of a template of a service by mark. Its service has no address.
    #[serde(skip_serializing_if = "Option::is_none")]
    fwmark: Option<u32>,
    template: bool,
}

impl<'e> Row<'e> {
    pub(super) fn new(entry: &'e ConnectionEntry, has_schema: bool) -> Self {
        Self {
            schema: has_schema.then_some(SCHEMA),
            protocol: entry.protocol.to_string().to_ascii_lowercase(),
            client: entry.client,
            service: entry.service,
            server: entry.destination,
            state: entry.state.to_string(),
            expires: entry.expires,
            engine: entry.engine.as_ref().map(|(name, _)| name.to_string()),
            engine_data: entry.engine.as_ref().map(|(_, data)| String::from_utf8_lossy(data)),
            fwmark: entry.fwmark(),
            template: entry.is_template(),
        }
    }
}

/// The numbers of a group.
#[derive(Serialize)]
pub(super) struct Counted {
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    connections: u64,
    templates: u64,
}

impl Counted {
    pub(super) fn new(group: &Group, count: EntryCount, has_schema: bool) -> Self {
        Self {
            schema: has_schema.then_some(SCHEMA),
            service: group.service.as_ref().map(Service::selector),
            service_status: group.service.as_ref().map(Service::status),
            server: group.server.map(|server| server.to_string()),
            client: group.client.map(|client| client.to_string()),
            state: group.state.map(|state| state.to_string()),
            connections: count.connections,
            templates: count.templates,
        }
    }
}

/// Numbers without a group.
#[derive(Serialize)]
pub(super) struct Numbers {
    connections: u64,
    templates: u64,
}

impl From<EntryCount> for Numbers {
    fn from(EntryCount { connections, templates }: EntryCount) -> Self {
        Self { connections, templates }
    }
}

/// The sum of the groups that have no line of their own.
#[derive(Serialize)]
pub(super) struct Others {
    schema: u32,
    others: Numbers,
    undercount: u64,
}

impl Others {
    pub(super) fn new(others: EntryCount, undercount: u64) -> Self {
        Self { schema: SCHEMA, others: others.into(), undercount }
    }
}

/// All groups.
#[derive(Serialize)]
pub(super) struct Document {
    schema: u32,
    by: Vec<&'static str>,
    groups: Vec<Counted>,
    /// The sum of the groups that are not listed.
    others: Numbers,
    /// The sum of all groups.
    total: Numbers,
    /// The number of entries by which the numbers of a group can be too low.
    undercount: u64,
}

impl Document {
    pub(super) fn new(
        by: &[Part],
        groups: &[(&Group, EntryCount)],
        others: EntryCount,
        total: EntryCount,
        undercount: u64,
    ) -> Self {
        Self {
            schema: SCHEMA,
            by: by.iter().map(|part| part.name()).collect(),
            groups: groups.iter().map(|(group, count)| Counted::new(group, *count, false)).collect(),
            others: others.into(),
            total: total.into(),
            undercount,
        }
    }
}
