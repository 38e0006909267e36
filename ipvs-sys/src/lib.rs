//! Bindings to IPVS, the load balancer of the Linux kernel: its generic netlink family `IPVS`, with the kernel's own
//! names.
//!
//! - [`Socket`] gets one item, dumps a list, or submits many changes at once.
//! - [`Namespace`] is the network namespace to work in.
//! - [`uapi`] has the tables of all commands, attributes and flags of `linux/ip_vs.h`.
//! - [`wire`] has the types of attribute values.
//! - [`message`] encodes requests and decodes replies, for programs with sockets of their own.
//!
//! The crate does not check or interpret values: every request can be sent, and every reply can be read. Attributes
//! that a newer kernel adds are kept. For a higher-level API with services, servers and plans, use the crate `ipvs`.
//!
//! # Platforms
//!
//! [`Socket`] and [`Namespace`] exist only on Linux, and so do the dependencies that they need. Everything else
//! compiles on every target.
//!
//! # Example
//!
//! Adds the service `TCP 192.0.2.1:80` with round robin, then lists all services. This needs `CAP_NET_ADMIN`.
//!
//! ```no_run
//! use std::net::Ipv4Addr;
//!
//! use ipvs_sys::uapi::{Command, ServiceAttrs};
//! use ipvs_sys::wire::{Be16, FlagsMask, Name};
//! use ipvs_sys::{Request, Socket};
//!
//! # fn main() -> Result<(), ipvs_sys::Error> {
//! let mut socket = Socket::open()?;
//!
//! // Each attribute of the kernel is an optional field.
//! let mut request = Request::new(Command::NewService);
//! request.attributes.service = Some(ServiceAttrs {
//!     af: Some(2), // AF_INET
//!     protocol: Some(6), // TCP
//!     addr: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
//!     port: Some(Be16(80)),
//!     sched_name: Name::new(b"rr"),
//!     flags: Some(FlagsMask { flags: 0, mask: u32::MAX }),
//!     timeout: Some(0),
//!     netmask: Some(u32::MAX),
//!     ..ServiceAttrs::default()
//! });
//! for (index, error) in socket.submit([request])? {
//!     eprintln!("request {index}: {error}");
//! }
//!
//! for reply in socket.dump(&Request::new(Command::GetService))? {
//!     if let Some(service) = reply?.service {
//!         println!("{service:?}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]

#[cfg(target_os = "linux")]
mod batch;
mod decode_error;
pub mod errno;
mod error;
pub mod family;
#[cfg(target_os = "linux")]
mod found_namespaces;
#[cfg(target_os = "linux")]
mod inbox;
#[cfg(target_os = "linux")]
mod kernel_version;
pub mod message;
#[cfg(target_os = "linux")]
mod namespace;
mod netlink;
mod refused;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
mod sys;
mod table;
pub mod uapi;
pub mod wire;

pub use decode_error::DecodeError;
pub use error::{Error, Refusal};
#[cfg(target_os = "linux")]
pub use found_namespaces::{FoundNamespace, FoundNamespaces};
#[cfg(target_os = "linux")]
pub use kernel_version::kernel_version;
pub use message::{Request, ToRequest};
#[cfg(target_os = "linux")]
pub use namespace::{Namespace, NamespaceFd};
pub use refused::Refused;
#[cfg(target_os = "linux")]
pub use socket::{Dump, Socket};

/// Compiles the example of the README.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
