//! Decimal numbers at the beginning of a text, and what stands behind them. Nothing is answered for what is written in
//! another way, also where ipvsadm understands it.

use std::net::Ipv4Addr;

/// A number in ten digits at most.
#[inline]
pub(super) fn number(text: &[u8], most: u32) -> Option<(u32, &[u8])> {
    let (mut number, mut digits) = (0u64, 0);
    while let Some(digit @ b'0'..=b'9') = text.get(digits) {
        if digits == 10 {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
        digits += 1;
    }
    let is_number = digits > 0 && number <= most.into();
    is_number.then_some((number as u32, &text[digits..]))
}

/// `:PORT`
pub(super) fn port(text: &[u8]) -> Option<(u16, &[u8])> {
    number(text.strip_prefix(b":")?, u16::MAX.into()).map(|(port, text)| (port as u16, text))
}

/// `A.B.C.D`
pub(super) fn ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (a, text) = octet(text)?;
    let (b, text) = octet(text.strip_prefix(b".")?)?;
    let (c, text) = octet(text.strip_prefix(b".")?)?;
    let (d, text) = octet(text.strip_prefix(b".")?)?;
    Some((Ipv4Addr::new(a, b, c, d), text))
}

/// A number up to 255. A zero in front would make it octal.
#[inline]
fn octet(text: &[u8]) -> Option<(u8, &[u8])> {
    match *text {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..] => {
            let number = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            Some((u8::try_from(number).ok()?, rest))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', ref rest @ ..] => Some(((a - b'0') * 10 + (b - b'0'), rest)),
        [a @ b'0'..=b'9', ref rest @ ..] => Some((a - b'0', rest)),
        _ => None,
    }
}
