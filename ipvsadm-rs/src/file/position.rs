//! Where in a document paths such as `services[2].destinations[0]` stand: the offsets of all of them, in one pass.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

/// Offsets by path; a path that is not there has none.
pub(crate) type Places = HashMap<String, usize>;

/// The paths' offsets in a TOML text.
pub(crate) fn in_toml(text: &str, paths: &HashSet<&str>) -> Places {
    match DeTable::parse(text) {
        Ok(table) => {
            let place = |path: &&str| Some((path.to_string(), in_table(table.get_ref(), path)?));
            paths.iter().filter_map(place).collect()
        }
        Err(_) => Places::new(),
    }
}

fn in_table(mut table: &DeTable<'_>, path: &str) -> Option<usize> {
    let mut offset = 0;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let (key, index) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
            Some((key, index)) => (key, Some(index.parse::<usize>().ok()?)),
            None => (part, None),
        };
        let mut value = table.get(key)?;
        if let Some(index) = index {
            let DeValue::Array(array) = value.get_ref() else { return None };
            value = array.get(index)?;
        }
        offset = value.span().start;
        if parts.peek().is_some() {
            let DeValue::Table(inner) = value.get_ref() else { return None };
            table = inner;
        }
    }
    Some(offset)
}

/// The paths' offsets in a JSON text, which is known to be JSON.
pub(crate) fn in_json(text: &str, paths: &HashSet<&str>) -> Places {
    let mut json = Json { text: text.as_bytes(), at: 0 };
    let mut found = Places::new();
    // What ends too early has no places from there on.
    let _ = json.visit(&mut String::new(), 0, &mut |path, at| {
        if paths.contains(path) {
            found.insert(path.to_owned(), at);
        }
    });
    found
}

/// A place in a JSON text.
struct Json<'t> {
    text: &'t [u8],
    at: usize,
}

impl Json<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn string(&mut self) -> Option<&[u8]> {
        self.take(b'"')?;
        let start = self.at;
        while self.peek()? != b'"' {
            self.at += if self.peek()? == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    /// Go behind the value that stands here.
    fn skip(&mut self) -> Option<()> {
        self.blanks();
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => {
                    while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Go behind the value that stands here, and tell the paths and places of what is in it.
    fn visit(&mut self, path: &mut String, depth: usize, tell: &mut dyn FnMut(&str, usize)) -> Option<()> {
        /// Nothing that has a path of interest is deeper.
        const DEEPEST: usize = 8;
        self.blanks();
        tell(path, self.at);
        match self.peek()? {
            _ if depth == DEEPEST => self.skip(),
            b'{' => self.items(path, b'}', |json, path, _| {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(json.string()?));
                json.take(b':')?;
                json.visit(path, depth + 1, tell)
            }),
            b'[' => self.items(path, b']', |json, path, index| {
                // Writing to memory does not fail.
                let _ = write!(path, "[{index}]");
                json.visit(path, depth + 1, tell)
            }),
            _ => self.skip(),
        }
    }

    /// Go through what stands between brackets.
    fn items(
        &mut self,
        path: &mut String,
        end: u8,
        mut item: impl FnMut(&mut Self, &mut String, usize) -> Option<()>,
    ) -> Option<()> {
        self.at += 1;
        if self.take(end).is_some() {
            return Some(());
        }
        let outer = path.len();
        for index in 0.. {
            item(self, path, index)?;
            path.truncate(outer);
            if self.take(b',').is_none() {
                break;
            }
        }
        self.take(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json() {
        let text = r#"{ "a": [1, {"x": "]\"}"}, -2.5e3, [], {}], "services": [ {"p": null}, {"destinations": [ {"k": 1} , {"here": 2} ]}] }"#;
        let paths = HashSet::from(["services[1].destinations[1]", "services[0]", "services[2]", "nothing"]);
        let places = in_json(text, &paths);
        let here = |path: &str| &text[places[path]..];
        assert!(here("services[1].destinations[1]").starts_with(r#"{"here""#), "{places:?}");
        assert!(here("services[0]").starts_with(r#"{"p""#), "{places:?}");
        assert_eq!(places.len(), 2);
        for cut in 0..text.len() {
            in_json(&text[..cut], &paths);
        }
    }

    #[test]
    fn deep_nesting_is_passed_over() {
        let text = format!("{{\"a\": {}1{}, \"schema\": 2}}", "[".repeat(100_000), "]".repeat(100_000));
        let places = in_json(&text, &HashSet::from(["schema"]));
        assert!(text[places["schema"]..].starts_with("2}"));
    }

    #[test]
    fn toml() {
        let text = "schema = 1\n[[services]]\nfwmark = 1\n[[services]]\nfwmark = 2\n[[services.destinations]]\naddress = '::1'\n";
        let paths = HashSet::from(["services[1].destinations[0]", "schema", "services[5]", "schema.x", "services.x"]);
        let places = in_toml(text, &paths);
        assert!(text[places["services[1].destinations[0]"]..].starts_with("[[services.destinations]]"));
        assert_eq!((places["schema"], places.len()), (9, 2));
    }
}
