//! ldirectord's configuration.

use ipvs::ldirectord::read;
use ipvs::rules::Numeric;

use super::keepalived::check;

/// Reads a configuration.
pub fn ldirectord(bytes: &[u8]) -> bool {
    check(read("file", bytes, &mut Numeric))
}
