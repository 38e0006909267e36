//! The libraries, as programs use them.

mod connections;
mod director;
mod drain;
mod examples;
mod faults;
mod namespaces;
mod scenarios;
mod watch;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [
        connections::tests(),
        director::tests(),
        drain::tests(),
        examples::tests(),
        faults::tests(),
        namespaces::tests(),
        scenarios::tests(),
        watch::tests(),
    ]
    .concat()
}
