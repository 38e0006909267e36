//! Translates lines for the reference, so that intended differences have no effect.
//!
//! Each rule here is a row of docs/compat.md. A line that no rule changes must have the same outcome with both
//! programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs::rules::program::{COMMANDS, OPTIONS, Value};
use ipvs::rules::{HostError, Resolver};
use ipvs::{Family, Protocol};

use super::generate::Words;

/// A part of a line, as popt reads it.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// The long name of an option, and its value. `None` if it has no value.
    Named(&'static str, Option<Vec<u8>>),
    Loose(Vec<u8>),
}

/// Returns the translated line and the rows that explain it, or `None` if the line needs no translation.
pub(super) fn for_reference(words: &Words) -> Option<(Words, Vec<&'static str>)> {
    let mut rows = Vec::new();
    let words = without_alias(words, &mut rows);
    let (mut tokens, rest) = tokens(&words);
    values(&mut tokens, &mut rows);
    order(&mut tokens, rest.is_empty(), &mut rows);
    if has_early_6_in_unreadable_word(&tokens, rest) {
        rows.push("any-order");
    }
    (!rows.is_empty()).then(|| (written(tokens, rest), rows))
}

/// Checks whether the line resets the counters of a service without address and port, which cannot be translated.
pub(super) fn zeroes_any(words: &Words) -> bool {
    let (tokens, _) = tokens(words);
    let any = |token: &Token| match token {
        Token::Named("tcp-service" | "udp-service" | "sctp-service", Some(value)) => {
            let text = String::from_utf8_lossy(value);
            let digits = text.bytes().filter(u8::is_ascii_alphanumeric);
            digits.clone().all(|byte| byte == b'0' || byte == b'x' || byte == b'X') || digits.count() == 0
        }
        _ => false,
    };
    tokens.first() == Some(&Token::Named("zero", None)) && tokens.iter().any(any)
}

fn row(name: &str) -> Option<(&'static str, Value)> {
    let option = OPTIONS.iter().find(|row| row.long == name).map(|row| (row.long, row.value));
    option.or_else(|| COMMANDS.iter().find(|row| row.long == name).map(|row| (row.long, row.value)))
}

fn lettered(letter: u8) -> Option<(&'static str, Value)> {
    let letter = char::from(letter);
    let option = OPTIONS.iter().find(|row| row.shorts.contains(letter)).map(|row| (row.long, row.value));
    option.or_else(|| COMMANDS.iter().find(|row| row.shorts.contains(letter)).map(|row| (row.long, row.value)))
}

/// Returns the tokens of a line, and the words from the first one that cannot be read.
///
/// This reads popt's grammar a second time, on purpose, because the tests must not rely on the reader in `ipvs::rules`,
/// which they test. Only the tables of commands and options are shared.
fn tokens(words: &Words) -> (Vec<Token>, &[Vec<u8>]) {
    let (mut tokens, mut at, mut only_loose) = (Vec::new(), 0, false);
    while let Some(word) = words.get(at) {
        let here = at;
        at += 1;
        let read = match word.as_slice() {
            _ if only_loose => Some(vec![Token::Loose(word.clone())]),
            b"--" => {
                only_loose = true;
                Some(Vec::new())
            }
            [b'-', b'-', long @ ..] => long_option(long, words, &mut at).map(|token| vec![token]),
            [b'-', letters @ ..] if !letters.is_empty() => bundle(letters, words, &mut at),
            _ => Some(vec![Token::Loose(word.clone())]),
        };
        match read {
            Some(read) => tokens.extend(read),
            None => return (tokens, &words[here..]),
        }
    }
    (tokens, &[])
}

/// Reads the rest of a word after `--`, and the next word if it is the value. Returns `None` if popt cannot read the
/// word.
fn long_option(long: &[u8], words: &Words, at: &mut usize) -> Option<Token> {
    let (name, attached) = match long.iter().position(|byte| *byte == b'=') {
        Some(sign) => (&long[..sign], Some(long[sign + 1..].to_vec())),
        None => (long, None),
    };
    named(row(std::str::from_utf8(name).ok()?)?, attached, words, at)
}

/// Reads the rest of a word after `-`: letters, the last of which may have a value attached or in the next word.
/// Returns `None` if popt cannot read the word.
fn bundle(mut letters: &[u8], words: &Words, at: &mut usize) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    while let [letter, rest @ ..] = letters {
        letters = rest;
        let (long, value) = lettered(*letter)?;
        let mut attached = None;
        if value != Value::None || rest.first() == Some(&b'=') {
            attached = rest.strip_prefix(b"=").map(<[u8]>::to_vec).or((!rest.is_empty()).then(|| rest.to_vec()));
            letters = b"";
        }
        tokens.push(named((long, value), attached, words, at)?);
    }
    Some(tokens)
}

