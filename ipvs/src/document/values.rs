//! Single values in serde's formats, for the structs of programs.
//!
//! A key, a selector, a forwarding method and a name are text. A service, a server and a sync daemon are objects, as in a
//! [`Document`](super::Document). A change is an object with the key `change`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Ipvs;
use super::daemon::Daemon;
use super::destination::RealServer;
use super::read::Reader;
use super::service::{FamilyName, Mask, ProtocolName, VirtualService};
use crate::change::Change;
use crate::connections::ConnectionEntry;
use crate::daemon::{Role, SyncDaemon};
use crate::destination::{Destination, Forwarding};
use crate::family::{Family, Protocol};
use crate::info::Info;
use crate::key::{DestinationKey, ServiceKey};
use crate::name::{Engine, Interface, Scheduler};
use crate::plan::Plan;
use crate::scope::Selector;
use crate::service::{Netmask, Service};
use crate::state::{DestinationState, ServiceConfig, ServiceState};
use crate::timeouts::Timeouts;

/// Reads a text with `FromStr`, whose error becomes the error.
struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Writes a value as the text that `$text` returns, and reads it with `FromStr`.
macro_rules! text {
    ($($value:ty, $text:expr, $example:literal;)*) => {$(
        #[doc = concat!("Writes `\"", $example, "\"`.")]
        impl Serialize for $value {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&$text(self))
            }
        }

        #[doc = concat!("Reads `\"", $example, "\"`, and every other text that `FromStr` reads.")]
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(PhantomData))
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $value {
            fn schema_name() -> Cow<'static, str> {
                stringify!($value).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "examples": [$example] })
            }
        }
    )*};
}

fn itself<T>(value: &T) -> &T {
    value
}

/// Returns the text of a key that is one word, as in `--only`.
fn one_word(key: &ServiceKey) -> Selector {
    Selector::Service(*key)
}

text! {
    ServiceKey, one_word, "tcp:192.0.2.1:80";
    DestinationKey, itself, "10.0.0.1:8080";
    Selector, itself, "192.0.2.0/24";
    Forwarding, itself, "masquerade";
    Scheduler, itself, "wlc";
    Engine, itself, "sip";
    Interface, itself, "eth0";
}

/// Writes and reads a value as another type.
macro_rules! other_type {
    ($($value:ty as $other:ty, $write:expr, $read:expr;)*) => {$(
        #[doc = concat!("Writes a [`", stringify!($other), "`](crate::document::", stringify!($other), ").")]
        impl Serialize for $value {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$other>::from($write(self)).serialize(serializer)
            }
        }

        #[doc = concat!("Reads a [`", stringify!($other), "`](crate::document::", stringify!($other), ").")]
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $read(<$other>::deserialize(deserializer)?).map_err(Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $value {
            fn schema_name() -> Cow<'static, str> {
                <$other>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$other>::json_schema(generator)
            }
        }
    )*};
}

fn copy<T: Copy>(value: &T) -> T {
    *value
}

other_type! {
    Protocol as ProtocolName, copy, |name: ProtocolName| Ok::<_, String>(name.into());
    Family as FamilyName, copy, |name: FamilyName| Ok::<_, String>(name.into());
    Netmask as Mask, copy, netmask;
    ServiceConfig as VirtualService, itself, service_with_destinations;
    Destination as RealServer, itself, destination;
    SyncDaemon as Daemon, itself, daemon;
}

/// A prefix length alone is that of IPv6, because a mask of IPv4 is written as one.
fn netmask(mask: Mask) -> Result<Netmask, &'static str> {
    mask.of(Family::V6).ok_or("a prefix length must be 1 to 128")
}

/// Returns the value that `read` reads, or the first error without its place: there is only one value.
fn read<T>(read: impl FnOnce(&mut Reader) -> Option<T>) -> Result<T, String> {
    let mut reader = Reader::default();
    let value = read(&mut reader);
    match (reader.errors.into_iter().next(), value) {
        (None, Some(value)) => Ok(value),
        (Some(error), _) if error.path.is_empty() => Err(error.what),
        (Some(error), _) => Err(error.to_string()),
        (None, None) => Err("invalid value".into()),
    }
}

fn service_with_destinations(service: VirtualService) -> Result<ServiceConfig, String> {
    read(|reader| service.read(reader, ""))
}

