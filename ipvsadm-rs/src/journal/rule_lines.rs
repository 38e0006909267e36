//! Changes as lines of ipvsadm.

use ipvs::Change;
use ipvs::rules::{Command, Lines, Numeric, write_change};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Changes as lines of ipvsadm. In JSON, they are an array of texts. They are kept as one text, because a large plan has
/// many thousands of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RuleLines(String);

impl RuleLines {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }

    /// Returns the number of changes.
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(crate) fn contains(&self, line: &str) -> bool {
        self.iter().any(|own| own == line)
    }

    /// Returns the changes that ipvsadm's language can express. The others are comments.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut numeric = Numeric;
        let lines = Lines::new(self.0.as_bytes(), &mut numeric);
        lines
            .filter_map(|line| if let Command::Change(change) = line.ok()?.command { Some(change) } else { None })
            .collect()
    }
}

impl<'c> FromIterator<&'c Change> for RuleLines {
    fn from_iter<I: IntoIterator<Item = &'c Change>>(changes: I) -> Self {
        /// The usual length of a line.
        const USUAL: usize = 64;
        let changes = changes.into_iter();
        let mut text = Vec::with_capacity(changes.size_hint().0 * USUAL);
        for change in changes {
            write_change(&mut text, change);
            text.push(b'\n');
        }
        Self(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}

impl<'l> FromIterator<&'l str> for RuleLines {
    fn from_iter<I: IntoIterator<Item = &'l str>>(lines: I) -> Self {
        Self(lines.into_iter().flat_map(|line| [line, "\n"]).collect())
    }
}

impl Serialize for RuleLines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for RuleLines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lines: Vec<String> = Deserialize::deserialize(deserializer)?;
        Ok(lines.iter().map(String::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use ipvs::{Protocol, ServiceKey};

    use super::*;

    #[test]
    fn are_an_array_in_json() {
        let delete = |protocol| Change::DeleteService(ServiceKey::new(protocol, [192, 0, 2, 1], 80));
        let changes = [delete(Protocol::Tcp), delete(Protocol::Other(99)), Change::Flush];
        let lines: RuleLines = changes.iter().collect();
        let json = serde_json::to_string(&lines).unwrap();
        assert_eq!(
            json,
            r##"["-D -t 192.0.2.1:80","# ipvsadm cannot express: delete service protocol 99 192.0.2.1:80","-C"]"##
        );
        let read: RuleLines = serde_json::from_str(&json).unwrap();
        assert_eq!((&read, read.len(), read.changes()), (&lines, 3, vec![delete(Protocol::Tcp), Change::Flush]));
        assert_eq!(serde_json::to_string(&RuleLines::default()).unwrap(), "[]");
    }
}