/// Makes a token of an option, with its attached value or the next word. Returns `None` if its value is missing or
/// superfluous.
fn named(row: (&'static str, Value), attached: Option<Vec<u8>>, words: &Words, at: &mut usize) -> Option<Token> {
    let (long, value) = row;
    let value = match (value, attached) {
        (Value::None, None) => None,
        (Value::None, Some(_)) => return None,
        (_, Some(value)) => Some(value),
        (Value::Optional(_), None) if words.get(*at).is_none_or(|word| word.starts_with(b"-")) => None,
        (_, None) => {
            *at += 1;
            Some(words.get(*at - 1)?.clone())
        }
    };
    Some(Token::Named(long, value))
}

/// Returns the tokens in their simplest spelling.
fn written(tokens: Vec<Token>, rest: &[Vec<u8>]) -> Words {
    let (mut words, mut loose) = (Vec::new(), Vec::new());
    for token in tokens {
        match token {
            // After `--`, so that it stays a loose word.
            Token::Loose(word) if rest.is_empty() => loose.push(word),
            Token::Loose(word) => words.push(word),
            Token::Named(long, None) => words.push(format!("--{long}").into_bytes()),
            Token::Named(long, Some(value)) => words.push([format!("--{long}=").as_bytes(), &value].concat()),
        }
    }
    words.extend_from_slice(rest);
    if !loose.is_empty() {
        words.push(b"--".to_vec());
        words.extend(loose);
    }
    words
}

/// Replaces `!#:+`, which popt expands as an alias argument, by [`ALIAS`], which has the same length and no meaning.
fn without_alias(words: &Words, rows: &mut Vec<&'static str>) -> Words {
    let plain = |word: &Vec<u8>| {
        let mut word = word.clone();
        while let Some(at) = word.windows(4).position(|four| four == b"!#:+") {
            word[at..at + 4].copy_from_slice(ALIAS.as_bytes());
            rows.push("no-alias");
        }
        word
    };
    words.iter().map(plain).collect()
}

/// The replacement of `!#:+` in lines for the reference.
pub(super) const ALIAS: &str = "!#:-";

/// Translates values that our program reads differently.
fn values(tokens: &mut [Token], rows: &mut Vec<&'static str>) {
    let mut is_ipv6 = false;
    for at in 0..tokens.len() {
        let Token::Named(long, Some(value)) = &tokens[at] else {
            is_ipv6 |= tokens[at] == Token::Named("ipv6", None);
            continue;
        };
        let mut new = None;
        match *long {
            "tcp-service" | "udp-service" | "sctp-service" | "real-server" => {
                new = new.or(address(value));
                is_ipv6 = *long != "real-server" && is_v6(new.as_ref().map_or(value, |(new, _)| new))
                    || is_ipv6 && *long == "real-server";
            }
            "fwmark-service" => is_ipv6 = false,
            "netmask" => new = new.or(netmask(value, is_ipv6 || will_be_v6(&tokens[at..]))),
            "sched-flags" if !value.is_empty() && value.iter().all(|byte| *byte == b',') => {
                new = new.or(Some((Vec::new(), "empty-flag-lists")));
            }
            _ => {}
        }
        if let Some((value, row)) = new {
            tokens[at] = Token::Named(long, Some(value));
            rows.push(row);
        }
    }
}

fn is_v6(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    let host = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(&text);
    host.parse::<Ipv6Addr>().is_ok()
}

/// Checks whether a later option names an IPv6 service.
fn will_be_v6(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| match token {
        Token::Named("ipv6", None) => true,
        Token::Named("tcp-service" | "udp-service" | "sctp-service", Some(value)) => {
            is_v6(value) || address(value).is_some_and(|(value, _)| is_v6(&value))
        }
        _ => false,
    })
}

/// A resolver for the names of `tests/names`.
pub(super) struct Names;

impl Resolver for Names {
    fn host(&mut self, name: &str, families: &[Family]) -> Result<IpAddr, HostError> {
        let addresses = host(name);
        let first = |family: &Family| addresses.iter().copied().find(|ip| Family::of(*ip) == *family);
        families.iter().find_map(first).ok_or(HostError::Unknown)
    }

    fn port(&mut self, name: &str, protocol: Protocol) -> Option<u16> {
        let lines = include_str!("../../../names/services").lines();
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|words| {
            let (port, of) = words.get(1)?.split_once('/')?;
            let named = words[0] == name || words[2..].contains(&name);
            (named && of.eq_ignore_ascii_case(protocol.name())).then(|| port.parse().ok())?
        })
    }
}

