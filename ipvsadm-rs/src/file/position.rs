//! Positions of paths such as `services[2].destinations[0]` in a JSON or TOML document.

use std::collections::{HashMap, HashSet};

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use toml::de::{DeTable, DeValue};

/// Byte offsets by path. Paths that do not exist in the document are absent.
pub(crate) type Places = HashMap<String, usize>;

/// A step from a value to one inside it.
#[derive(Clone, Copy)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// Returns the offsets of these paths in a TOML document. The document is parsed once for all paths.
pub(crate) fn in_toml(text: &str, paths: &HashSet<&str>) -> Places {
    let Ok(table) = DeTable::parse(text) else { return Places::new() };
    places(paths, |path| {
        let mut steps = steps(path);
        let Some(Step::Key(key)) = steps.next() else { return None };
        let mut value = table.get_ref().get(key)?;
        for step in steps {
            value = match (step, value.get_ref()) {
                (Step::Key(key), DeValue::Table(table)) => table.get(key)?,
                (Step::Index(index), DeValue::Array(array)) => array.get(index)?,
                _ => return None,
            };
        }
        Some(value.span().start)
    })
}

/// Returns the offsets of these paths in a JSON document. The document is parsed once for all paths.
pub(crate) fn in_json(text: &str, paths: &HashSet<&str>) -> Places {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    let Ok(Some(document)) = parsed.map(|parsed| parsed.value) else { return Places::new() };
    places(paths, |path| {
        let mut value = &document;
        for step in steps(path) {
            value = match (step, value) {
                (Step::Key(key), Value::Object(object)) => &object.get(key)?.value,
                (Step::Index(index), Value::Array(array)) => array.elements.get(index)?,
                _ => return None,
            };
        }
        Some(value.range().start)
    })
}

fn places(paths: &HashSet<&str>, offset: impl Fn(&str) -> Option<usize>) -> Places {
    paths.iter().filter_map(|path| Some(((*path).to_owned(), offset(path)?))).collect()
}

/// Splits a path: `services[2].port` into `services`, 2 and `port`.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '[']).map(|part| match part.strip_suffix(']').and_then(|index| index.parse().ok()) {
        Some(index) => Step::Index(index),
        None => Step::Key(part),
    })
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
    fn deep_nesting_has_no_places() {
        let nested = |depth| format!("{{\"a\": {}1{}, \"schema\": 2}}", "[".repeat(depth), "]".repeat(depth));
        // serde_json refuses a document that is nested deeper than 128.
        let text = nested(128);
        let places = in_json(&text, &HashSet::from(["schema"]));
        assert!(text[places["schema"]..].starts_with("2}"));
        assert_eq!(in_json(&nested(100_000), &HashSet::from(["schema"])).len(), 0);
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
