//! The properties of every saved table.

use std::fmt::Display;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::expressible;
use super::fields::same_table;
use crate::Config;
use crate::rules::{self, Numeric};

/// The code that reads a field from ipvsadm's language and writes it.
pub const RULES: &str = "the rows of options in ipvs/src/rules/options";
/// The code that reads a field from a document and writes it.
pub const DOCUMENTS: &str = "`From` and `read` in ipvs/src/document/{service,destination,daemon}.rs";

/// Returns the table in the rules format.
pub fn rules_of(config: &Config) -> Vec<u8> {
    let mut text = Vec::new();
    rules::write_config(&mut text, config);
    text
}

/// Saves the table in the rules format, reads it and saves it again. Checks that nothing is lost except settings that
/// the format cannot express.
///
/// # Errors
///
/// Returns the first property that is violated.
pub fn in_rules(config: &Config) -> Result<(), TestCaseError> {
    let nearest = expressible::table(config.clone());
    let text = rules_of(&nearest);
    let read = rules::read_config(&text, &mut Numeric).map(|read| read.config);
    prop_assert!(read.is_ok(), "{:?}", read);
    let read = read.expect("checked");
    same_table(&nearest, &read, "rules", RULES)?;
    prop_assert_eq!(rules_of(&read), text);
    in_rules_approximately(config)?;
    // A setting that the format cannot express does not damage other services.
    let Ok(read) = rules::read_config(&rules_of(config), &mut Numeric) else { return Ok(()) };
    prop_assert_eq!(read.config.services.len(), config.services.len());
    for (saved, nearest) in config.services.iter().zip(&nearest.services).filter(|(saved, nearest)| saved == nearest) {
        prop_assert!(read.config.services.contains(nearest), "{:?} became {:?}", saved, read.config.services);
    }
    Ok(())
}

/// Saves a table with any values in the rules format, which may be unable to express them. Checks that the text, if it
/// can be read, is saved as the same text again.
///
/// # Errors
///
/// Returns the property if it is violated.
pub fn in_rules_approximately(config: &Config) -> Result<(), TestCaseError> {
    let Ok(once) = rules::read_config(&rules_of(config), &mut Numeric) else { return Ok(()) };
    let again = rules::read_config(&rules_of(&once.config), &mut Numeric);
    prop_assert_eq!(again.map(|read| rules_of(&read.config)), Ok(rules_of(&once.config)));
    Ok(())
}

/// Saves the table as a document, reads it and saves it again. Checks that nothing is lost.
///
/// # Errors
///
/// Returns the first property that is violated.
pub fn in_a_document<W: Display, R: Display>(
    config: &Config,
    format: &str,
    write: impl Fn(&Config) -> Result<String, W>,
    read: impl Fn(&str) -> Result<Config, R>,
) -> Result<(), TestCaseError> {
    let failed = |error: String| TestCaseError::fail(format!("{format}: {error}: {config:?}"));
    let text = write(config).map_err(|error| failed(error.to_string()))?;
    let again = read(&text).map_err(|error| failed(error.to_string()))?;
    same_table(config, &again, format, DOCUMENTS)?;
    prop_assert_eq!(write(&again).map_err(|error| failed(error.to_string()))?, text);
    Ok(())
}
