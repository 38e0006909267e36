//! What is shipped beside the programs, for operators: the resource agent, the init script, the unit, the package.

mod agent;
mod init;
mod package;
mod unit;

use ipvs_tests::harness::Test;

/// The tests of all of it.
pub(crate) fn tests() -> Vec<Test> {
    [agent::tests(), init::tests(), package::tests(), unit::tests()].concat()
}
