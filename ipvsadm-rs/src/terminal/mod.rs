//! Output, colours, the size of the terminal, exit codes, the system log, printed commands, and text from outside.

pub(crate) mod color;
pub(crate) mod commands;
pub(crate) mod exit;
pub(crate) mod plural;
pub(crate) mod question;
pub(crate) mod reader;
pub(crate) mod stdout;
pub(crate) mod syslog;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod width;
