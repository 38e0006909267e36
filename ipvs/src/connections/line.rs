//! A line of `/proc/net/ip_vs_conn` → an entry.
//!
//! There can be a million lines, so fields with the kernel's fixed width are decoded in one piece. Fields of any other
//! width are decoded word by word, with the same result. If the text is not such a field, the functions return `None`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipvs_sys::wire::Name;

use super::ConnectionEntry;

/// Decodes the first line of `rest`, and removes it with its line end. Returns `None` if it is not an entry; then
/// `rest` is unspecified.
///
/// The function is not inlined and returns the iterator's item, so that an entry, which is large, is built in place and
/// never copied.
#[inline(never)]
pub(super) fn take_line(rest: &mut &[u8]) -> Option<io::Result<ConnectionEntry>> {
    let protocol = Name::new(word(rest)?)?;
    let client = endpoint(rest)?;
    let service = endpoint(rest)?;
    let destination = endpoint(rest)?;
    let state = wide(rest, full_state).or_else(|| Name::new(word(rest)?))?;
    let expires = decimal(rest)?;
    let engine = match rest {
        [] | [b'\n', ..] => None,
        _ => engine(rest)?,
    };
    let [b'\n', after @ ..] = rest else { return None };
    *rest = after;
    Some(Ok(ConnectionEntry { protocol, client, service, destination, state, expires, engine }))
}

/// Removes the engine and returns it: its name, one blank, and data up to the end of the line. Returns `Some(None)` if
/// the line ends before it.
fn engine(rest: &mut &[u8]) -> Option<Option<(Name, Box<[u8]>)>> {
    let Some(name) = word(rest) else { return Some(None) };
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (data, after) = rest.split_at(end);
    *rest = after;
    Some(Some((Name::new(name)?, data.get(1..).unwrap_or(&[]).into())))
}

/// Removes the next word of the line and the blanks before it, and returns the word.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    skip_blanks(rest);
    // A blank or the end of the line; no word has other control characters.
    let end = rest.iter().position(|&byte| byte <= b' ').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    (!word.is_empty()).then_some(word)
}

/// Returns whether a word ends here.
fn ends_word(after: &[u8]) -> bool {
    after.first().is_none_or(|&byte| byte <= b' ')
}

fn skip_blanks(rest: &mut &[u8]) {
    let blanks = rest.iter().take_while(|&&byte| byte == b' ').count();
    *rest = &rest[blanks..];
}

/// Removes an address and a port with the blanks before them, and returns both.
fn endpoint(rest: &mut &[u8]) -> Option<SocketAddr> {
    wide(rest, v4_endpoint).or_else(|| wide(rest, v6_endpoint)).or_else(|| any_endpoint(rest))
}

/// Removes a field of fixed width and returns it, if `read` accepts it and a word ends after it.
fn wide<const WIDTH: usize, T>(rest: &mut &[u8], read: impl Fn(&[u8; WIDTH]) -> Option<T>) -> Option<T> {
    let (text, after) = rest.split_first_chunk()?;
    if !ends_word(after) {
        return None;
    }
    let value = read(text)?;
    *rest = after;
    Some(value)
}

/// Reads ` ESTABLISHED`: the longest state, which most connections have.
fn full_state(text: &[u8; 12]) -> Option<Name> {
    let [b' ', name @ ..] = text else { return None };
    if name.iter().any(|&byte| byte <= b' ') { None } else { Name::new(name) }
}

/// Reads ` 0A000001 0050`.
fn v4_endpoint(text: &[u8; 14]) -> Option<SocketAddr> {
    let [b' ', address @ .., b' ', _, _, _, _] = text else { return None };
    let address = Ipv4Addr::from_bits(hexadecimal(address)?);
    Some(SocketAddr::new(address.into(), hexadecimal(&text[10..])? as u16))
}

/// Reads ` 2001:0db8:0000:0000:0000:0000:0000:0001 0050`.
///
/// It is not inlined, because its caller would have to save more registers for every IPv4 line.
#[inline(never)]
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

/// Removes an address and a port in any notation, and returns both.
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

/// Reads an IPv6 address in any notation, with or without brackets.
fn any_v6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(text).ok()?;
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The values of hexadecimal digits.
static DIGITS: [u64; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u64;
        values[b"0123456789ABCDEF"[digit] as usize] = digit as u64;
        digit += 1;
    }
    values
};
/// The value of any other byte. It exceeds every number of eight digits, and stays above them when it is shifted. So
/// one check at the end is enough.
const NO_DIGIT: u64 = 1 << 32;

