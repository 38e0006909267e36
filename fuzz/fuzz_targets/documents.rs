//! JSON and TOML documents.

#![no_main]

use ipvs::document::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let documents = [serde_json::from_str::<Document>(text).ok(), toml::from_str::<Document>(text).ok()];
    for document in documents.into_iter().flatten() {
        match document.to_config() {
            // A document that was read can be written, and is read again as the same table.
            Ok((config, _)) => {
                let json = serde_json::to_string(&Document::from(&config)).expect("writes");
                let again: Document = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
                let (again, _) = again.to_config().unwrap_or_else(|problems| panic!("{json}: {problems:?}"));
                assert_eq!(again, config, "{json}");
                let toml = toml::to_string(&Document::from(&config)).expect("writes");
                let again: Document = toml::from_str(&toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
                assert_eq!(again.to_config().expect("reads").0, config, "{toml}");
            }
            Err(problems) => assert!(problems.iter().all(|problem| !problem.to_string().is_empty())),
        }
    }
});