fn destination(server: RealServer) -> Result<Destination, String> {
    if server.port.is_none() {
        return Err("the port is missing".into());
    }
    // Any service of its family may have it.
    let service = ServiceKey::tcp(server.address, 1);
    read(|reader| server.read(reader, "", &service))
}

fn daemon(daemon: Daemon) -> Result<SyncDaemon, String> {
    read(|reader| daemon.read(reader, ""))
}

/// The key of a document that a service alone does not have.
const DESTINATIONS: &str = "destinations";

/// Writes the object of a document, without `destinations`.
impl Serialize for Service {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Object {
            #[serde(skip_serializing_if = "Option::is_none")]
            protocol: Option<ProtocolName>,
            #[serde(skip_serializing_if = "Option::is_none")]
            address: Option<IpAddr>,
            #[serde(skip_serializing_if = "Option::is_none")]
            port: Option<u16>,
            #[serde(skip_serializing_if = "Option::is_none")]
            fwmark: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            family: Option<FamilyName>,
            scheduler: String,
            flags: Vec<String>,
            persistence: Option<u32>,
            netmask: Option<Mask>,
            engine: Option<String>,
            one_packet: bool,
        }

        // All fields are named, so that a new one is not forgotten.
        let VirtualService {
            protocol,
            address,
            port,
            fwmark,
            family,
            scheduler,
            flags,
            persistence,
            netmask,
            engine,
            one_packet,
            stats: _,
            unknown_attributes: _,
            destinations: _,
        } = self.into();
        Object { protocol, address, port, fwmark, family, scheduler, flags, persistence, netmask, engine, one_packet }
            .serialize(serializer)
    }
}

/// Reads the object of a document. `destinations` is an error, because a service alone has none.
impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let service = VirtualService::deserialize(deserializer)?;
        if !service.destinations.is_empty() {
            return Err(Error::invalid_value(Unexpected::Other(DESTINATIONS), &"a service without destinations"));
        }
        service_with_destinations(service).map(|config| config.service).map_err(Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Service {
    fn schema_name() -> Cow<'static, str> {
        "Service".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = VirtualService::json_schema(generator);
        if let Some(properties) = schema.get_mut("properties").and_then(|properties| properties.as_object_mut()) {
            properties.remove(DESTINATIONS);
        }
        schema
    }
}

/// Writes an [`Ipvs`](crate::document::Ipvs), the object `ipvs` of a document.
impl Serialize for Info {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Ipvs::from(self).serialize(serializer)
    }
}

/// Writes the object of a document, with the observed values.
impl Serialize for ServiceState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        VirtualService::from(self).serialize(serializer)
    }
}

/// Writes the object of a document, with the observed values.
impl Serialize for DestinationState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RealServer::from(self).serialize(serializer)
    }
}

/// The object of a change.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Change"))]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
enum ChangeObject {
    AddService { service: Service },
    EditService { service: Service },
    DeleteService { service: ServiceKey },
    AddDestination { service: ServiceKey, destination: Destination },
    EditDestination { service: ServiceKey, destination: Destination },
    DeleteDestination { service: ServiceKey, destination: DestinationKey },
    SetTimeouts { timeouts: Timeouts },
    StartDaemon { daemon: SyncDaemon },
    StopDaemon { role: Role },
    Zero { service: Option<ServiceKey> },
    Flush {},
}

impl From<Change> for ChangeObject {
    fn from(change: Change) -> Self {
        match change {
            Change::AddService(service) => Self::AddService { service },
            Change::EditService(service) => Self::EditService { service },
            Change::DeleteService(service) => Self::DeleteService { service },
            Change::AddDestination(service, destination) => Self::AddDestination { service, destination },
            Change::EditDestination(service, destination) => Self::EditDestination { service, destination },
            Change::DeleteDestination(service, destination) => Self::DeleteDestination { service, destination },
            Change::SetTimeouts(timeouts) => Self::SetTimeouts { timeouts },
            Change::StartDaemon(daemon) => Self::StartDaemon { daemon },
            Change::StopDaemon(role) => Self::StopDaemon { role },
            Change::Zero(service) => Self::Zero { service },
            Change::Flush => Self::Flush {},
        }
    }
}

