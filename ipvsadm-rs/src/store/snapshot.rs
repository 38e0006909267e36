//! The documents of a store at one moment.

use std::fmt::Write as _;

use anyhow::ensure;
use ring::digest::{Context, SHA256};

use crate::terminal::text;

/// The maximum number of documents. A document has at least one service.
pub(super) const MOST: usize = 10_000;

/// The documents of a store at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// The newest revision of a document in etcd or Consul, the ETag or the date of a web page, and otherwise the
    /// [`digest`](Self::digest). A deletion may leave it as it was, so only the digest identifies the contents.
    pub(crate) revision: String,
    /// Sorted by name. Empty: the key, the file or the page does not exist.
    pub(crate) documents: Vec<StoredDocument>,
    digest: String,
}

/// A document and its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredDocument {
    /// The key, path or URL. Names are untrusted text.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Snapshot {
    /// Sorts the documents. Without a revision, the digest is the revision. Fails if there are too many documents.
    pub(crate) fn new(revision: Option<String>, mut documents: Vec<StoredDocument>) -> anyhow::Result<Self> {
        ensure!(documents.len() <= MOST, "there are more than {MOST} documents");
        documents.sort_by(|a, b| a.name.cmp(&b.name));
        let digest = digest(&documents);
        let revision = revision.filter(|revision| !revision.is_empty()).unwrap_or_else(|| digest.clone());
        Ok(Self { revision, documents, digest })
    }

    /// Returns the first 16 hexadecimal digits of a SHA-256 of names and contents. It is the same on all directors.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

fn digest(documents: &[StoredDocument]) -> String {
    let mut context = Context::new(&SHA256);
    for document in documents {
        for part in [document.name.as_bytes(), &document.bytes] {
            // The lengths keep apart what would otherwise be the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    context.finish().as_ref().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Fails unless `name` can be one component of a key, a path and a URL.
pub(super) fn ensure_component(name: &str) -> anyhow::Result<()> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@".contains(&byte);
    ensure!(
        !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(is_allowed),
        "{} is not a name of a document: only letters, digits and ._-:@ are allowed, and no dot at the start",
        text::escaped(name)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, bytes: &str) -> StoredDocument {
        StoredDocument { name: name.into(), bytes: bytes.into() }
    }

    #[test]
    fn digests_tell_contents_apart() {
        let digest = |documents| Snapshot::new(None, documents).expect("few").revision;
        let one = digest(vec![document("a", "1"), document("b", "2")]);
        assert_eq!(one, digest(vec![document("b", "2"), document("a", "1")]));
        assert_eq!(one.len(), 16);
        for other in [vec![document("a", "1b2")], vec![document("a1", "b2")], vec![], vec![document("a", "")]] {
            assert_ne!(one, digest(other));
        }
        // The first digits of `sha256sum /dev/null`.
        assert_eq!(digest(vec![]), "e3b0c44298fc1c14");
    }

    #[test]
    fn the_number_of_documents_is_limited() {
        let documents = vec![document("a", ""); MOST + 1];
        let error = Snapshot::new(None, documents).expect_err("too many").to_string();
        assert_eq!(error, "there are more than 10000 documents");
    }

    #[test]
    fn names_have_one_component() {
        for name in ["lb1", "lb1.example.org", "2001:db8::1", "a@b_c-d"] {
            ensure_component(name).expect(name);
        }
        for name in ["", ".", "..", ".x", "a/b", "a b", "a\n", "ä", "a%2f", "a?b", &"x".repeat(256)] {
            ensure_component(name).expect_err(name);
        }
    }
}
