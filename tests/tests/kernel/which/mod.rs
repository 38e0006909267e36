//! `ipvsadm-rs which`: the server that it prints for each client, compared with the server that replies.

mod compare;
mod entries;
mod farm;
mod hashes;
mod module;

/// Returns the tests of this module.
pub(crate) fn tests() -> Vec<ipvs_tests::harness::Test> {
    [hashes::tests(), entries::tests(), compare::tests(), module::tests()].concat()
}
