//! ipvsadm's language: its command lines and save files.
//!
//! [`parse`] reads the words of a command line, [`Lines`] a text of lines, [`read_config`] a text as what a director
//! should hold; the `write_…` functions and `Display` of [`Change`](crate::Change) write them. What is legal, what it means and what is complained of is as in ipvsadm 1.31;
//! the few differences are described in the project's `docs/compat.md`.
//!
//! Names of hosts and ports are looked up by the [`Resolver`] that the caller gives; [`Numeric`] knows none.

mod address;
mod check;
mod command;
mod config;
mod draft;
mod edit;
mod endpoint;
mod error;
mod fast_path;
mod flags;
mod number;
mod options;
mod read;
mod resolver;
mod scan;
mod tunnel;
mod words;
mod write;

pub use command::{Columns, Command, Listing, Subject};
pub use config::{Doubt, LineWarning, ReadConfig, read_config, write_config};
pub use edit::{edit_destination, edit_service};
pub use endpoint::write_endpoint;
pub use error::{Problem, ProblemKind, Reason};
#[cfg(feature = "serde")]
pub(crate) use flags::read_flags;
pub use flags::{FlagError, flag_names, parse_flags};
pub use options::{COMMANDS, CommandRow, OPTIONS, OptionRow, Value, Verb};
pub use read::{Line, LineError, Lines, parse, parse_posix};
pub use resolver::{Namer, Numeric, Resolver};
pub use write::{write_change, write_destination, write_service};
