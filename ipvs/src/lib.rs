//! A library to manage LVS/IPVS directors.
//!
//! A *director* is a machine, or a network namespace, whose kernel balances connections. Its table contains *virtual
//! services*: each is a protocol with address and port, or a firewall mark. The kernel forwards each connection to one
//! of the service's *destinations* (real servers).
//!
//! | type | meaning |
//! |---|---|
//! | [`Config`] | the desired table |
//! | [`State`] | the current table, with counters |
//! | [`Change`] | one write to the kernel, as a value |
//! | [`Client`] | the kernel's table |
//! | [`Model`] | a table in memory, for tests |
//! | [`Director`] | the trait that `Client` and `Model` implement |
//!
//! # Apply a table
//!
//! [`apply()`] applies a [`Config`] to a director with as few changes as possible. It fails if the kernel refuses one of
//! them.
//!
//! ```
//! use ipvs::{Config, Destination, Director, Forwarding, Model, Scheduler, Service, ServiceConfig, ServiceKey, apply};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // On a director: `let mut director = ipvs::Client::open()?;`
//! let mut director = Model::new();
//!
//! let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::WLC);
//! let one = Destination::new(([10, 0, 0, 1], 8080), Forwarding::Masquerade);
//! let two = Destination { weight: 3, ..Destination::new(([10, 0, 0, 2], 8080), Forwarding::Masquerade) };
//! let table = Config {
//!     services: vec![ServiceConfig { service: web, destinations: vec![one, two] }],
//!     ..Config::default()
//! };
//! apply(&mut director, &table, &Default::default())?;
//!
//! for state in director.state()?.services {
//!     println!("{}: {} servers", state.service.key, state.destinations.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Make single changes
//!
//! The methods of [`Director`] make one change each. A refusal is an `Err`.
//!
//! ```
//! # use ipvs::{Destination, Director, ErrorKind, Forwarding, Model, Scheduler, Service, ServiceKey};
//! # fn main() -> Result<(), ipvs::Error> {
//! # let mut director = Model::new();
//! let web = ServiceKey::tcp([192, 0, 2, 1], 80);
//! let server = Destination::new(([10, 0, 0, 1], 8080), Forwarding::Masquerade);
//! director.add_service(&Service::new(web, Scheduler::WLC))?;
//! director.ensure_destination(&web, &server)?;
//! director.update_destination(&web, &server.key, |server| server.weight = 7)?;
//!
//! let error = director.add_destination(&web, &server).unwrap_err();
//! assert!(matches!(error.kind(), ErrorKind::DestinationExists));
//! # Ok(())
//! # }
//! ```
//!
//! # Make many changes
//!
//! [`Director::submit`] makes many changes with few system calls. It returns an error only if nothing was sent or the
//! result is unknown. The refused changes are in its return value, each with its index. The compiler warns if they are
//! dropped.
//!
//! ```
//! # use ipvs::{Change, Director, Model, Scheduler, Service, ServiceKey};
//! # fn main() -> Result<(), ipvs::Error> {
//! # let mut director = Model::new();
//! # let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::WLC);
//! # director.add_service(&web)?;
//! for (index, error) in director.submit(&[Change::AddService(web), Change::Flush])? {
//!     // change 0: add service TCP 192.0.2.1:80: service already exists (IPVS_CMD_NEW_SERVICE: …)
//!     eprintln!("change {index}: {error}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! - [`plan`](mod@plan) computes the changes from one table to another, with as few lost connections as possible.
//! - [`drain`] decides when servers that get no new connections can be deleted.
//! - [`rules`] reads and writes ipvsadm's language: save files and command lines.
//! - `document` (feature `serde`) reads and writes tables as JSON, TOML and other formats of serde.
//! - [`keepalived`] and [`ldirectord`] read the configuration files of these programs as tables.
//! - [`estimate`] computes which clients a change moves to another server, and which it refuses.
//! - [`hash`] computes the server that a hashing scheduler selects.
//!
//! # Text and serde
//!
//! `FromStr` reads the text that `Display` prints, for keys, selectors, forwarding methods, names, services, destinations,
//! sync daemons and changes. A service, a sync daemon or a change is an ipvsadm line. A destination is ipvsadm's options.
//!
//! With the feature `serde`, these values can be fields of a program's own structs. Keys, selectors, forwarding methods
//! and names are text (`"tcp:192.0.2.1:80"`, `"10.0.0.1:80"`). Services, destinations and sync daemons are the objects of
//! a `document`, and a change is an object with the key `change`. A plan is an object with its `changes`. Connection
//! entries and observed states can only be written.
//!
//! Nothing in this crate prints, exits, or queries a name service.
//!
//! # Examples
//!
//! The directory `examples` has programs of less than 60 lines: `cargo run -p ipvs-rs --example list`.
//!
//! | example | purpose |
//! |---|---|
//! | `list` | list the table |
//! | `add`, `set_weight` | make single changes |
//! | `apply_file` | show and apply a plan, from rules, JSON or TOML |
//! | `drain` | delete a server when its connections have ended |
//! | `reconcile` | keep the table as a file describes it, and drain the servers that are removed from it |
//! | `watch` | print each change, by any program |
//! | `namespaces` | list all network namespaces |
//! | `connections` | count connections by server and state |
//! | `exporter` | serve counters to Prometheus |
//! | `tokio` | use the blocking client in async code |
//!
//! # Platforms
//!
//! `Client` and `Namespace` exist only on Linux, and so do the dependencies that they need. Everything else compiles on
//! every target, with the error numbers of Linux. There, [`Model`] or another [`Director`] takes the place of `Client`.
//!
//! # Stability
//!
//! Errors, warnings and their kinds are `#[non_exhaustive]`: match them with a `_` arm. Structs of settings
//! ([`Service`], [`Destination`], [`SyncDaemon`], [`Timeouts`], [`Config`]) are not, so that they can be written as
//! literals and destructured. They gain a field when the kernel gains an attribute, which happens in a minor release.
//! Build them with `..Service::new(…)` or `..Config::default()`, and match them with `..`. Then such a release requires
//! no edits. The module behind the feature `testing` has no stability guarantee.

