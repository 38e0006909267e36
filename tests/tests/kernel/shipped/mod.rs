//! The other files that are shipped: resource agent, init script, unit and Debian package.

mod agent;
mod completions;
mod follow;
mod haresources;
mod init;
mod metrics;
mod package;
mod unit;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [
        agent::tests(),
        completions::tests(),
        follow::tests(),
        haresources::tests(),
        init::tests(),
        metrics::tests(),
        package::tests(),
        unit::tests(),
    ]
    .concat()
}
