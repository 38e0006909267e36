//! Times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Returns a time in the form of RFC 3339 as `2026-11-27 16:02:11` in the time zone of this machine. Returns other texts
/// as they are, with control characters escaped.
pub(crate) fn local(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => crate::terminal::text::escaped(time).into_owned(),
    }
}

/// Returns the same with the name of the time zone.
pub(crate) fn local_with_zone(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        Err(_) => local(time),
    }
}
