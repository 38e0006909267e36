//! Plans between any two tables, on a table in memory.

use ipvs::testing::promises::{self, is_possible};
use ipvs::testing::random;
use ipvs::{Director, Model};
use proptest::prelude::*;

proptest! {
    #[test]
    fn promises_are_kept((current, desired) in random::two_tables(), options in random::options()) {
        let mut director = Model::new();
        // Refused changes are not part of the table.
        director.submit(&random::steps(&current)).expect("valid");
        prop_assume!(is_possible(&director.state().expect("a model"), &desired, &options));
        promises::kept(&mut director, &desired, &options)?;
    }

    /// The plan from a table to itself is empty.
    #[test]
    fn the_plan_to_the_same_table_is_empty(current in random::config(), options in random::options()) {
        let mut director = Model::new();
        director.submit(&random::steps(&current)).expect("valid");
        let state = director.state().expect("a model");
        let plan = ipvs::plan(&ipvs::Config::from(&state), &state, &options);
        prop_assert_eq!(plan, ipvs::Plan::default());
    }
}
