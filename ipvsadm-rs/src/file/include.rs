//! Files that a configuration of keepalived includes.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use ipvs::keepalived::{Include, IncludedFile};

use crate::file::limit::Limit;
use crate::file::open;

/// The number of files that a configuration may include in total.
const MOST_FILES: usize = 1000;
/// The number of patterns that braces in a pattern may describe.
const MOST_PATTERNS: usize = 100;
/// The number of names that all patterns together may be compared with. `/*/*/*/*` would read a whole file system.
const MOST_NAMES: usize = 20_000;

/// Reads included files, up to a limit in total.
pub(super) struct Files {
    limit: Limit,
    total: usize,
    /// The files that were read, by name.
    pub(super) read: HashMap<String, Vec<u8>>,
    count: usize,
    /// The number of names that were compared with patterns.
    names: usize,
    /// The configuration comes from another machine. It can include nothing.
    pub(super) is_remote: bool,
}

impl Files {
    pub(super) fn new(limit: Limit, main: usize) -> Self {
        Self { limit, total: main, read: HashMap::new(), count: 0, names: 0, is_remote: false }
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.limit.read_to_end(open::regular(path)?, &mut bytes)?;
        self.total += bytes.len();
        self.limit.check(self.total, "the file with its included files")?;
        Ok(bytes)
    }

    /// Returns the files whose path matches a pattern, sorted by their path.
    fn find(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let start = if pattern.starts_with('/') { "/" } else { "" };
        let mut found = vec![PathBuf::from(start)];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for path in found {
                if part.contains(['*', '?', '[']) {
                    self.matches(&path, part, &mut next)?;
                } else {
                    self.count_name()?;
                    next.push(path.join(part));
                }
            }
            found = next;
        }
        // A broken link is found, and reading it fails.
        found.retain(|path| fs::symlink_metadata(path).is_ok());
        found.sort();
        Ok(found)
    }

    /// Adds the names in a directory that match a part of a pattern.
    fn matches(&mut self, directory: &Path, part: &str, found: &mut Vec<PathBuf>) -> Result<(), String> {
        const OPTIONS: MatchOptions =
            MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
        let pattern = Pattern::new(part).map_err(|error| error.to_string())?;
        let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let failed = |error: io::Error| format!("cannot read the directory {}: {error}", place.display());
        let entries = match fs::read_dir(place) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            self.count_name()?;
            let name = entry.map_err(failed)?.file_name();
            if pattern.matches_with(&name.to_string_lossy(), OPTIONS) {
                found.push(directory.join(name));
            }
        }
        Ok(())
    }

    fn count_name(&mut self) -> Result<(), String> {
        self.names += 1;
        if self.names > MOST_NAMES {
            return Err(format!("the patterns were compared with more than {MOST_NAMES} names"));
        }
        Ok(())
    }
}

impl Include for Files {
    fn include(&mut self, pattern: &str, from: &str) -> Result<Vec<IncludedFile>, String> {
        if self.is_remote {
            return Err("a document of a store cannot include files of this machine".into());
        }
        // The working directory may belong to another user.
        if from == "-" && !pattern.starts_with('/') {
            return Err("standard input has no directory for a relative path\n\
                        Specify the file by its name, or include an absolute path."
                .into());
        }
        // Bytes that are not UTF-8 were replaced. The result can be the name of another directory.
        if from.contains(char::REPLACEMENT_CHARACTER) && !pattern.starts_with('/') {
            return Err("the path of this file is not UTF-8".into());
        }
        let directory = Path::new(from).parent().and_then(Path::to_str).unwrap_or_default();
        let mut files = Vec::new();
        for pattern in alternatives(pattern)? {
            // Here, a backslash would be a part of the name.
            if pattern.contains('\\') {
                return Err("a backslash in a pattern is not supported".into());
            }
            // In glob(3), several asterisks are one. Here they would be an error.
            let mut pattern = pattern;
            while pattern.contains("**") {
                pattern = pattern.replace("**", "*");
            }
            let pattern = match pattern.starts_with('/') || directory.is_empty() {
                true => pattern,
                false => format!("{}/{pattern}", Pattern::escape(directory)),
            };
            for path in self.find(&pattern)? {
                let name = path.to_str().ok_or("a name is not UTF-8")?.to_owned();
                self.count += 1;
                if self.count > MOST_FILES {
                    return Err(format!("more than {MOST_FILES} files are included"));
                }
                let text = self.read(&path).map_err(|error| format!("{name}: {error}"))?;
                self.read.insert(name.clone(), text.clone());
                files.push(IncludedFile { name, text });
            }
        }
        Ok(files)
    }
}

