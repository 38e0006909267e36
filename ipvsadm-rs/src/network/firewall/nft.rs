//! Reads the output of `nft -j list ruleset`.

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::Value as Json;

use super::model::{Base, Chain, Family, Firewall, Hook, Rule, Step, Table, Tool};
use super::nft_match;
use super::nft_statement;
use super::nft_text;

/// The maximum number of elements of sets that all rules together use. A match with more is not evaluated.
const MAX_ELEMENTS: usize = 2_000_000;

/// The names of a table: family and name.
pub(super) type TableName = (Family, String);

/// The elements of sets and maps, by table and name.
pub(super) type Sets<'a> = HashMap<(&'a str, &'a str, &'a str), &'a [Json]>;

/// The rules of nft, and the tables whose rules only iptables can show.
#[derive(Debug, Default)]
pub(super) struct Ruleset {
    /// The rules.
    pub(super) firewall: Firewall,
    /// Tables with extensions of iptables. nft prints only the names of these.
    pub(super) of_iptables: Vec<TableName>,
}

/// Where a rule is, for the lookup of sets.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) sets: &'a Sets<'a>,
    /// The number of elements that rules may still copy from sets.
    pub(super) room: &'a Cell<usize>,
    pub(super) family: &'a str,
    pub(super) table: &'a str,
}

impl<'a> Scope<'a> {
    /// Returns the elements of a set or map: a name such as `@bad`, or the elements themselves.
    ///
    /// Returns `None` also if the rules before have copied too many elements.
    pub(super) fn elements(&self, set: &'a Json) -> Option<&'a [Json]> {
        let elements = self.find(set)?;
        self.room.set(self.room.get().checked_sub(elements.len())?);
        Some(elements)
    }

    fn find(&self, set: &'a Json) -> Option<&'a [Json]> {
        match set {
            Json::String(name) => self.sets.get(&(self.family, self.table, name.strip_prefix('@')?)).copied(),
            Json::Object(object) => match object.get("set")? {
                Json::Array(elements) => Some(elements),
                Json::String(_) => self.find(object.get("set")?),
                single => Some(std::slice::from_ref(single)),
            },
            _ => None,
        }
    }
}

/// Parses the output of `nft -j list ruleset`.
///
/// # Errors
///
/// The text is not JSON, or has no list `nftables`, or more than [`super::MAX_RULES`] rules.
pub(super) fn parse(text: &[u8]) -> Result<Ruleset, String> {
    let document: Json = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    let objects = document.get("nftables").and_then(Json::as_array).ok_or("there is no list named nftables")?;
    if objects.len() > super::MAX_RULES {
        return Err(format!("more than {} rules", super::MAX_RULES));
    }
    let sets = sets(objects);
    let room = Cell::new(MAX_ELEMENTS);
    let mut ruleset = Ruleset::default();
    // Chains and rules may be listed before their table.
    for table in objects.iter().filter_map(|object| object.get("table")) {
        let Some((family, name)) = family(table).zip(text_of(table, "name")) else { continue };
        if !has_flag(table, "dormant") {
            ruleset.firewall.tables.push(Table { family, name: name.into(), tool: Tool::Nft, chains: Vec::new() });
        }
    }
    ruleset.firewall.not_read = not_evaluated(objects);
    let mut places = HashMap::new();
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        let (Some(family), Some(table), Some(name)) = (family(chain), text_of(chain, "table"), text_of(chain, "name"))
        else {
            continue;
        };
        let Some(at) = ruleset.firewall.tables.iter().position(|known| known.family == family && known.name == table)
        else {
            continue;
        };
        let chains = &mut ruleset.firewall.tables[at].chains;
        places.insert((family, table, name), (at, chains.len()));
        chains.push(Chain { name: name.into(), base: base(chain), rules: Vec::new() });
    }
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let (Some(family), Some(table), Some(chain)) = (family(rule), text_of(rule, "table"), text_of(rule, "chain"))
        else {
            continue;
        };
        let Some(&(at, number)) = places.get(&(family, table, chain)) else { continue };
        let scope = Scope { sets: &sets, room: &room, family: text_of(rule, "family").unwrap_or_default(), table };
        let expressions = rule.get("expr").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        if expressions.iter().any(|expression| expression.get("xt").is_some()) {
            let name = (family, table.to_owned());
            if !ruleset.of_iptables.contains(&name) {
                ruleset.of_iptables.push(name);
            }
        }
        ruleset.firewall.tables[at].chains[number].rules.push(Rule {
            text: nft_text::rule(expressions),
            handle: rule.get("handle").and_then(Json::as_u64),
            steps: expressions.iter().flat_map(|expression| steps(expression, scope)).collect(),
        });
    }
    Ok(ruleset)
}

/// Returns the base chains whose packets are not followed: those of the link layer. They can drop packets, too.
fn not_evaluated(objects: &[Json]) -> Vec<String> {
    /// Those that are named. The others are counted.
    const SHOWN: usize = 3;
    let mut names = Vec::new();
    let mut others = 0_usize;
    for chain in objects.iter().filter_map(|object| object.get("chain")) {
        let [family, table, name, hook] = ["family", "table", "name", "hook"].map(|key| text_of(chain, key));
        let (Some(hook), Some(family)) = (hook, family) else { continue };
        if matches!(family, "ip" | "ip6" | "inet") && !matches!(hook, "ingress" | "egress") {
            continue;
        }
        let (table, name) = (table.unwrap_or_default(), name.unwrap_or_default());
        if names.len() < SHOWN {
            names.push(format!("nft: chain {name} of hook {hook}, table {family} {table}, is not evaluated"));
        } else {
            others += 1;
        }
    }
    if others > 0 {
        names.push(format!("nft: {others} more chains of the link layer are not evaluated"));
    }
    names
}

/// Returns the elements of all sets and maps.
fn sets(objects: &[Json]) -> Sets<'_> {
    let all = objects.iter().filter_map(|object| object.get("set").or_else(|| object.get("map")));
    all.filter_map(|set| {
        let name = (text_of(set, "family")?, text_of(set, "table")?, text_of(set, "name")?);
        Some((name, set.get("elem").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()))
    })
    .collect()
}

fn steps(expression: &Json, scope: Scope<'_>) -> Vec<Step> {
    match expression.get("match") {
        Some(comparison) => nft_match::steps(comparison, scope),
        None => nft_statement::steps(expression, scope),
    }
}

fn base(chain: &Json) -> Option<Base> {
    Some(Base {
        hook: match text_of(chain, "hook")? {
            "prerouting" => Hook::Prerouting,
            "input" => Hook::Input,
            "forward" => Hook::Forward,
            "output" => Hook::Output,
            "postrouting" => Hook::Postrouting,
            _ => return None,
        },
        priority: chain.get("prio").and_then(Json::as_i64).and_then(|number| number.try_into().ok()).unwrap_or(0),
        nat: text_of(chain, "type") == Some("nat"),
        drops: text_of(chain, "policy") == Some("drop"),
    })
}

fn family(object: &Json) -> Option<Family> {
    match text_of(object, "family")? {
        "ip" => Some(Family::Ip),
        "ip6" => Some(Family::Ip6),
        "inet" => Some(Family::Inet),
        _ => None,
    }
}

fn has_flag(object: &Json, flag: &str) -> bool {
    match object.get("flags") {
        Some(Json::Array(flags)) => flags.iter().any(|known| known == flag),
        Some(Json::String(known)) => known == flag,
        _ => false,
    }
}

fn text_of<'a>(object: &'a Json, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Json::as_str)
}