fn host(name: &str) -> Vec<IpAddr> {
    let hosts = include_str!("../../../names/hosts").lines();
    let named = hosts.filter(|line| line.split_whitespace().skip(1).any(|known| known.eq_ignore_ascii_case(name)));
    named.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

fn address(value: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    let text = std::str::from_utf8(value).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        if inside.parse::<Ipv6Addr>().is_ok() {
            // Without a port the brackets can be omitted.
            return after.is_empty().then(|| (inside.as_bytes().to_vec(), "v6-brackets"));
        }
        return match host(inside).iter().find(|ip| ip.is_ipv6()) {
            Some(ip) if after.is_empty() => Some((ip.to_string().into_bytes(), "v6-names")),
            Some(ip) => Some((format!("[{ip}]{after}").into_bytes(), "v6-names")),
            // Both refuse a text that is neither an address nor a name. Only our program refuses an IPv4 address or
            // name in brackets.
            None if after.starts_with(':') => Some((Vec::new(), "v4-brackets")),
            None => None,
        };
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, format!(":{port}")),
        None => (text, String::new()),
    };
    let ips = host(name);
    if let (Some(ip), true) = (ips.iter().find(|ip| ip.is_ipv6()), ips.iter().all(IpAddr::is_ipv6)) {
        let typed = if port.is_empty() { ip.to_string() } else { format!("[{ip}]{port}") };
        return Some((typed.into_bytes(), "v6-names"));
    }
    junk(name).then(|| (Vec::new(), "junk"))
}

/// Checks whether an IPv4 address is followed by a blank and more text.
fn junk(name: &str) -> bool {
    name.find([' ', '\t', '\n', '\x0b', '\x0c', '\r']).is_some_and(|at| at > 0)
}

fn netmask(value: &[u8], is_ipv6: bool) -> Option<(Vec<u8>, &'static str)> {
    let text = std::str::from_utf8(value).ok()?;
    let number = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']).parse::<i64>();
    match (is_ipv6, number) {
        (true, Err(_)) => Some((b"x".to_vec(), "junk")),
        (false, Ok(prefix @ 0..=32)) => {
            let mask = u32::MAX.checked_shl(32 - prefix as u32).unwrap_or(0);
            Some((Ipv4Addr::from(mask).to_string().into_bytes(), "prefix-length"))
        }
        (false, _) if junk(text) => Some((b"x".to_vec(), "junk")),
        _ => None,
    }
}

/// Checks whether `-6` precedes any mark in a word that cannot be read to its end. The reference reports the first
/// error that it reads.
fn has_early_6_in_unreadable_word(tokens: &[Token], rest: &[Vec<u8>]) -> bool {
    let marked = tokens.iter().any(|token| matches!(token, Token::Named("fwmark-service", _)));
    let letters = rest.first().and_then(|word| word.strip_prefix(b"-")).unwrap_or_default();
    !marked && letters.iter().take_while(|letter| lettered(**letter).is_some()).any(|letter| *letter == b'6')
}

/// Moves options that are too early for the reference to a place where it accepts them.
///
/// `whole` means that the whole line could be read.
fn order(tokens: &mut Vec<Token>, whole: bool, rows: &mut Vec<&'static str>) {
    move_six_after_mark(tokens, whole, rows);
    replace_early_port_name(tokens, whole, rows);
    if whole {
        move_after_service(tokens, rows);
    }
}

const SERVICE: [&str; 4] = ["tcp-service", "udp-service", "sctp-service", "fwmark-service"];

fn position(tokens: &[Token], names: &[&str]) -> Option<usize> {
    tokens.iter().position(|token| matches!(token, Token::Named(long, _) if names.contains(long)))
}

/// Moves `-6` to the place after the mark, or without a mark to the end, where our program reports it.
fn move_six_after_mark(tokens: &mut Vec<Token>, whole: bool, rows: &mut Vec<&'static str>) {
    while let Some(option) = position(tokens, &["ipv6"])
        && !tokens[..option].iter().any(|token| matches!(token, Token::Named("fwmark-service", _)))
    {
        let token = tokens.remove(option);
        rows.push("any-order");
        match position(tokens, &["fwmark-service"]) {
            Some(mark) => tokens.insert(mark + 1, token),
            None if whole => {
                tokens.push(token);
                break;
            }
            None => {}
        }
    }
}

/// Replaces a port name, or a missing port, of a server that precedes any service by a number. Our program resolves the
/// name after it has read the service, which specifies the protocol.
fn replace_early_port_name(tokens: &mut [Token], whole: bool, rows: &mut Vec<&'static str>) {
    let service = position(tokens, &SERVICE);
    if let Some(server) = position(tokens, &["real-server"])
        && service.is_none_or(|service| server < service)
        && (service.is_none() || !whole)
        && let Token::Named(_, Some(value)) = &mut tokens[server]
        && let Some(at) = value.iter().rposition(|byte| *byte == b':')
        && str::from_utf8(&value[at + 1..]).ok().and_then(|port| port.parse::<u16>().ok()).is_none()
    {
        value.truncate(at + 1);
        value.push(b'1');
        rows.push("any-order");
    }
}

/// Moves the server and the netmask after the service.
fn move_after_service(tokens: &mut Vec<Token>, rows: &mut Vec<&'static str>) {
    let service = position(tokens, &SERVICE).max(position(tokens, &["ipv6"]));
    for early in ["real-server", "netmask"] {
        if let (Some(at), Some(service)) = (position(tokens, &[early]), service)
            && at < service
        {
            let token = tokens.remove(at);
            tokens.push(token);
            rows.push("any-order");
        }
    }
}
