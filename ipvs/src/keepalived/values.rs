//! The values of statements.

use std::fmt;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;

use super::tree::Statement;
use crate::convert::Report;
use crate::destination::{Forwarding, GueChecksum, Tunnel};

/// Returns the number at a place of a statement. Reports an error if there is none or it is out of range.
pub(super) fn number(
    statement: &Statement,
    index: usize,
    range: RangeInclusive<u32>,
    report: &mut Report,
) -> Option<u32> {
    let Some(word) = statement.word(index) else {
        report.error(statement.at(index), format_args!("`{}' needs a number", statement.keyword()));
        return None;
    };
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.parse().ok().filter(|number| is_number && range.contains(number));
    if number.is_none() {
        let (start, end) = (range.start(), range.end());
        report.error(statement.at(index), format_args!("`{word}' is not a number from {start} to {end}"));
    }
    number
}

/// Returns a yes or no. Without a word, it is yes.
pub(super) fn yes_or_no(statement: &Statement, report: &mut Report) -> Option<bool> {
    match statement.word(1) {
        None | Some("on" | "true" | "yes") => Some(true),
        Some("off" | "false" | "no") => Some(false),
        Some(word) => {
            report.error(statement.at(1), format_args!("`{word}' is not one of on, off, true, false, yes, no"));
            None
        }
    }
}

/// Returns the word after the keyword, or reports that `what` is missing.
pub(super) fn word<'s>(statement: &'s Statement, what: impl fmt::Display, report: &mut Report) -> Option<&'s str> {
    let word = statement.word(1);
    if word.is_none() {
        report.error(statement.position(), format_args!("`{}' needs {what}", statement.keyword()));
    }
    word
}

/// Reports words after the last one that the keyword uses, and a block.
pub(super) fn ensure_end(statement: &Statement, words: usize, report: &mut Report) {
    if let Some(word) = statement.word(words) {
        let keyword = statement.keyword();
        report.error(statement.at(words), format_args!("`{word}' is not used by `{keyword}'"));
    }
    ensure_no_block(statement, report);
}

pub(super) fn ensure_no_block(statement: &Statement, report: &mut Report) {
    if statement.block.is_some() {
        report.error(statement.position(), format_args!("`{}' has no block", statement.keyword()));
    }
}

/// Returns the forwarding method: `NAT`, `DR` or `TUN`, with the settings of a tunnel.
pub(super) fn forwarding(statement: &Statement, report: &mut Report) -> Option<Forwarding> {
    let method = word(statement, "NAT, DR or TUN", report)?;
    if !matches!(method, "NAT" | "DR" | "TUN") {
        report.error(statement.at(1), format_args!("`{method}' is not one of NAT, DR, TUN"));
        return None;
    }
    let (mut kind, mut port, mut checksum) = ("ipip", None, GueChecksum::None);
    let mut index = 2;
    while let Some(word) = statement.word(index) {
        match word {
            "type" => {
                index += 1;
                match statement.word(index) {
                    Some(word @ ("ipip" | "gue" | "gre")) => kind = word,
                    _ => {
                        report.error(statement.at(index), "`type' needs one of ipip, gue, gre");
                        return None;
                    }
                }
            }
            "port" => {
                index += 1;
                port = Some(number(statement, index, 1..=65535, report)?);
            }
            "nocsum" => checksum = GueChecksum::None,
            "csum" => checksum = GueChecksum::Full,
            "remcsum" => checksum = GueChecksum::Remote,
            word => {
                let options = "type, port, nocsum, csum, remcsum";
                report.error(statement.at(index), format_args!("`{word}' is not one of {options}"));
                return None;
            }
        }
        index += 1;
    }
    ensure_no_block(statement, report);
    let port = port.and_then(|port| NonZeroU16::new(u16::try_from(port).ok()?));
    let tunnel = match (kind, port, checksum) {
        ("gue", Some(port), checksum) => Tunnel::Gue { port, checksum },
        ("gue", None, _) => {
            report.error(statement.position(), "a GUE tunnel needs a port");
            return None;
        }
        (_, Some(_), _) => {
            report.error(statement.position(), "only a GUE tunnel has a port");
            return None;
        }
        ("gre", None, GueChecksum::Remote) => {
            report.error(statement.position(), "a GRE tunnel has no remote checksum");
            return None;
        }
        ("gre", None, checksum) => Tunnel::Gre { checksum: checksum == GueChecksum::Full },
        (_, None, GueChecksum::None) => Tunnel::Ipip,
        (_, None, _) => {
            report.error(statement.position(), "an IP-in-IP tunnel has no checksum");
            return None;
        }
    };
    match (method, tunnel) {
        ("TUN", tunnel) => Some(Forwarding::Tunnel(tunnel)),
        (_, tunnel) if tunnel != Tunnel::Ipip => {
            report.error(statement.at(2), format_args!("`{method}' has no tunnel"));
            None
        }
        ("NAT", _) => Some(Forwarding::Masquerade),
        _ => Some(Forwarding::DirectRoute),
    }
}
