//! A revision of the source: its documents, as one wanted table.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use ipvs::{Config, Order, ServiceKey};
use serde::{Deserialize, Serialize};

use crate::file::{self, DaemonOptions, Format};
use crate::store::Snapshot;
use crate::terminal::plural::count;
use crate::terminal::text;

/// The contents of a revision. Equal contents have equal digests on all directors, whatever the store counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digest(String);

/// Formats the first 8 digits, which suffice for people.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::escaped(self.0.get(..8).unwrap_or(&self.0)))
    }
}

#[cfg(test)]
impl From<&str> for Digest {
    fn from(digits: &str) -> Self {
        Self(digits.to_owned())
    }
}

/// The name of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevisionId {
    /// The revision as the store counts: a number, an ETag or a time.
    pub(crate) revision: String,
    pub(crate) digest: Digest,
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.to_string();
        // A file has no other name for its revisions.
        if self.revision.starts_with(&digest) {
            return f.write_str(&digest);
        }
        write!(f, "{} ({digest})", text::escaped(&self.revision))
    }
}

/// A revision that can be applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Revision {
    pub(super) id: RevisionId,
    pub(super) config: Config,
}

/// A revision that cannot be applied, with the reason.
#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) id: RevisionId,
    pub(super) reason: String,
}

/// How documents are read.
pub(super) struct Reader {
    pub(super) format: Option<Format>,
    pub(super) options: DaemonOptions,
    /// Documents with warnings are valid.
    pub(super) allow_warnings: bool,
    /// Documents without services are valid.
    pub(super) allow_empty: bool,
}

impl Reader {
    /// Reads the documents of a snapshot. All of them are one table.
    pub(super) fn read(&self, snapshot: &Snapshot) -> Result<Revision, Invalid> {
        let id = RevisionId { revision: snapshot.revision.clone(), digest: Digest(snapshot.digest().to_owned()) };
        match self.table(snapshot) {
            Ok(config) => Ok(Revision { id, config }),
            Err(reason) => Err(Invalid { id, reason }),
        }
    }

    fn table(&self, snapshot: &Snapshot) -> Result<Config, String> {
        // Also with --allow-empty: a deleted file or prefix is more often a mistake than a wish.
        if snapshot.documents.is_empty() {
            return Err("the source does not exist".to_owned());
        }
        let mut whole = Whole::default();
        for document in &snapshot.documents {
            let part = self.document(&document.name, &document.bytes)?;
            whole.add(part).map_err(|error| format!("{}: {error}", text::escaped(&document.name)))?;
        }
        let Whole { config, .. } = whole;
        if config.services.is_empty() && !self.allow_empty {
            return Err("no document contains a service".to_owned());
        }
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn document(&self, name: &str, bytes: &[u8]) -> Result<Config, String> {
        let input = file::parse(Path::new(name), self.format, bytes, &self.options);
        let config = input.config.map_err(|errors| first(&errors, &input.name, "error"))?;
        if !input.warnings.is_empty() && !self.allow_warnings {
            return Err(first(&input.warnings, &input.name, "warning"));
        }
        Ok(config)
    }
}

/// Returns the first diagnostic as a line, and the number of the others.
fn first(found: &[file::diagnostic::Diagnostic], name: &str, kind: &str) -> String {
    let line = found.first().map(|first| first.show_line(name, kind)).unwrap_or_default();
    match found.len().saturating_sub(1) {
        0 => line,
        others => format!("{line} (and {})", count(others, "more")),
    }
}

/// The table of several documents.
#[derive(Default)]
struct Whole {
    config: Config,
    services: HashSet<ServiceKey>,
}

impl Whole {
    /// Adds the services and settings of a document. Fails if an earlier document has the same service, or other
    /// settings.
    fn add(&mut self, document: Config) -> Result<(), String> {
        let Config { services, timeouts, daemons, order } = document;
        for service in services {
            let key = service.service.key;
            if !self.services.insert(key) {
                return Err(format!("service {key} is also in another document"));
            }
            self.config.services.push(service);
        }
        if order == Order::Kernel {
            self.config.order = order;
        }
        set_once(&mut self.config.timeouts, timeouts, "timeouts")?;
        set_once(&mut self.config.daemons, daemons, "sync daemons")
    }
}

fn set_once<T: PartialEq>(whole: &mut Option<T>, part: Option<T>, name: &str) -> Result<(), String> {
    match (whole.as_ref(), part) {
        (_, None) => {}
        (None, part) => *whole = part,
        (Some(known), Some(part)) if *known == part => {}
        _ => return Err(format!("other {name} than in another document")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredDocument;

    fn snapshot(documents: &[(&str, &str)]) -> Snapshot {
        let documents = documents
            .iter()
            .map(|(name, text)| StoredDocument { name: (*name).to_owned(), bytes: text.as_bytes().to_vec() });
        Snapshot::new(Some("7".to_owned()), documents.collect()).expect("few")
    }

    fn reader() -> Reader {
        let options = DaemonOptions::default();
        Reader { format: None, options, allow_warnings: false, allow_empty: false }
    }

    fn reason(documents: &[(&str, &str)]) -> String {
        reader().read(&snapshot(documents)).expect_err("not valid").reason
    }

    const WEB: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m\n";

    #[test]
    fn documents_are_one_table() {
        let dns = "[[services]]\nprotocol = \"udp\"\naddress = \"192.0.2.1\"\nport = 53\nscheduler = \"rr\"\n\
                   [[services.destinations]]\naddress = \"10.0.0.1\"\nport = 53\nweight = 1\nforwarding = \"masquerade\"\n";
        let read = reader().read(&snapshot(&[("dns.toml", dns), ("web", WEB)])).expect("two services");
        assert_eq!(read.config.services.len(), 2);
        assert_eq!(read.id.revision, "7");
        let joined = format!("{dns}{WEB}");
        assert_ne!(
            reader().read(&snapshot(&[("a", WEB)])).expect("one").id.digest,
            Digest(snapshot(&[("a", &joined)]).digest().to_owned())
        );
    }

    #[test]
    fn documents_that_say_nothing_are_invalid() {
        assert_eq!(reason(&[]), "the source does not exist");
        assert_eq!(reason(&[("web", "")]), "no document contains a service");
        assert_eq!(reason(&[("web.json", "{\"services\": []}")]), "no document contains a service");
        let reader = Reader { allow_empty: true, ..reader() };
        assert_eq!(reader.read(&snapshot(&[("web", "")])).expect("empty").config.services.len(), 0);
        assert_eq!(reader.read(&snapshot(&[])).expect_err("absent").reason, "the source does not exist");
    }

    #[test]
    fn errors_and_warnings_are_reported() {
        assert_eq!(reason(&[("a", WEB), ("b", WEB)]), "b: service TCP 192.0.2.1:80 is also in another document");
        let error = reason(&[("web", "-A -t 192.0.2.1:80 -s rr\n-a -t nowhere\n-x\n")]);
        assert!(error.starts_with("web:2:") && error.ends_with("(and 1 more)"), "{error}");
        let error = reason(&[("web\x1b", "-x")]);
        assert!(!error.contains('\x1b'), "{error}");
        let timeouts = reason(&[("a", "--set 1 2 3\n"), ("b", "--set 1 2 4\n")]);
        assert_eq!(timeouts, "b: other timeouts than in another document");
    }
}
