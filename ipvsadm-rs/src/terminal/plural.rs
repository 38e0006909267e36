//! Numbers with nouns.

use std::fmt::Display;

/// Returns a number and its noun: `1 error`, `2 errors`.
pub(crate) fn count(number: impl Display + PartialEq + From<u8>, noun: &str) -> String {
    let ending = if number == 1.into() { "" } else { "s" };
    format!("{number} {noun}{ending}")
}
