//! Targets of iptables.

use super::iptables::Word;
use super::iptables_match::{number, value_and_mask};
use super::model::{MarkChange, Nat, Statement};

/// Returns the effect of `-j TARGET`. `None`: it neither ends the packet's way nor changes a value that other rules compare.
pub(super) fn statement(target: &str, arguments: &[Word]) -> Option<Statement> {
    let option = |name: &str| {
        let at = arguments.iter().position(|word| word.text == name && !word.quoted)?;
        Some(arguments.get(at + 1).map_or("", |value| value.text.as_str()))
    };
    Some(match target {
        "ACCEPT" => Statement::Accept,
        "DROP" => Statement::Drop,
        "REJECT" => Statement::Reject,
        "RETURN" => Statement::Return,
        "NOTRACK" => Statement::NoTrack,
        "CT" => match option("--notrack") {
            Some(_) => Statement::NoTrack,
            None => return None,
        },
        "LOG" | "NFLOG" | "ULOG" | "TRACE" | "AUDIT" | "TCPMSS" | "TCPOPTSTRIP" | "TOS" | "DSCP" | "TTL" | "HL"
        | "CHECKSUM" | "CLASSIFY" | "SET" | "RATEEST" | "SECMARK" | "CONNSECMARK" | "TEE" | "LED" | "IDLETIMER"
        | "ECN" => return None,
        "MARK" => Statement::Mark(mark(&option)),
        "CONNMARK" => match option("--restore-mark") {
            Some(_) => Statement::Mark(copy(&option)),
            None if option("--save-mark").is_some() => Statement::ConnectionMark(copy(&option)),
            None => Statement::ConnectionMark(mark(&option)),
        },
        "MASQUERADE" => Statement::Nat(Nat::Masquerade),
        "SNAT" => Statement::Nat(Nat::Source(option("--to-source").and_then(|to| destination(to).0))),
        "DNAT" => {
            let (address, port) = option("--to-destination").map_or((None, None), destination);
            Statement::Nat(Nat::Destination(address, port))
        }
        "REDIRECT" => Statement::Nat(Nat::Redirect(option("--to-ports").and_then(|port| port.parse().ok()))),
        // Targets are in capitals. Chains may be, too, so the evaluation looks for a chain first.
        name => Statement::Jump(name.into()),
    })
}

/// Returns whether all bits are copied, or the change is too complex.
fn copy<'a>(option: &impl Fn(&str) -> Option<&'a str>) -> MarkChange {
    let all = |name| option(name).is_none_or(|mask| number(mask) == Some(u32::MAX));
    if all("--nfmask") && all("--ctmask") && all("--mask") { MarkChange::Copy } else { MarkChange::Unknown }
}

fn mark<'a>(option: &impl Fn(&str) -> Option<&'a str>) -> MarkChange {
    let change = || {
        if let Some(text) = option("--set-xmark") {
            let (value, mask) = value_and_mask(text)?;
            return Some(MarkChange::Bits { and: !mask, xor: value });
        }
        if let Some(text) = option("--set-mark") {
            let (value, mask) = value_and_mask(text)?;
            return Some(MarkChange::Bits { and: !(mask | value), xor: value });
        }
        if let Some(text) = option("--and-mark") {
            return Some(MarkChange::Bits { and: number(text)?, xor: 0 });
        }
        if let Some(text) = option("--or-mark") {
            let bits = number(text)?;
            return Some(MarkChange::Bits { and: !bits, xor: bits });
        }
        Some(MarkChange::Bits { and: u32::MAX, xor: number(option("--xor-mark")?)? })
    };
    change().unwrap_or(MarkChange::Unknown)
}

/// Parses `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT` or `:PORT`. A range gives no value.
fn destination(text: &str) -> (Option<std::net::IpAddr>, Option<u16>) {
    if let Ok(address) = text.parse() {
        return (Some(address), None);
    }
    let Some((address, port)) = text.rsplit_once(':') else {
        return (text.trim_matches(['[', ']']).parse().ok(), None);
    };
    (address.trim_matches(['[', ']']).parse().ok(), port.parse().ok())
}
