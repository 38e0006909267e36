//! A director's table as a document: JSON, TOML, or any other format of serde.
//!
//! [`State`] and [`Config`] have the same format: a state that was written can be read as a desired table. Reading skips
//! observed values (counters, connections, versions). Unknown keys are errors, so that a misspelt key is reported.

mod daemon;
mod destination;
mod read;
mod scalar;
mod service;
mod values;

use std::collections::BTreeMap;

use ipvs_sys::wire::Unknown;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::errors::Errors;
use crate::info::Info;
use crate::state::{Config, Order, State};
use crate::timeouts::Timeouts;

pub use daemon::Daemon;
pub use destination::{ForwardingMethod, RealServer, TunnelChecksum, TunnelSettings};
pub use read::{DocumentError, ReadDocument};
pub use service::{FamilyName, KnownProtocol, Mask, ProtocolName, VirtualService};

use read::Reader;

/// The version of the format.
pub const SCHEMA: u32 = 1;

/// A director's table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of the format: 1.
    #[serde(default = "this_schema")]
    pub schema: u32,
    /// Observed: version and size of the kernel's IPVS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipvs: Option<Ipvs>,
    /// Whether the order of destinations matters. Absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderName>,
    /// Connection timeouts. Absent: not changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// The sync daemons, at most one of each role. Absent: not changed. Empty: all are stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemons: Option<Vec<Daemon>>,
    /// The virtual services.
    #[serde(default)]
    pub services: Vec<VirtualService>,
}

fn this_schema() -> u32 {
    SCHEMA
}

/// Version and size of the kernel's IPVS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ipvs {
    /// The version: `1.2.1`.
    pub version: String,
    /// The number of buckets of the connection table.
    pub connection_table_size: u32,
}

/// The meaning of the order of destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderName {
    /// The oldest destination comes first. With a hashing scheduler, the order determines the server of each client.
    Kernel,
}

impl From<&Info> for Ipvs {
    fn from(info: &Info) -> Self {
        let Info { version, connection_table_size } = info;
        Self { version: version.to_string(), connection_table_size: *connection_table_size }
    }
}

impl From<&State> for Document {
    fn from(state: &State) -> Self {
        // A document is a table, and `is_uncertain` is about its reading.
        let State { info, timeouts, daemons, services, is_uncertain: _ } = state;
        Self {
            schema: SCHEMA,
            ipvs: Some(info.into()),
            order: Some(OrderName::Kernel),
            timeouts: Some(*timeouts),
            daemons: Some(daemons.iter().map(Daemon::from).collect()),
            services: services.iter().map(VirtualService::from).collect(),
        }
    }
}

impl From<&Config> for Document {
    fn from(config: &Config) -> Self {
        let Config { timeouts, daemons, services, order } = config;
        Self {
            schema: SCHEMA,
            ipvs: None,
            order: match order {
                Order::Any => None,
                Order::Kernel => Some(OrderName::Kernel),
            },
            timeouts: *timeouts,
            daemons: daemons.as_ref().map(|daemons| daemons.iter().map(Daemon::from).collect()),
            services: services.iter().map(VirtualService::from).collect(),
        }
    }
}

impl Document {
    /// Returns the desired table with its warnings. Observed values are skipped.
    ///
    /// # Errors
    ///
    /// Returns all invalid values, each with its place.
    pub fn to_config(&self) -> Result<ReadDocument, Errors<DocumentError>> {
        let mut reader = Reader::default();
        // Observed: `ipvs`.
        let Self { schema, ipvs: _, order, timeouts, daemons, services } = self;
        if *schema != SCHEMA {
            reader.error("schema", format!("unsupported version {schema}: only {SCHEMA} is supported"));
        }
        let daemons = daemons.as_ref().map(|daemons| daemon::read(&mut reader, daemons));
        let services = service::read(&mut reader, services);
        let order = match order {
            None => Order::Any,
            Some(OrderName::Kernel) => Order::Kernel,
        };
        let Reader { errors, doubts } = reader;
        Errors::none_or(errors, || (Config { timeouts: *timeouts, daemons, services, order }, doubts))
    }
}

fn hexadecimal(unknown: &Unknown) -> BTreeMap<u16, String> {
    let text = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect();
    unknown.iter().map(|(number, value)| (number, text(value))).collect()
}

/// Writes a [`Document`].
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

/// Writes a [`Document`].
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

/// Reads a [`Document`]. Returns the first of several errors.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        match document.to_config() {
            Ok((config, _)) => Ok(config),
            Err(errors) => Err(serde::de::Error::custom(&errors[0])),
        }
    }
}
