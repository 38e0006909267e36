//! JSON and TOML documents.

use ipvs::document::Document;

use super::holds;
use crate::tables::survives_in_documents;

/// Reads a document as JSON and as TOML. A document that was read can be written, and is read again as the same table.
pub fn documents(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let documents = [serde_json::from_str::<Document>(text).ok(), toml::from_str::<Document>(text).ok()];
    let mut parsed = false;
    for document in documents.into_iter().flatten() {
        match document.to_config() {
            Ok((config, _)) => parsed |= holds(survives_in_documents(&config)),
            Err(problems) => assert!(problems.iter().all(|problem| !problem.to_string().is_empty())),
        }
    }
    parsed
}
