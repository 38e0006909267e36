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
    let expires = decimal(word(&mut rest)?)?;
    let engine = if rest.is_empty() { None } else { engine(rest)? };
    Some(ConnectionEntry { protocol, client, service, destination, state, expires, engine })
}

/// One blank behind the name, then the data to the end of the line, whatever it is.
#[cold]
fn engine(mut rest: &[u8]) -> Option<Option<(Name, Box<[u8]>)>> {
    let Some(name) = word(&mut rest) else { return Some(None) };
    Some(Some((Name::new(name)?, rest.get(1..).unwrap_or(&[]).into())))
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
    let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
    *rest = &rest[blanks..];
}

/// Take an address and a port off the line, with the blanks before them.
fn endpoint(rest: &mut &[u8]) -> Option<SocketAddr> {
    wide(rest, v4_endpoint).or_else(|| wide(rest, v6_endpoint)).or_else(|| any_endpoint(rest))
}

/// Take what has that width off the line, if it can be read so and a blank or nothing follows.
fn wide<const WIDTH: usize, T>(rest: &mut &[u8], read: impl Fn(&[u8; WIDTH]) -> Option<T>) -> Option<T> {
    let (text, behind) = rest.split_first_chunk()?;
    if !matches!(behind, [] | [b' ', ..]) {
        return None;
    }
    let value = read(text)?;
    *rest = behind;
    Some(value)
}

/// ` 0A000001 0050`
fn v4_endpoint(text: &[u8; 14]) -> Option<SocketAddr> {
    let [b' ', address @ .., b' ', _, _, _, _] = text else { return None };
    let address = Ipv4Addr::from_bits(hexadecimal(address)?);
    Some(SocketAddr::new(address.into(), hexadecimal(&text[10..])? as u16))
}

/// ` 2001:0db8:0000:0000:0000:0000:0000:0001 0050`
fn v6_endpoint(text: &[u8; 45]) -> Option<SocketAddr> {
    let mut numbers = [0; 9];
    for (place, number) in numbers.iter_mut().enumerate() {
        let start = place * 5;
        let before = if place == 0 || place == 8 { b' ' } else { b':' };
        if text[start] != before {
            return None;
        }
        *number = hexadecimal(&text[start + 1..start + 5])? as u16;
    }
    let [segments @ .., port] = numbers;
    Some(SocketAddr::new(Ipv6Addr::from(segments).into(), port))
}

/// Whatever is an address and a port.
#[cold]
fn any_endpoint(rest: &mut &[u8]) -> Option<SocketAddr> {
    let text = word(rest)?;
    let address = match text.len() {
        8 => IpAddr::V4(Ipv4Addr::from_bits(hexadecimal(text)?)),
        _ => any_v6(text)?.into(),
    };
    let port = hexadecimal(word(rest)?)?;
    Some(SocketAddr::new(address, port.try_into().ok()?))
}

/// Any other way to write IPv6, with or without brackets.
fn any_v6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(text).ok()?;
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// What hexadecimal digits are worth.
static DIGITS: [u64; 256] = {
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        worth[b"0123456789abcdef"[digit] as usize] = digit as u64;
        worth[b"0123456789ABCDEF"[digit] as usize] = digit as u64;
        digit += 1;
    }
    worth
};
/// More than any eight digits, and it stays so when others follow: whether all were digits is seen at the end.
const NO_DIGIT: u64 = 1 << 32;

#[inline]
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number = digits.iter().fold(0, |number, &byte| number << 4 | DIGITS[usize::from(byte)]);
    number.try_into().ok()
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 10 {
        return None;
    }
    let number = digits
        .iter()
        .try_fold(0, |number, &byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))?;
    number.try_into().ok()
}
