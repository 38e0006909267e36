//! Parts of the language that only ipvsadm-rs needs: its help, manual, completions and listings.
//!
//! They are not part of the API, and can change in any release. ipvsadm-rs depends on an exact version of this crate.

pub use super::endpoint::write_endpoint;
pub use super::flags::flag_names;
pub use super::options::{COMMANDS, CommandRow, OPTIONS, OptionRow, Value, Verb};
pub use super::read::parse_posix;
