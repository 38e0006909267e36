//! ipvsadm's language: its command lines and save files.
//!
//! [`parse`] reads the words of a command line, [`Lines`] a text of lines, [`read_config`] a text as what a director
//! should hold; the `write_…` functions and `Display` of [`Change`](crate::Change) write them. What is legal, what it means and what is complained of is as in ipvsadm 1.31;
//! the few differences are described in the project's `docs/compat.md`.
//!
//! Names of hosts and ports are looked up by the [`Resolver`] that the caller gives; [`Numeric`] knows none.

mod address;
mod command;
mod config;
mod decimal;
mod draft;
mod endpoint;
mod flags;
mod judge;
mod number;
mod options;
mod plain;
mod problem;
mod read;
mod reason;
mod resolver;
mod saved;
mod scan;
mod words;
mod write;

pub use command::{Columns, Command, Listing, Subject};
pub use config::{Doubt, LineWarning, ReadConfig, read_config, write_config};
pub use endpoint::{write_address, write_endpoint};
#[cfg(feature = "serde")]
pub(crate) use flags::read_flags;
pub use flags::{FlagError, flag_names, parse_flags};
pub use options::{COMMANDS, CommandRow, OPTIONS, OptionRow, Value, Verb};
pub use problem::{Problem, ProblemKind, Row, Text};
pub use read::{Line, LineError, Lines, parse, parse_posix};
pub use reason::Reason;
pub use resolver::{Namer, Numeric, Resolver};
pub use write::{has_words, write_change, write_destination, write_service};
