//! The libraries, as programs use them.

mod examples;
mod scenarios;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [examples::tests(), scenarios::tests()].concat()
}
