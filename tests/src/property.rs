//! Properties on a real kernel.

use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Tries a property with so many random values (`PROPTEST_CASES`). Of a failure the smallest value is shown that could
/// be found in some seconds, and the seed that finds it again (`IPVS_SEED`).
#[track_caller]
pub fn holds<S: Strategy>(cases: u32, values: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seed = match std::env::var("IPVS_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("IPVS_SEED={text} is not a number")),
        // The only random number that std has.
        Err(_) => RandomState::new().hash_one(()),
    };
    let given = Config::default();
    let config = Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases },
        rng_seed: RngSeed::Fixed(seed),
        // A guest keeps nothing.
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..given
    };
    if let Err(error) = TestRunner::new(config).run(&values, property) {
        panic!("{error}\nIPVS_SEED={seed} finds it again");
    }
}
