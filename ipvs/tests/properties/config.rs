//! Whole tables as text, in both directions.

use ipvs::Config;
#[cfg(feature = "serde")]
use ipvs::document::Document;
use ipvs::rules::{self, ConfigWarning, Numeric};
use ipvs::testing::saved::{self, rules_of};
use ipvs::testing::{expressible, random};
#[cfg(feature = "serde")]
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(feature = "serde")]
use proptest::sample::Index;

proptest! {
    /// A kernel's table can have values that the language cannot express. Such values are written approximately, and
    /// the lines can be read.
    #[test]
    fn rules_round_trip(config in random::config()) {
        saved::in_rules(&config)?;
    }

    /// If every line occurs twice, the table is the same, and each repeated line has a warning.
    #[test]
    fn repeated_lines_are_warnings(config in expressible::config()) {
        let text = rules_of(&Config { order: ipvs::Order::Any, ..config.clone() });
        let twice = [&text[..], &text[..]].concat();
        let read = rules::read_config(&twice, &mut Numeric).expect("reads");
        prop_assert_eq!(read.config.services, config.services);
        prop_assert_eq!(read.config.daemons, config.daemons.clone());
        let repeated = read.warnings.iter().filter(|(_, warning)| matches!(warning, ConfigWarning::Repeated(_))).count();
        // Timeouts can be set several times.
        let expected = read.lines / 2 - usize::from(config.timeouts.is_some());
        prop_assert_eq!(repeated, expected);
    }
}

#[cfg(feature = "serde")]
proptest! {
    #[test]
    fn json_round_trips(config in random::config()) {
        saved::in_a_document(&config, "JSON", serde_json::to_string_pretty, |text| serde_json::from_str(text))?;
    }

    /// A document with changed characters is read, or has errors with a message. If it is read, it can be written.
    #[test]
    fn damaged_json_is_read_or_explained(config in random::config(), changes in vec((any::<Index>(), "[0-9a-z\"{}:,. -]"), 1..6)) {
        let mut json: Vec<char> = serde_json::to_string(&config).expect("writes").chars().collect();
        for (at, to) in changes {
            let at = at.index(json.len());
            json.splice(at..=at, to.chars());
        }
        let json: String = json.into_iter().collect();
        let Ok(document) = serde_json::from_str::<Document>(&json) else { return Ok(()) };
        match document.to_config() {
            Ok((config, _)) => {
                let again = Document::from(&config).to_config().expect("reads what it wrote").0;
                prop_assert_eq!(again, config, "{}", json);
            }
            Err(problems) => prop_assert!(problems.iter().all(|problem| !problem.to_string().is_empty())),
        }
    }
}
