//! `ipvs::Client`: what is asked for is what the kernel holds, and what the kernel holds is what is read.

mod services;

use ipvs_tests::harness::Test;

pub(crate) fn tests() -> Vec<Test> {
    [services::tests()].concat()
}
