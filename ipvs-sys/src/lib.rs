//! The Linux kernel's IPVS in its own words.
//!
//! - [`uapi`] — the tables: every command, attribute and flag of `linux/ip_vs.h`
//! - [`wire`] — values of attributes ↔ bytes
//! - [`message`] — requests → bytes, bytes → answers; no socket needed
//! - [`Connection`] — one netlink socket: get, dump, submit in batches
//! - [`Namespace`] — the network namespace that a director lives in
//!
//! No opinion, no policy: what the kernel would take can be sent, what it answers can be read, also what a newer kernel
//! says and these tables do not know. The crate `ipvs` has the operator's words.

mod connection;
pub mod controller;
mod error;
mod inbox;
mod malformed;
pub mod message;
mod namespace;
mod release;
#[cfg(feature = "start")]
pub mod start;
mod sys;
mod table;
pub mod uapi;
pub mod wire;

pub use connection::{BATCH, Connection, Dump};
pub use error::{Error, Refusal};
pub use malformed::Malformed;
pub use message::{Ask, Request};
pub use namespace::Namespace;
pub use release::kernel_release;