#[inline]
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number = digits.iter().fold(0, |number, &byte| number << 4 | DIGITS[usize::from(byte)]);
    number.try_into().ok()
}

/// Removes a decimal number with the blanks before it, and returns the number.
fn decimal(rest: &mut &[u8]) -> Option<u32> {
    skip_blanks(rest);
    let (mut number, mut after) = (0, *rest);
    while let [digit @ b'0'..=b'9', others @ ..] = after {
        number = number * 10 + u64::from(digit - b'0');
        if number > u64::from(u32::MAX) {
            return None;
        }
        after = others;
    }
    if after.len() == rest.len() || !ends_word(after) {
        return None;
    }
    *rest = after;
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<SocketAddr> {
        let mut rest = text.as_bytes();
        endpoint(&mut rest).filter(|_| rest.is_empty())
    }

    #[test]
    fn endpoints_in_other_notations() {
        let v6 = "[2001:db8::1]:80".parse().ok();
        for text in [
            " 2001:0db8:0000:0000:0000:0000:0000:0001 0050",
            " [2001:0db8:0000:0000:0000:0000:0000:0001] 0050",
            "  2001:0DB8:0000:0000:0000:0000:0000:0001   50",
            "2001:db8::1 00000050",
        ] {
            assert_eq!(read(text), v6, "{text}");
        }
        let v4 = "10.0.0.1:80".parse().ok();
        for text in [" 0A000001 0050", " 0a000001 0050", "  0A000001  50"] {
            assert_eq!(read(text), v4, "{text}");
        }
    }

    #[test]
    fn invalid_endpoints() {
        for text in [
            "",
            " ",
            " 0A000001",
            " 0A00000G 0050",
            " 0A000001 005G",
            " 0A000001 10000",
            " 0A0000010 0050",
            " 2001:0db8:0000:0000:0000:0000:0000.0001 0050",
            " 2001:0db8:0000:0000:0000:0000:0000:000g 0050",
            " 2001:0db8:0000:0000:0000:0000:0000:0001 10000",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn states_of_any_length() {
        for state in ["UDP", "SYN_RECV", "ESTABLISHE", "ESTABLISHED", "SHUTDOWN_ACK", "SIXTEEN_LETTERS_"] {
            for (blanks, expires) in [(" ", 5), ("  ", 1_000_000), ("        ", 7)] {
                let line = format!("TCP 0A000001 0001 0A000001 0050 0A000001 0050{blanks}{state}{blanks}{expires}\n");
                let entry = take_line(&mut line.as_bytes()).expect(&line).expect("an entry");
                assert_eq!((entry.state.as_bytes(), entry.expires), (state.as_bytes(), expires));
            }
        }
        let line = b"TCP 0A000001 0001 0A000001 0050 0A000001 0050 SEVENTEEN_LETTERS 5\n";
        assert!(take_line(&mut &line[..]).is_none());
    }

    #[test]
    fn numbers() {
        for (digits, number) in [
            ("0", Some(0)),
            ("0899", Some(899)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("00000000001", Some(1)),
            ("", None),
            ("-1", None),
            ("1x", None),
        ] {
            assert_eq!(decimal(&mut digits.as_bytes()), number, "{digits}");
        }
        for (digits, number) in
            [("0", Some(0)), ("fFfFfFfF", Some(u32::MAX)), ("100000000", None), ("", None), ("/", None)]
        {
            assert_eq!(hexadecimal(digits.as_bytes()), number, "{digits}");
        }
    }

    proptest! {
        #[test]
        fn endpoints_as_the_kernel_writes_them(v4: u32, v6: u128, port: u16) {
            prop_assert_eq!(read(&format!(" {v4:08X} {port:04X}")), Some((Ipv4Addr::from_bits(v4), port).into()));
            let segments = Ipv6Addr::from_bits(v6).segments().map(|segment| format!("{segment:04x}")).join(":");
            prop_assert_eq!(read(&format!(" {segments} {port:04X}")), Some((Ipv6Addr::from_bits(v6), port).into()));
        }

        /// Decoding in one piece, and decoding word by word.
        #[test]
        fn both_ways_have_the_same_result(text in "( |  )[0-9A-Fg :]{6,9} {1,2}[0-9A-Fg]{3,5}") {
            let (mut one, mut other) = (text.as_bytes(), text.as_bytes());
            prop_assert_eq!(endpoint(&mut one), any_endpoint(&mut other));
            prop_assert_eq!(one, other);
        }
    }
}
