//! The command: arguments → library → output and exit code.
//!
//! By the name it is called it is `ipvsadm`, `ipvsadm-save`, `ipvsadm-restore` or `ipvsadm-rs`; under the last it knows
//! modern verbs besides the classic language. This is the only crate of the project that reads arguments and files,
//! resolves names, prints, and has exit codes.

#![forbid(unsafe_code)]

mod arguments;
mod classic;
mod cli;
mod cost;
mod count;
mod diagnostics;
mod durable;
mod failure;
mod help;
mod input;
mod ipvsadm;
mod journal;
mod list;
mod locate;
mod manual;
mod messages;
mod names;
mod output;
mod program;
mod progress;
mod report;
mod restore;
mod scripts;
mod setup;
mod style;
mod syslog;
mod verbs;
mod writers;

pub use program::main;
