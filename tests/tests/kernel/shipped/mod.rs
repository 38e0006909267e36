//! What is shipped beside the programs, for operators: the resource agent, the init script, the units, the package.

mod agent;

use ipvs_tests::harness::Test;

/// The tests of all of it.
pub(crate) fn tests() -> Vec<Test> {
    agent::tests()
}
