//! Attacks: hostile files, names, links, signals, full disks, other namespaces and reboots. Most tests are attacks that
//! once succeeded. The others check that the defence permits ordinary use.

mod cost;
mod draining;
mod faults;
mod files;
mod identity;
mod lock;
mod net;
mod text;
mod wire;

use ipvs_tests::harness::Test;

/// Returns the tests of all attacks.
pub(crate) fn tests() -> Vec<Test> {
    [
        files::tests(),
        text::tests(),
        lock::tests(),
        draining::tests(),
        net::tests(),
        identity::tests(),
        cost::tests(),
        wire::tests(),
        faults::tests(),
    ]
    .concat()
}
