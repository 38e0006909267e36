//! Reads the output of `iptables-save` and `ip6tables-save`.

use std::collections::HashMap;

use super::model::{Base, Chain, Family, Hook, Rule, Statement, Step, Table, Tool};
use super::{iptables_match, iptables_target};

/// A word of a line, and whether it was quoted. A quoted word is never an option.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) quoted: bool,
}

impl Word {
    fn is(&self, options: &[&str]) -> bool {
        !self.quoted && options.contains(&self.text.as_str())
    }
}

/// Parses the output of `iptables-save` ([`Family::Ip`]) or `ip6tables-save` ([`Family::Ip6`]).
///
/// # Errors
///
/// There are more than [`super::MAX_RULES`] rules.
pub(super) fn parse(text: &str, family: Family) -> Result<Vec<Table>, String> {
    let mut tables: Vec<Table> = Vec::new();
    let mut chains: HashMap<String, usize> = HashMap::new();
    let mut rules = 0;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('*') {
            chains.clear();
            tables.push(Table { family, name: name.into(), tool: Tool::Iptables, chains: Vec::new() });
            continue;
        }
        let Some(table) = tables.last_mut() else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (Some(name), policy) = (words.next(), words.next()) else { continue };
            let base = base(&table.name, name, policy == Some("DROP"));
            chains.insert(name.into(), table.chains.len());
            table.chains.push(Chain { name: name.into(), base, rules: Vec::new() });
            continue;
        }
        // With the option -c, counters precede the rule.
        let rule = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((_, rule)) => rule,
            None => line,
        };
        let words = words(rule);
        let [append, chain, rest @ ..] = words.as_slice() else { continue };
        if !append.is(&["-A"]) {
            continue;
        }
        rules += 1;
        if rules > super::MAX_RULES {
            return Err(format!("more than {} rules", super::MAX_RULES));
        }
        let Some(chain) = chains.get(&chain.text).and_then(|at| table.chains.get_mut(*at)) else { continue };
        chain.rules.push(Rule { text: rule.into(), handle: None, steps: steps(rest) });
    }
    Ok(tables)
}

/// Returns the place of a chain of iptables. `None`: it is a chain of the operator.
fn base(table: &str, chain: &str, drops: bool) -> Option<Base> {
    let hook = match chain {
        "PREROUTING" => Hook::Prerouting,
        "INPUT" => Hook::Input,
        "FORWARD" => Hook::Forward,
        "OUTPUT" => Hook::Output,
        "POSTROUTING" => Hook::Postrouting,
        _ => return None,
    };
    let priority = match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Hook::Prerouting | Hook::Output) => -100,
        ("nat", _) => 100,
        ("security", _) => 50,
        _ => 0,
    };
    Some(Base { hook, priority, nat: table == "nat", drops })
}

/// Splits a line as iptables-restore does: at blanks outside of quotes, where a backslash escapes one character.
fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(&first) = chars.peek() else { return words };
        let quote = matches!(first, '"' | '\'').then_some(first);
        if quote.is_some() {
            chars.next();
        }
        let mut text = String::new();
        while let Some(c) = chars.next_if(|c| quote.is_some() || !c.is_whitespace()) {
            match c {
                c if Some(c) == quote => break,
                '\\' if quote.is_some() => text.extend(chars.next()),
                c => text.push(c),
            }
        }
        words.push(Word { text, quoted: quote.is_some() });
    }
}

/// Returns the steps of the words after the chain.
fn steps(words: &[Word]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word.is(&["-j", "-g"]) {
            let (target, arguments) = match after.split_first() {
                Some((target, arguments)) => (target.text.as_str(), arguments),
                None => ("", after),
            };
            if word.text == "-g" {
                steps.push(Step::Do(Statement::Goto(target.into())));
            } else {
                steps.extend(iptables_target::statement(target, arguments).map(Step::Do));
            }
            return steps;
        }
        // The options of a match follow its name, up to the next match or the target.
        let (name, options) = match word.is(&["-m"]).then(|| after.split_first()).flatten() {
            Some((name, options)) => (Some(name.text.as_str()), options),
            None => (None, rest),
        };
        let length = options.iter().position(|word| word.is(&["-m", "-j", "-g"])).unwrap_or(options.len());
        let (options, after) = options.split_at(length);
        match name {
            None if options.is_empty() => {
                steps.push(Step::Unknown("-m".into()));
                rest = &rest[1..];
                continue;
            }
            None => iptables_match::general(options, &mut steps),
            Some(name) => iptables_match::of_extension(name, options, &mut steps),
        }
        rest = after;
    }
    steps
}
