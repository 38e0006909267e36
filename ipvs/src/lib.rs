//! Manage LVS/IPVS directors from Rust.
//!
//! A *director* holds *virtual services* (protocol, address and port, or a firewall mark) and forwards each connection
//! to one of their *destinations* (real servers). [`Client`] is the kernel's director, [`Model`] one in memory; what is
//! done to either is a [`Change`], and what it holds is a [`State`].
//!
//! ```
//! use ipvs::{Change, Destination, Director, Forwarding, Model, Scheduler, Service, ServiceKey};
//! use std::net::Ipv4Addr;
//!
//! # fn main() -> Result<(), ipvs::Error> {
//! // `Client::open()?` on a director.
//! let mut director = Model::new();
//!
//! let web = Service::new(ServiceKey::tcp(Ipv4Addr::new(192, 0, 2, 1), 80), Scheduler::WLC);
//! let one = Destination::new((Ipv4Addr::new(10, 0, 0, 1), 8080), Forwarding::Masquerade);
//! let two = Destination { weight: 3, ..Destination::new((Ipv4Addr::new(10, 0, 0, 2), 8080), Forwarding::Masquerade) };
//! let refused = director.submit(&[
//!     Change::AddService(web),
//!     Change::AddDestination(web.key, one),
//!     Change::AddDestination(web.key, two),
//! ])?;
//! assert!(refused.is_empty());
//!
//! for state in director.state()?.services {
//!     println!("{}: {} servers", state.service.key, state.destinations.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`plan()`] finds the way from what is held to what is asked for ([`Config`]), with no connection lost on it that need
//! not be. [`rules`] is ipvsadm's language: save files and command lines ↔ changes. With the feature `serde`, `document` is
//! the same table as JSON, TOML and the like. [`hash`] tells which server the hashing schedulers pick.
//!
//! Nothing here prints, exits, or asks a name service by itself.

#![forbid(unsafe_code)]

pub mod apply;
mod change;
mod client;
mod connections;
mod daemon;
mod destination;
mod director;
#[cfg(feature = "serde")]
pub mod document;
mod error;
mod family;
pub mod hash;
mod info;
mod key;
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

pub use apply::{Applied, ApplyError, apply};
pub use change::{Change, Invalid, Warning};
pub use client::Client;
pub use connections::{ConnectionEntry, Connections};
pub use daemon::{Role, SyncDaemon};
pub use destination::{Destination, Forwarding, GueChecksum, Tunnel};
pub use director::Director;
pub use error::{Error, ErrorKind, InvalidValue};
pub use family::{Family, Protocol};
pub use info::{Info, Version};
pub use ipvs_sys::Namespace;
pub use ipvs_sys::wire::{Name, Unknown};
pub use key::{DestinationKey, ServiceKey};
pub use model::Model;
pub use name::{Engine, Interface, Scheduler};
pub use plan::{Plan, plan};
pub use scope::{Scope, Selector};
pub use service::{Netmask, SchedulerFlags, Service};
pub use state::{Config, DestinationState, Order, ServiceConfig, ServiceState, State};
pub use stats::{Rates, Stats};
pub use timeouts::Timeouts;
