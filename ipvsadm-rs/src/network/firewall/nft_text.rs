//! Rules of nft as text, as close to the language of nft as an operator needs to find them.

use serde_json::Value as Json;

/// The maximum length of a rule's text, in characters. A set in a rule can have thousands of elements.
const MAX: usize = 300;
/// The maximum number of elements of a set that are written.
const ELEMENTS: usize = 8;

/// Returns the text of a rule.
pub(super) fn rule(expressions: &[Json]) -> String {
    let mut text = String::new();
    for part in expressions.iter().filter(|part| part.get("counter").is_none()).map(expression) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&part);
        if text.len() > MAX {
            break;
        }
    }
    short(text)
}

/// Returns the text of one expression.
pub(super) fn expression(expression: &Json) -> String {
    let Some((name, value)) = expression.as_object().and_then(|object| object.iter().next()) else {
        return short(value_text(expression));
    };
    short(match name.as_str() {
        "match" => comparison(value),
        "jump" | "goto" => format!("{name} {}", value.get("target").map(value_text).unwrap_or_default()),
        "mangle" => {
            let [key, new] = ["key", "value"].map(|part| value.get(part).map(value_text).unwrap_or_default());
            format!("{key} set {new}")
        }
        "vmap" => {
            let [key, data] = ["key", "data"].map(|part| value.get(part).map(value_text).unwrap_or_default());
            format!("{key} vmap {data}")
        }
        "limit" => {
            let part = |name| value.get(name).map(value_text).unwrap_or_default();
            let over = if value.get("inv") == Some(&Json::Bool(true)) { "over " } else { "" };
            format!("limit rate {over}{}/{}", part("rate"), part("per"))
        }
        "snat" | "dnat" | "redirect" => {
            let to = value.get("addr").map(value_text).unwrap_or_default();
            let port = value.get("port").map(|port| format!(":{}", value_text(port))).unwrap_or_default();
            if to.is_empty() && port.is_empty() { name.clone() } else { format!("{name} to {to}{port}") }
        }
        "reject" => match value.get("type").map(value_text) {
            Some(kind) => format!("reject with {kind}"),
            None => "reject".into(),
        },
        "xt" => format!("xt {}", value.get("name").map(value_text).unwrap_or_default()),
        _ if value.is_null() => name.clone(),
        "log" => "log".into(),
        _ => format!("{name} {}", value_text(value)),
    })
}

/// Returns the text of `{"op": …, "left": …, "right": …}`.
pub(super) fn comparison(value: &Json) -> String {
    let [left, right] = ["left", "right"].map(|part| value.get(part).map(value_text).unwrap_or_default());
    match value.get("op").and_then(Json::as_str) {
        Some("==" | "in") | None => format!("{left} {right}"),
        Some(operator) => format!("{left} {operator} {right}"),
    }
}

fn value_text(value: &Json) -> String {
    short(match value {
        Json::String(text) => text.clone(),
        Json::Array(list) => elements(list, ","),
        Json::Object(object) => match object.iter().next() {
            Some((name, inner)) => object_text(name, inner).unwrap_or_else(|| value.to_string()),
            None => String::new(),
        },
        other => other.to_string(),
    })
}

fn object_text(name: &str, inner: &Json) -> Option<String> {
    Some(match name {
        "meta" => match inner.get("key")?.as_str()? {
            key @ ("iif" | "iifname" | "oif" | "oifname") => key.into(),
            key => format!("meta {key}"),
        },
        "payload" => format!("{} {}", inner.get("protocol")?.as_str()?, inner.get("field")?.as_str()?),
        "ct" => match inner.get("dir").and_then(Json::as_str) {
            Some(direction) => format!("ct {direction} {}", inner.get("key")?.as_str()?),
            None => format!("ct {}", inner.get("key")?.as_str()?),
        },
        "prefix" => format!("{}/{}", inner.get("addr")?.as_str()?, inner.get("len")?),
        "range" => elements(inner.as_array()?, "-"),
        "concat" => elements(inner.as_array()?, " . "),
        "set" => match inner {
            Json::Array(list) => format!("{{ {} }}", elements(list, ", ")),
            single => format!("{{ {} }}", value_text(single)),
        },
        "elem" => value_text(inner.get("val")?),
        "&" | "|" | "^" | "<<" | ">>" => elements(inner.as_array()?, &format!(" {name} ")),
        "accept" | "drop" | "return" | "continue" => name.into(),
        "jump" | "goto" => format!("{name} {}", inner.get("target")?.as_str()?),
        _ => return None,
    })
}

fn elements(list: &[Json], separator: &str) -> String {
    let mut text: Vec<String> = list.iter().take(ELEMENTS).map(value_text).collect();
    if list.len() > ELEMENTS {
        text.push("…".into());
    }
    // An entry of a map is a list of two.
    text.join(separator)
}

fn short(mut text: String) -> String {
    if text.chars().count() > MAX {
        text = text.chars().take(MAX).collect();
        text.push('…');
    }
    text
}
