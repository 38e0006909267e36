//! ldirectord's configuration.

use ipvs::ldirectord::read;
use ipvs::rules::Numeric;

use super::keepalived::is_valid;

/// Reads a configuration.
pub fn ldirectord(bytes: &[u8]) -> bool {
    match read("file", bytes, &mut Numeric) {
        Ok(converted) => is_valid(&converted),
        Err(errors) => {
            let are_complete = errors
                .iter()
                .all(|error| error.position.line >= 1 && error.position.column >= 1 && !error.message.is_empty());
            assert!(are_complete && !errors.is_empty(), "{errors}");
            false
        }
    }
}