/// Returns the patterns that a pattern with braces describes: `{a,b}.conf` is `a.conf` and `b.conf`.
fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut open = vec![pattern.to_owned()];
    let mut complete = Vec::new();
    while let Some(pattern) = open.pop() {
        if complete.len() + open.len() > MOST_PATTERNS {
            return Err(format!("the pattern has more than {MOST_PATTERNS} alternatives"));
        }
        match braces(&pattern) {
            None => complete.push(pattern),
            Some((before, parts, after)) => {
                open.extend(parts.iter().rev().map(|part| format!("{before}{part}{after}")));
            }
        }
    }
    Ok(complete)
}

/// Returns the parts of the first braces, with the texts before and after them. `None`: there are no complete braces.
fn braces(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let start = pattern.find('{')?;
    let (mut depth, mut part, mut parts) = (0, start + 1, Vec::new());
    for (at, c) in pattern.char_indices().skip_while(|(at, _)| *at < start) {
        match c {
            '{' => depth += 1,
            ',' if depth == 1 => {
                parts.push(&pattern[part..at]);
                part = at + 1;
            }
            '}' if depth == 1 => {
                parts.push(&pattern[part..at]);
                return Some((&pattern[..start], parts, &pattern[at + 1..]));
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_have_alternatives() {
        let of = |pattern| alternatives(pattern).expect("few");
        assert_eq!(of("a"), ["a"]);
        assert_eq!(of("{a,b}.conf"), ["a.conf", "b.conf"]);
        assert_eq!(of("x/{foo/{,cat,dog},bar}"), ["x/foo/", "x/foo/cat", "x/foo/dog", "x/bar"]);
        assert_eq!(of("{a"), ["{a"]);
        assert!(alternatives(&"{a,b}".repeat(30)).is_err());
    }

    #[test]
    fn standard_input_has_no_directory() {
        let mut files = Files::new(Limit::default(), 0);
        assert!(files.include("a.conf", "-").is_err_and(|error| error.starts_with("standard input has no directory")));
        assert_eq!(files.include("/nowhere/*.conf", "-"), Ok(Vec::new()));
    }

    #[test]
    fn remote_documents_include_nothing() {
        let mut files = Files::new(Limit::default(), 0);
        files.is_remote = true;
        assert!(files.include("/etc/passwd", "etcd").is_err());
    }

    #[test]
    fn files_are_bounded() {
        let directory = std::env::temp_dir().join(format!("ipvsadm-rs-include-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("sub.d")).expect("writable");
        for (name, text) in [("b.conf", "bb"), ("a.conf", "aa"), (".c.conf", "cc")] {
            std::fs::write(directory.join(name), text).expect("writable");
        }
        let main = directory.join("main").to_str().expect("UTF-8").to_owned();
        let include = |limit: &str, pattern: &str| {
            let mut files = Files::new(limit.parse().expect("a limit"), 0);
            files.include(pattern, &main).map(|files| files.iter().map(|file| file.text.clone()).collect::<Vec<_>>())
        };
        assert_eq!(include("1K", "*.conf"), Ok(vec![b"aa".to_vec(), b"bb".to_vec()]));
        assert_eq!(include("1K", "none*"), Ok(Vec::new()));
        assert!(include("3", "*.conf").is_err_and(|error| error.ends_with("is longer than 3 bytes")));
        assert!(include("1K", "sub.d").is_err_and(|error| error.ends_with("not a regular file")));
        assert_eq!(include("1K", "s*.d/../[a]?conf"), Ok(vec![b"aa".to_vec()]));
        assert_eq!(include("1K", "*/none"), Ok(Vec::new()));
        // The names are counted in all patterns together.
        let mut files = Files::new(Limit::default(), 0);
        let counted = (0..=MOST_NAMES).find_map(|_| files.include("*.none", &main).err());
        assert_eq!(counted.as_deref(), Some("the patterns were compared with more than 20000 names"));
        std::fs::remove_dir_all(directory).expect("removable");
    }
}
