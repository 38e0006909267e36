//! Random tables from bytes, and tables in documents.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use ipvs::testing::saved;
use ipvs::{Config, Service};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// Returns whether the bytes are the seed of random values, and not a text.
pub(crate) fn is_seed(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| !first.is_ascii())
}

/// Returns the random value of a seed. All bytes have an effect. `None` if no value could be generated.
pub(crate) fn random_value<S: Strategy>(values: &S, bytes: &[u8]) -> Option<S::Value> {
    let mut seed = [0; 32];
    for (part, chunk) in seed.chunks_mut(8).enumerate() {
        // `DefaultHasher::new` always has the same keys.
        let mut hasher = DefaultHasher::new();
        (part, bytes).hash(&mut hasher);
        chunk.copy_from_slice(&hasher.finish().to_ne_bytes());
    }
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(proptest::test_runner::Config::default(), random);
    Some(values.new_tree(&mut runner).ok()?.current())
}

/// Saves the table as JSON and as TOML, reads it and saves it again. Tables with names that are not UTF-8 are skipped,
/// because documents cannot express these names.
pub(crate) fn survives_in_documents(config: &Config) -> Result<(), TestCaseError> {
    let is_text = |name: &[u8]| std::str::from_utf8(name).is_ok();
    let is_service_text = |service: &Service| {
        is_text(service.scheduler.as_bytes()) && service.engine.is_none_or(|engine| is_text(engine.as_bytes()))
    };
    let daemons = config.daemons.iter().flatten().all(|daemon| is_text(daemon.interface.as_bytes()));
    if !daemons || !config.services.iter().all(|config| is_service_text(&config.service)) {
        return Ok(());
    }
    saved::in_a_document(config, "JSON", serde_json::to_string_pretty, |text| serde_json::from_str(text))?;
    saved::in_a_document(config, "TOML", toml::to_string, |text| toml::from_str(text))
}
