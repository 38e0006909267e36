//! Property tests on a real kernel, and the number of their repetitions.

use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Returns the number in an environment variable, or `default` if it is not set. Panics if it is not a number.
#[track_caller]
pub fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}

/// Runs a property with `cases` random values, or with `PROPTEST_CASES` if that is set.
///
/// Panics if the property fails, with the smallest failing value found within 20 s and the `IPVS_SEED` that repeats it.
#[track_caller]
pub fn holds<S: Strategy>(cases: u32, values: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seed = match std::env::var("IPVS_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("IPVS_SEED={text} is not a number")),
        // The only source of random numbers in std.
        Err(_) => RandomState::new().hash_one(()),
    };
    let given = Config::default();
    let config = Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases },
        rng_seed: RngSeed::Fixed(seed),
        // A guest has no disk for such a file.
        failure_persistence: None,
        max_shrink_time: 20_000,
        ..given
    };
    if let Err(error) = TestRunner::new(config).run(&values, property) {
        panic!("{error}\nto repeat it: IPVS_SEED={seed}");
    }
}
