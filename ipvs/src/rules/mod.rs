//! ipvsadm's language: its command lines and save files.
//!
//! [`parse`] reads the words of a command line, [`Lines`] the lines of a text, and [`read_config`] a text as a table.
//! The `write_…` functions and `Display` of [`Change`](crate::Change) write lines. [`edit_service`] and
//! [`edit_destination`] apply options to existing values. The options that a command accepts, their meaning and the
//! error messages are those of ipvsadm 1.31. The few differences are listed in the project's `docs/compat.md`.
//!
//! The caller passes a [`Resolver`] for the names of hosts and ports. [`Numeric`] knows no names.

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
mod from_str;
mod line_writer;
mod number;
mod options;
#[doc(hidden)]
pub mod program;
mod read;
mod resolver;
mod scan;
mod tunnel;
mod value_error;
mod words;
mod write;

pub use command::{Columns, Command, Listing, Subject};
pub use config::{ConfigWarning, ReadConfig, read_config, write_config};
pub use edit::{edit_destination, edit_service};
pub use error::ParseError;
#[cfg(feature = "serde")]
pub(crate) use flags::read_flags;
pub use read::{Line, LineError, Lines, parse};
pub use resolver::{HostError, Namer, Numeric, Resolver};
pub use value_error::ValueError;
pub use write::{write_change, write_destination, write_service};