#![forbid(unsafe_code)]
#![warn(clippy::missing_errors_doc)]
// Only the client reads what the kernel sends.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

pub mod apply;
mod change;
#[cfg(target_os = "linux")]
mod client;
mod connections;
pub mod convert;
mod daemon;
mod delta;
mod destination;
mod director;
#[cfg(feature = "serde")]
pub mod document;
pub mod drain;
mod error;
mod errors;
pub mod estimate;
mod family;
pub mod hash;
mod info;
mod invalid_value;
pub mod keepalived;
mod key;
pub mod ldirectord;
mod model;
mod name;
mod parse;
pub mod plan;
mod request;
pub mod rules;
mod scope;
mod service;
mod state;
mod stats;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod timeouts;
mod watch;

pub use apply::{Applied, ApplyError, apply};
pub use change::{Change, Invalid, Warning};
#[cfg(target_os = "linux")]
pub use client::Client;
pub use connections::{
    ConnectionCounts, ConnectionEntry, ConnectionFilter, ConnectionSums, Connections, EntryCount, ServiceIndex,
    ServiceMatch, TemplateKey,
};
pub use daemon::{Role, SyncDaemon};
pub use delta::{Event, Increase};
pub use destination::{Destination, Forwarding, GueChecksum, Tunnel};
pub use director::{Director, Ensured, Refused};
pub use error::{Error, ErrorKind};
pub use errors::Errors;
pub use family::{Family, Protocol};
pub use info::{Info, Version};
pub use invalid_value::InvalidValue;
#[doc(no_inline)]
pub use ipnet::IpNet;
/// The bindings. [`Name`], `Namespace`, [`Unknown`] and [`Refused`] are types of that crate. A [`Change`] is a
/// [request](ipvs_sys::ToRequest).
#[doc(no_inline)]
pub use ipvs_sys;
pub use ipvs_sys::wire::{Name, Unknown};
#[cfg(target_os = "linux")]
pub use ipvs_sys::{FoundNamespace, FoundNamespaces, Namespace, NamespaceFd};
pub use key::{DestinationKey, ServiceKey};
pub use model::Model;
pub use name::{Engine, Interface, Scheduler};
pub use plan::{Plan, plan};
pub use scope::{Scope, Selector};
pub use service::{Netmask, SchedulerFlags, Service};
pub use state::{Config, DestinationState, Order, ServiceConfig, ServiceState, State};
pub use stats::{Counters, Rates, Stats};
pub use timeouts::Timeouts;
pub use watch::{Lost, Observation, Watch};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