impl From<ChangeObject> for Change {
    fn from(object: ChangeObject) -> Self {
        match object {
            ChangeObject::AddService { service } => Self::AddService(service),
            ChangeObject::EditService { service } => Self::EditService(service),
            ChangeObject::DeleteService { service } => Self::DeleteService(service),
            ChangeObject::AddDestination { service, destination } => Self::AddDestination(service, destination),
            ChangeObject::EditDestination { service, destination } => Self::EditDestination(service, destination),
            ChangeObject::DeleteDestination { service, destination } => Self::DeleteDestination(service, destination),
            ChangeObject::SetTimeouts { timeouts } => Self::SetTimeouts(timeouts),
            ChangeObject::StartDaemon { daemon } => Self::StartDaemon(daemon),
            ChangeObject::StopDaemon { role } => Self::StopDaemon(role),
            ChangeObject::Zero { service } => Self::Zero(service),
            ChangeObject::Flush {} => Self::Flush,
        }
    }
}

/// Writes an object: `{"change": "delete_destination", "service": "tcp:192.0.2.1:80", "destination": "10.0.0.1:80"}`.
/// The other values of `change` are the names of the variants in the same spelling. The key of a service or destination
/// is text. Added and edited ones are objects.
impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ChangeObject::from(*self).serialize(serializer)
    }
}

/// Reads the object of a change. Fails if the change is invalid.
impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let change = Self::from(ChangeObject::deserialize(deserializer)?);
        change.validate_with_names().map_err(Error::custom)?;
        Ok(change)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Change {
    fn schema_name() -> Cow<'static, str> {
        ChangeObject::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ChangeObject::json_schema(generator)
    }
}

/// The object of a plan.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Plan"))]
#[serde(deny_unknown_fields)]
struct PlanObject<'a> {
    changes: Cow<'a, [Change]>,
    #[serde(default, skip_serializing_if = "is_empty")]
    order_kept: Cow<'a, [ServiceKey]>,
    #[serde(default, skip_serializing_if = "is_empty")]
    order_fixed: Cow<'a, [ServiceKey]>,
    #[serde(default, skip_serializing_if = "is_empty")]
    out_of_scope: Cow<'a, [ServiceKey]>,
    #[serde(default, skip_serializing_if = "is_empty")]
    draining: Cow<'a, [(ServiceKey, DestinationKey)]>,
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

/// Writes an object with a key for each field. Empty lists are left out, except for `changes`.
impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { changes, order_kept, order_fixed, out_of_scope, draining } = self;
        PlanObject {
            changes: changes.into(),
            order_kept: order_kept.into(),
            order_fixed: order_fixed.into(),
            out_of_scope: out_of_scope.into(),
            draining: draining.into(),
        }
        .serialize(serializer)
    }
}

/// Reads the object of a plan. Fails if a change is invalid. The plan fits only the table from which it was made.
impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let PlanObject { changes, order_kept, order_fixed, out_of_scope, draining } =
            PlanObject::deserialize(deserializer)?;
        Ok(Self {
            changes: changes.into_owned(),
            order_kept: order_kept.into_owned(),
            order_fixed: order_fixed.into_owned(),
            out_of_scope: out_of_scope.into_owned(),
            draining: draining.into_owned(),
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Plan {
    fn schema_name() -> Cow<'static, str> {
        PlanObject::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        PlanObject::json_schema(generator)
    }
}

/// Writes an object: `protocol`, `client`, `service`, `destination`, `state` and `expires` (in seconds). An entry with a
/// persistence engine also has `engine` and `engine_data`, in which bytes that are not UTF-8 are replaced.
impl Serialize for ConnectionEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Object<'a> {
            protocol: String,
            client: String,
            service: String,
            destination: String,
            state: String,
            expires: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            engine: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            engine_data: Option<Cow<'a, str>>,
        }

        let Self { protocol, client, service, destination, state, expires, engine } = self;
        Object {
            protocol: protocol.to_string().to_ascii_lowercase(),
            client: client.to_string(),
            service: service.to_string(),
            destination: destination.to_string(),
            state: state.to_string(),
            expires: *expires,
            engine: engine.as_ref().map(|(name, _)| name.to_string()),
            engine_data: engine.as_ref().map(|(_, data)| String::from_utf8_lossy(data)),
        }
        .serialize(serializer)
    }
}
