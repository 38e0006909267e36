//! Plans between two random tables, applied to the kernel.

use ipvs::{Client, Config, apply};
use ipvs_tests::promises::{self, is_possible};
use ipvs_tests::property::holds;
use ipvs_tests::random;
use proptest::prelude::*;

use crate::client::ethernet;
use crate::model::empty;

ipvs_tests::tests! {
    promises_hold_after_each_change;
    apply_reaches_the_wanted_table;
}

/// Applies one change at a time and checks the promises after each.
fn promises_hold_after_each_change() {
    ethernet();
    holds(40, (random::two_tables(), random::options()), |((current, desired), options)| {
        let mut kernel = kernel_with(&current);
        prop_assume!(is_possible(&kernel.state().unwrap(), &desired, &options));
        promises::kept(&mut kernel, &desired, &options)
    });
}

/// Applies the whole plan; `apply` itself checks the result.
fn apply_reaches_the_wanted_table() {
    ethernet();
    holds(100, (random::two_tables(), random::options()), |((current, desired), options)| {
        let mut kernel = kernel_with(&current);
        prop_assume!(is_possible(&kernel.state().unwrap(), &desired, &options));
        match apply(&mut kernel, &desired, &options) {
            Ok(_) => Ok(()),
            Err(error) => Err(TestCaseError::fail(format!("{error}: {error:#?}"))),
        }
    });
}

/// Returns a client of a kernel with this table, except for changes that the kernel refuses.
fn kernel_with(config: &Config) -> Client {
    let mut kernel = empty();
    random::fill(&mut kernel, config);
    kernel
}
