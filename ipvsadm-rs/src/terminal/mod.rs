//! Output, colours, exit codes and the system log.

pub(crate) mod color;
pub(crate) mod exit;
pub(crate) mod plural;
pub(crate) mod stdout;
pub(crate) mod syslog;
