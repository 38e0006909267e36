//! A line of `/proc/net/ip_vs_conn` → an entry.
//!
//! There may be a million of them. What has the width that the kernel gives it is taken in one piece; what has not, word by
//! word, and means the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipvs_sys::wire::Name;

use super::ConnectionEntry;

/// The entry, if the line is one.
pub(super) fn read_entry(line: &[u8]) -> Option<ConnectionEntry> {
    let mut rest = line;
    let protocol = Name::new(word(&mut rest)?)?;
    let client = endpoint(&mut rest)?;
    let service = endpoint(&mut rest)?;
    let destination = endpoint(&mut rest)?;
    let state = Name::new(word(&mut rest)?)?;
    let expires = std::str::from_utf8(word(&mut rest)?).ok()?.parse().ok()?;
    let engine = match word(&mut rest) {
        // One blank behind the name, then the data to the end of the line, whatever it is.
        Some(name) => Some((Name::new(name)?, rest.get(1..).unwrap_or(&[]).into())),
        None => None,
    };
    Some(ConnectionEntry { protocol, client, service, destination, state, expires, engine })
}

/// Take the next word off the line, with the blanks before it.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    skip_blanks(rest);
    let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    *rest = behind;
    (!word.is_empty()).then_some(word)
}

fn skip_blanks(rest: &mut &[u8]) {
    while let [b' ', behind @ ..] = rest {
        *rest = behind;
    }
}

/// Take an address and a port off the line: `0A000001 0050`, or an IPv6 address in full and the port.
fn endpoint(rest: &mut &[u8]) -> Option<SocketAddr> {
    skip_blanks(rest);
    let address = wide(rest, v4).or_else(|| wide(rest, full_v6)).or_else(|| any_v6(word(rest)?))?;
    skip_blanks(rest);
    let port = wide(rest, |digits: &[u8; 4]| hexadecimal(digits)).or_else(|| hexadecimal(word(rest)?))?;
    Some(SocketAddr::new(address, port.try_into().ok()?))
}

/// Take a word of that width off the line, if there is one and it can be read so.
fn wide<const WIDTH: usize, T>(rest: &mut &[u8], read: impl Fn(&[u8; WIDTH]) -> Option<T>) -> Option<T> {
    let (word, behind) = rest.split_first_chunk()?;
    if !matches!(behind, [] | [b' ', ..]) {
        return None;
    }
    let value = read(word)?;
    *rest = behind;
    Some(value)
}

/// `0A000001`
fn v4(digits: &[u8; 8]) -> Option<IpAddr> {
    Some(Ipv4Addr::from_bits(hexadecimal(digits)?).into())
}

/// `2001:0db8:0000:0000:0000:0000:0000:0001`
fn full_v6(text: &[u8; 39]) -> Option<IpAddr> {
    let mut bits = 0;
    for group in 0..8 {
        let start = group * 5;
        if group > 0 && text[start - 1] != b':' {
            return None;
        }
        bits = bits << 16 | u128::from(hexadecimal(&text[start..start + 4])?);
    }
    Some(Ipv6Addr::from_bits(bits).into())
}

/// Any other way to write IPv6, with or without brackets.
fn any_v6(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    Some(IpAddr::V6(text.trim_start_matches('[').trim_end_matches(']').parse().ok()?))
}

/// What digits are worth. [`NO_DIGIT`] is none.
const DIGITS: [u8; 256] = {
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        worth[b"0123456789abcdef"[digit] as usize] = digit as u8;
        worth[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    worth
};
const NO_DIGIT: u8 = 0xFF;

#[inline]
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let (mut number, mut all) = (0, 0);
    for &byte in digits {
        let digit = DIGITS[usize::from(byte)];
        number = number << 4 | u32::from(digit & 0xF);
        all |= digit;
    }
    (all != NO_DIGIT).then_some(number)
}
