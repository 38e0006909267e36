//! Where in a document a path such as `services[2].destinations[0]` stands.

use toml::de::{DeTable, DeValue};

/// A step of a path.
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

fn steps(path: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let (key, mut rest) = part.split_once('[').map_or((part, ""), |(key, rest)| (key, rest));
        steps.push(Step::Key(key));
        while let Some((index, behind)) = rest.split_once(']') {
            steps.extend(index.parse().ok().map(Step::Index));
            rest = behind.strip_prefix('[').unwrap_or_default();
        }
    }
    steps
}

/// The offset in a TOML text.
pub(crate) fn in_toml(text: &str, path: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut offset = 0;
    let mut value = None;
    for step in steps(path) {
        let found = match (&value, step) {
            (None, Step::Key(key)) => table.get_ref().get(key)?,
            (Some(DeValue::Table(table)), Step::Key(key)) => table.get(key)?,
            (Some(DeValue::Array(array)), Step::Index(index)) => array.get(index)?,
            _ => return None,
        };
        offset = found.span().start;
        value = Some(found.get_ref().clone());
    }
    Some(offset)
}

/// The offset in a JSON text, which is known to be JSON.
pub(crate) fn in_json(text: &str, path: &str) -> Option<usize> {
    let mut json = Json { text: text.as_bytes(), at: 0 };
    for step in steps(path) {
        match step {
            Step::Key(key) => json.enter_key(key)?,
            Step::Index(index) => json.enter_index(index)?,
        }
    }
    json.blanks();
    Some(json.at)
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

    fn enter_key(&mut self, key: &str) -> Option<()> {
        self.take(b'{')?;
        loop {
            let found = self.string()? == key.as_bytes();
            self.take(b':')?;
            if found {
                return Some(());
            }
            self.skip()?;
            self.take(b',')?;
        }
    }

    fn enter_index(&mut self, index: usize) -> Option<()> {
        self.take(b'[')?;
        for _ in 0..index {
            self.skip()?;
            self.take(b',')?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json() {
        let text = r#"{ "a": [1, {"x": "]\"}"}, -2.5e3], "services": [ {"p": null}, {"destinations": [ {"k": 1} , {"here": 2} ]}] }"#;
        let offset = in_json(text, "services[1].destinations[1]").expect("there");
        assert!(text[offset..].starts_with(r#"{"here""#), "{}", &text[offset..]);
        assert_eq!(in_json(text, "services[2]"), None);
        assert_eq!(in_json(text, "nothing"), None);
        for cut in 0..text.len() {
            in_json(&text[..cut], "services[1].destinations[1]");
        }
    }

    #[test]
    fn toml() {
        let text = "schema = 1\n[[services]]\nfwmark = 1\n[[services]]\nfwmark = 2\n[[services.destinations]]\naddress = '::1'\n";
        let offset = in_toml(text, "services[1].destinations[0]").expect("there");
        assert!(text[offset..].starts_with("[[services.destinations]]"), "{}", &text[offset..]);
        assert_eq!(in_toml(text, "schema"), Some(9));
        assert_eq!(in_toml(text, "services[5]"), None);
    }
}
