//! ldirectord's configuration: ldirectord.cf → table.
//!
//! [`read`] returns the table that ldirectord makes while all its checks succeed. Checks, alerts and log files have no
//! counterpart in a table. They are listed as [notes](crate::convert::Note), and [`Managed`](crate::convert::Managed)
//! has what ldirectord changes when a check fails. Everything that is not understood is an error. Services and servers
//! pass through ipvsadm's language, as ldirectord passes them to ipvsadm.
//!
//! A file can describe at most 300,000 servers, because a short range describes many. At most 1000 errors are returned.
//! The size of the file and the time to resolve names are limited by the caller.
//!
//! ```
//! use ipvs::ldirectord::read;
//! use ipvs::rules::Numeric;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = b"checktimeout=3
//! virtual=192.0.2.1:80
//! \treal=10.0.0.1->10.0.0.2:8080 masq 3
//! \tscheduler=wlc
//! ";
//! let converted = read("ldirectord.cf", text, &mut Numeric)?;
//! assert_eq!(converted.config.services[0].destinations[1].to_string(), "-r 10.0.0.2:8080 -m -w 3");
//! assert_eq!(converted.notes[0].text, "checktimeout");
//! # Ok(())
//! # }
//! ```

mod endpoint;
mod lines;
mod section;
mod table;
#[cfg(test)]
mod tests;
mod values;

use crate::convert::{ConvertError, Converted, Report};
use crate::errors::Errors;
use crate::rules::Resolver;

/// Reads a configuration file. `name` is the name of the file, for positions.
///
/// Bytes that are not UTF-8 are replaced.
///
/// # Errors
///
/// Returns all errors: unknown directives, invalid values, names that cannot be resolved, and values that ipvsadm or the
/// kernel does not accept. Fails if there are more than 300,000 servers. Reading ends after 1000 errors, so that a name
/// server that does not answer is not asked further. The last error then says so.
pub fn read(name: &str, text: &[u8], resolver: &mut dyn Resolver) -> Result<Converted, Errors<ConvertError>> {
    let mut report = Report::default();
    let text = String::from_utf8_lossy(text);
    let file = lines::read(name, &text, &mut report);
    let (config, managed) = table::finish(file, resolver, &mut report);
    report.finish(config, managed)
}
