//! The command: arguments → library → output and exit code.
//!
//! The name of the program decides whether it is `ipvsadm`, `ipvsadm-save`, `ipvsadm-restore` or `ipvsadm-rs`.
//! `ipvsadm-rs` has verbs besides the options of ipvsadm. This is the only crate of the project that reads arguments
//! and files, resolves names, prints, and has exit codes.

#![forbid(unsafe_code)]

mod arguments;
mod classic;
mod complete;
mod context;
mod file;
mod generate;
mod hints;
mod host_name;
mod journal;
mod network;
mod pid_namespace;
mod plan;
mod program;
mod resolver;
mod sight;
mod start;
mod store;
mod terminal;
mod uptime;
mod verbs;

/// For tests, which compare it with the kernel. Not part of an API.
#[doc(hidden)]
pub use network::firewall;
pub use program::main;
