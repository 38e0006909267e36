//! The libraries, as programs use them.

mod examples;
mod namespaces;
mod scenarios;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [examples::tests(), namespaces::tests(), scenarios::tests()].concat()
}
