//! The libraries, as programs use them.

mod director;
mod examples;
mod faults;
mod namespaces;
mod scenarios;
mod watch;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [director::tests(), examples::tests(), faults::tests(), namespaces::tests(), scenarios::tests(), watch::tests()]
        .concat()
}
