//! Tables that are saved, read and saved again.

use ipvs::document::Document;
use ipvs::rules::{Numeric, read_config};
use ipvs::testing::{random, saved};

use super::holds;
use crate::tables::{is_seed, random_value, survives_in_documents};

/// Takes a table: a random one, one from a rules file, or one from a document. Saves it in all formats, reads it and
/// saves it again.
pub fn saved_tables(bytes: &[u8]) -> bool {
    if is_seed(bytes) {
        let Some(config) = random_value(&random::config(), bytes) else { return false };
        return holds(saved::in_rules(&config)) && holds(survives_in_documents(&config));
    }
    if let Ok(read) = read_config(bytes, &mut Numeric)
        && read.lines > 0
    {
        return holds(saved::in_rules(&read.config)) && holds(survives_in_documents(&read.config));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let document = serde_json::from_str::<Document>(text).ok().or_else(|| toml::from_str(text).ok());
    let Some((config, _)) = document.and_then(|document| document.to_config().ok()) else { return false };
    holds(saved::in_rules_approximately(&config)) && holds(survives_in_documents(&config))
}
