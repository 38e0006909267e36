//! Tables for the tests of plans.

use ipvs::rules::{Numeric, read_config};
use ipvs::{Config, State};

use super::reversal::state_of;

/// Returns the table that these rules describe.
pub(crate) fn config(rules: &str) -> Config {
    read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config
}

/// Returns the same table as if it had been read.
pub(crate) fn state(rules: &str) -> State {
    state_of(&config(rules)).expect("arrives")
}
