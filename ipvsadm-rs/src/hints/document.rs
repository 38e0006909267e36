//! Messages about JSON and TOML without the terms of the parsers, and hints for them.

use super::similar::similar;

/// Returns the message of a parser without its terms, and a hint if there is one.
pub(crate) fn in_words(message: &str) -> (String, Option<String>) {
    let message = message.split(" at line ").next().unwrap_or(message).trim_end();
    if let Some((value, expected)) = quoted_after(message, "unknown variant ") {
        let known: Vec<&str> = names(expected).filter(|name| !name.starts_with("unknown")).collect();
        let hint = synonym(value).filter(|name| known.contains(name)).or_else(|| similar(value, known.iter().copied()));
        let text = format!("unknown value `{value}': expected {}", list(&known));
        return (text, hint.map(|name| format!("Did you mean {name}?")));
    }
    if let Some((key, expected)) = quoted_after(message, "unknown field ") {
        let known: Vec<&str> = names(expected).filter(|name| *name != "unknown_attributes").collect();
        let hint = similar(key, known.iter().copied()).map(|name| format!("Did you mean {name}?"));
        return (format!("unknown key `{key}': expected {}", list(&known)), hint);
    }
    if let Some((key, _)) = quoted_after(message, "missing field ") {
        return (format!("the key `{key}' is missing"), None);
    }
    let of_type = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    match of_type.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => (format!("{} is not {}", in_people_words(found), type_name(expected)), None),
        None => (message.to_owned(), None),
    }
}

/// Returns the name between back quotes after a prefix, and the text after it.
fn quoted_after<'m>(message: &'m str, prefix: &str) -> Option<(&'m str, &'m str)> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`')
}

/// Returns the names between back quotes.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "another one".into(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}

/// Returns the name in a document for one that other programs use.
fn synonym(value: &str) -> Option<&'static str> {
    Some(match value.to_ascii_lowercase().as_str() {
        "nat" | "masq" | "masquerading" | "-m" => "masquerade",
        "dr" | "droute" | "gate" | "gatewaying" | "route" | "direct" | "-g" => "direct_route",
        "tun" | "ipip" | "tunneling" | "tunnelling" | "-i" => "tunnel",
        "ip" | "ip4" | "inet" | "v4" | "4" => "ipv4",
        "ip6" | "inet6" | "v6" | "6" => "ipv6",
        _ => return None,
    })
}

/// Returns the description of a value without the terms of the parser: `string "x"` → `the text "x"`.
fn in_people_words(found: &str) -> String {
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    match kind {
        "string" => format!("the text {value}"),
        "integer" | "floating" => format!("the number {}", value.trim_start_matches("point ").trim_matches('`')),
        "boolean" => value.trim_matches('`').to_owned(),
        "sequence" => "a list".into(),
        "map" => "a table of keys".into(),
        "null" => "null".into(),
        _ => found.to_owned(),
    }
}

/// Returns the description of a type of the program: `u16` → `a number from 0 to 65535`.
fn type_name(expected: &str) -> String {
    match expected {
        "u8" => "a number from 0 to 255".into(),
        "u16" => "a number from 0 to 65535".into(),
        "u32" => "a number from 0 to 4294967295".into(),
        "u64" | "usize" => "a number of at least 0".into(),
        "a nonzero u16" => "a number from 1 to 65535".into(),
        "a nonzero u32" => "a number from 1 to 4294967295".into(),
        "a boolean" => "true or false".into(),
        "a string" | "string" => "a text".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table of keys".into(),
        name if name.starts_with("struct ") || name.starts_with("internally tagged enum ") => "a table of keys".into(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_people() {
        for (message, text, hint) in [
            (
                "unknown variant `nat`, expected one of `masquerade`, `direct_route`, `unknown5`",
                "unknown value `nat': expected masquerade or direct_route",
                Some("Did you mean masquerade?"),
            ),
            (
                "unknown field `weigth`, expected `weight` or `port` at line 3 column 1",
                "unknown key `weigth': expected weight or port",
                Some("Did you mean weight?"),
            ),
            ("missing field `address`", "the key `address' is missing", None),
            ("invalid type: string \"80\", expected u16", "the text \"80\" is not a number from 0 to 65535", None),
            ("invalid value: integer `-1`, expected u32", "the number -1 is not a number from 0 to 4294967295", None),
            ("invalid type: map, expected a sequence", "a table of keys is not a list", None),
            ("invalid type: sequence, expected struct Document", "a list is not a table of keys", None),
            ("expected value", "expected value", None),
        ] {
            assert_eq!(in_words(message), (text.to_owned(), hint.map(str::to_owned)), "{message}");
        }
    }
}
