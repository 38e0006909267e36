//! A director's table as a document: JSON, TOML, or what else serde reads and writes.
//!
//! One form for both directions: what [`State`] is written as can be read as a [`Config`]; what is only observed
//! (counters, connections, versions) is then passed over. Keys that there are not are errors, so that a mistyped one is
//! not lost.

mod daemon;
mod destination;
mod read;
mod scalar;
mod service;

use std::collections::BTreeMap;

use ipvs_sys::wire::Unknown;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::{Config, Order, State};
use crate::timeouts::Timeouts;

pub use daemon::Daemon;
pub use destination::{ForwardingMethod, RealServer, TunnelChecksum, TunnelSettings};
pub use read::{DocumentError, Read};
pub use service::{FamilyName, KnownProtocol, Mask, ProtocolName, VirtualService};

use read::Reader;

/// The version of the form that is written here.
pub const SCHEMA: u32 = 1;

/// A director's table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of this form: 1.
    #[serde(default = "this_schema")]
    pub schema: u32,
    /// Observed: the kernel's IPVS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipvs: Option<Ipvs>,
    /// What the order of destinations means; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderName>,
    /// Connection timeouts; absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// The sync daemons, none to two; absent: left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemons: Option<Vec<Daemon>>,
    /// The virtual services.
    #[serde(default)]
    pub services: Vec<VirtualService>,
}

fn this_schema() -> u32 {
    SCHEMA
}

/// What the kernel says of its IPVS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Ipvs {
    /// Version, such as `1.2.1`.
    pub version: String,
    /// Buckets of the connection table.
    pub connection_table_size: u32,
}

/// What the order of destinations means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderName {
    /// The oldest first, as the kernel is to hold them: it decides which client a hashing scheduler sends where.
    Kernel,
}

impl From<&State> for Document {
    fn from(state: &State) -> Self {
        let State { info, timeouts, daemons, services } = state;
        Self {
            schema: SCHEMA,
            ipvs: Some(Ipvs { version: info.version.to_string(), connection_table_size: info.connection_table_size }),
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
    /// What the document asks for; what is only observed is passed over.
    pub fn to_config(&self) -> Result<Read, Vec<DocumentError>> {
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
        if reader.errors.is_empty() {
            Ok((Config { timeouts: *timeouts, daemons, services, order }, reader.doubts))
        } else {
            Err(reader.errors)
        }
    }
}

fn hexadecimal(unknown: &Unknown) -> BTreeMap<u16, String> {
    let text = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect();
    unknown.iter().map(|(number, value)| (number, text(value))).collect()
}

/// Written as a [`Document`].
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

/// Written as a [`Document`].
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::from(self).serialize(serializer)
    }
}

/// Read as a [`Document`]; of several errors the first is the error.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        match document.to_config() {
            Ok((config, _)) => Ok(config),
            Err(errors) => Err(serde::de::Error::custom(&errors[0])),
        }
    }
}
