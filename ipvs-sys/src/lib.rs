//! The Linux kernel's IPVS in its own words.
//!
//! - [`uapi`] — the tables: every command, attribute and flag of `linux/ip_vs.h`
//! - [`wire`] — values of attributes ↔ bytes
//! - [`message`] — requests → bytes, bytes → answers; no socket needed
//! - [`Socket`] — one netlink socket: get, dump, submit in batches
//! - [`Namespace`] — the network namespace that a director lives in
//!
//! No opinion, no policy: what the kernel would take can be sent, what it answers can be read, also what a newer kernel
//! says and these tables do not know. The crate `ipvs` has the operator's words.

mod error;
#[doc(hidden)]
pub mod family;
mod inbox;
mod kernel_version;
pub mod message;
mod namespace;
mod socket;
#[cfg(feature = "start")]
#[doc(hidden)]
pub mod start;
mod sys;
mod table;
pub mod uapi;
pub mod wire;

pub use error::{DecodeError, Error, Refusal};
#[doc(hidden)]
pub use kernel_version::kernel_version;
pub use message::{Request, ToRequest};
pub use namespace::Namespace;
#[doc(hidden)]
pub use socket::BATCH;
pub use socket::{Dump, Socket};
