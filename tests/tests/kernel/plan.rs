//! Plans between any two tables, carried out on the kernel.

use ipvs::{Client, Config, Director, apply};
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

/// One change at a time.
fn promises_hold_after_each_change() {
    ethernet();
    holds(40, (random::two_tables(), random::options()), |((current, desired), options)| {
        let mut kernel = holding(&current);
        prop_assume!(is_possible(&kernel.state().unwrap(), &desired, &options));
        promises::kept(&mut kernel, &desired, &options)
    });
}

/// All at once.
fn apply_reaches_the_wanted_table() {
    ethernet();
    holds(100, (random::two_tables(), random::options()), |((current, desired), options)| {
        let mut kernel = holding(&current);
        prop_assume!(is_possible(&kernel.state().unwrap(), &desired, &options));
        match apply(&mut kernel, &desired, &options) {
            Ok(_) => Ok(()),
            Err(error) => Err(TestCaseError::fail(format!("{error}: {error:#?}"))),
        }
    });
}

/// The kernel with that table; what was refused is not there.
fn holding(config: &Config) -> Client {
    let mut kernel = empty();
    kernel.submit(&random::steps(config)).unwrap();
    kernel
}
