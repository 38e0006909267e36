//! Statements of nft, and comparisons that look like statements, such as `limit`.

use serde_json::Value as Json;

use super::model::{Field, MarkChange, Nat, Statement, Step};
use super::nft::Scope;
use super::{nft_match, nft_text};

/// Statements that neither end the packet's way nor change a value that other rules compare.
const WITHOUT_EFFECT: &[&str] =
    &["counter", "log", "comment", "last", "dup", "secmark", "ct helper", "ct timeout", "ct expectation", "continue"];

/// Returns the steps of an expression that is not a `match`.
pub(super) fn steps(expression: &Json, scope: Scope<'_>) -> Vec<Step> {
    let Some((name, value)) = expression.as_object().and_then(|object| object.iter().next()) else {
        return vec![unknown(expression)];
    };
    let statement = match name.as_str() {
        known if WITHOUT_EFFECT.contains(&known) => return Vec::new(),
        "accept" => Statement::Accept,
        "drop" => Statement::Drop,
        "reject" => Statement::Reject,
        "return" => Statement::Return,
        "notrack" => Statement::NoTrack,
        "jump" | "goto" => match value.get("target").and_then(Json::as_str) {
            Some(chain) if name == "jump" => Statement::Jump(chain.into()),
            Some(chain) => Statement::Goto(chain.into()),
            None => return vec![unknown(expression)],
        },
        "mangle" => match mangle(value) {
            Some(statement) => statement,
            None => return Vec::new(),
        },
        "snat" => Statement::Nat(Nat::Source(address(value))),
        "masquerade" => Statement::Nat(Nat::Masquerade),
        "dnat" => Statement::Nat(Nat::Destination(address(value), port(value))),
        "redirect" => Statement::Nat(Nat::Redirect(port(value))),
        "vmap" => return map(value, scope).unwrap_or_else(|| vec![unknown(expression)]),
        // Adds the packet to a set. It has conditions only if it has statements of its own.
        "set" | "map" => match value.get("stmt").and_then(Json::as_array).map(Vec::len) {
            None | Some(0) => return Vec::new(),
            Some(_) => return vec![Step::Unknown(nft_text::expression(expression))],
        },
        "limit" | "quota" | "ct count" | "meter" => return vec![Step::Unknown(nft_text::expression(expression))],
        "xt" if value.get("type").and_then(Json::as_str) == Some("match") => {
            return vec![Step::Unknown(nft_text::expression(expression))];
        }
        _ => return vec![unknown(expression)],
    };
    vec![Step::Do(statement)]
}

fn unknown(expression: &Json) -> Step {
    Step::Do(Statement::Unknown(nft_text::expression(expression)))
}

/// Returns the effect of `… set …`. `None`: other rules do not see it.
fn mangle(value: &Json) -> Option<Statement> {
    let key = value.get("key")?;
    let new = value.get("value").unwrap_or(&Json::Null);
    if key.pointer("/meta/key").is_some_and(|key| key == "mark") {
        return Some(Statement::Mark(mark(new, "meta")));
    }
    if key.pointer("/ct/key").is_some_and(|key| key == "mark") {
        return Some(Statement::ConnectionMark(mark(new, "ct")));
    }
    match key.pointer("/payload/field").and_then(Json::as_str)? {
        "saddr" => Some(Statement::Rewrite(Field::Source)),
        "daddr" => Some(Statement::Rewrite(Field::Destination)),
        "sport" => Some(Statement::Rewrite(Field::SourcePort)),
        "dport" => Some(Statement::Rewrite(Field::DestinationPort)),
        _ => None,
    }
}

/// Returns the change to the mark of `own`: `meta` for packets, `ct` for connections.
fn mark(value: &Json, own: &str) -> MarkChange {
    let other = if own == "meta" { "ct" } else { "meta" };
    if value.get(other).and_then(|inner| inner.get("key")).is_some_and(|key| key == "mark") {
        return MarkChange::Copy;
    }
    bits(value, own).map_or(MarkChange::Unknown, |(and, xor)| MarkChange::Bits { and, xor })
}

/// Returns an expression as `(mark & and) ^ xor`.
fn bits(value: &Json, own: &str) -> Option<(u32, u32)> {
    if let Some(number) = value.as_u64() {
        return Some((0, u32::try_from(number).ok()?));
    }
    if value.get(own).and_then(|inner| inner.get("key")).is_some_and(|key| key == "mark") {
        return Some((u32::MAX, 0));
    }
    let (operator, parts) = value.as_object()?.iter().next()?;
    let (inner, operands) = parts.as_array()?.split_first()?;
    let (mut and, mut xor) = bits(inner, own)?;
    for operand in operands {
        let number = u32::try_from(operand.as_u64()?).ok()?;
        (and, xor) = match operator.as_str() {
            "&" => (and & number, xor & number),
            "^" => (and, xor ^ number),
            // A bit that is set is the old bit without its value, and then inverted.
            "|" => (and & !number, xor | number),
            _ => return None,
        };
    }
    Some((and, xor))
}

fn address(value: &Json) -> Option<std::net::IpAddr> {
    value.get("addr")?.as_str()?.parse().ok()
}

fn port(value: &Json) -> Option<u16> {
    value.get("port")?.as_u64()?.try_into().ok()
}

/// Returns the steps of a map of verdicts.
fn map(value: &Json, scope: Scope<'_>) -> Option<Vec<Step>> {
    let key = value.get("key")?;
    let mut steps = Vec::new();
    let mut entries = Vec::new();
    for entry in scope.elements(value.get("data")?)? {
        let [element, verdict] = entry.as_array()?.as_slice() else { return None };
        steps.clear();
        let comparison = nft_match::entry(key, element, &mut steps)?;
        let verdict = match self::steps(verdict, scope).pop() {
            Some(Step::Do(statement)) => statement,
            _ => Statement::Unknown(nft_text::expression(verdict)),
        };
        entries.push((comparison, verdict));
    }
    steps.push(Step::Map(entries));
    Some(steps)
}
