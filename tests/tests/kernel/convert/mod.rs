//! Configurations of keepalived and ldirectord: `convert`, `diff`, and the table that the daemons make.

mod daemons;
mod files;
mod keepalived;
mod ldirectord;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [files::tests(), keepalived::tests(), ldirectord::tests()].concat()
}
