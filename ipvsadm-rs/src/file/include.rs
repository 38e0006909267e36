//! Files that a configuration of keepalived includes.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use glob::{MatchOptions, Pattern};
use ipvs::keepalived::{Include, IncludedFile};

use crate::file::limit::Limit;

/// The number of files that a configuration may include in total.
const MOST_FILES: usize = 1000;
/// The number of patterns that braces in a pattern may describe.
const MOST_PATTERNS: usize = 100;

/// Reads included files, up to a limit in total.
pub(super) struct Files {
    limit: Limit,
    total: usize,
    /// The files that were read, by name.
    pub(super) read: HashMap<String, Vec<u8>>,
    count: usize,
}

impl Files {
    pub(super) fn new(limit: Limit, main: usize) -> Self {
        Self { limit, total: main, read: HashMap::new(), count: 0 }
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // Opening a pipe would wait for its writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        self.limit.read_to_end(file, &mut bytes)?;
        self.total += bytes.len();
        self.limit.check(self.total, "the file with its included files")?;
        Ok(bytes)
    }
}

impl Include for Files {
    fn include(&mut self, pattern: &str, from: &str) -> Result<Vec<IncludedFile>, String> {
        let directory = Path::new(from).parent().and_then(Path::to_str).unwrap_or_default();
        let mut files = Vec::new();
        for pattern in alternatives(pattern)? {
            // In glob(3), several asterisks are one. Here they would mean all directories.
            let mut pattern = pattern;
            while pattern.contains("**") {
                pattern = pattern.replace("**", "*");
            }
            let pattern = match pattern.starts_with('/') || directory.is_empty() {
                true => pattern,
                false => format!("{}/{pattern}", Pattern::escape(directory)),
            };
            let options = MatchOptions {
                require_literal_separator: true,
                require_literal_leading_dot: true,
                ..MatchOptions::new()
            };
            let paths = glob::glob_with(&pattern, options).map_err(|error| error.to_string())?;
            for path in paths {
                let path = path.map_err(|error| error.to_string())?;
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
        std::fs::remove_dir_all(directory).expect("removable");
    }
}
