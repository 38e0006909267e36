//! Text → numbers, as the C library reads them, because scripts rely on it. Plain decimal numbers have a faster path.

use std::net::Ipv4Addr;

use super::value_error::ValueError;

/// Reads a decimal number from `least` to `most`, like `strtol`: blanks and a sign may precede it.
pub(crate) fn strtol(text: &[u8], least: u32, most: u32) -> Result<u32, ValueError> {
    // The blanks of C's `isspace`. Rust's `is_ascii_whitespace` lacks the vertical tab.
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')).unwrap_or(text.len());
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let out_of_range = ValueError::Number(least, most);
    if digits.is_empty() {
        return Err(out_of_range);
    }
    /// A value above every range. Larger values are capped at it, so that the next digit cannot overflow.
    const TOO_LARGE: u64 = u64::MAX / 16;
    let mut value = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(out_of_range);
        }
        value = (value * 10 + u64::from(digit - b'0')).min(TOO_LARGE);
    }
    match u32::try_from(value) {
        Ok(value) if (least..=most).contains(&value) && !(negative && value != 0) => Ok(value),
        _ => Err(out_of_range),
    }
}

/// Reads an IPv4 address like `inet_aton`: one to four parts, each decimal, octal (`0…`) or hexadecimal (`0x…`). The
/// last part fills the remaining bytes. Returns `None` for any other text.
pub(crate) fn inet_aton(text: &[u8]) -> Option<Ipv4Addr> {
    let mut parts = [0u32; 4];
    let mut count = 0;
    for part in text.split(|&byte| byte == b'.') {
        *parts.get_mut(count)? = c_number(part)?;
        count += 1;
    }
    let last = parts[count - 1];
    // All parts but the last are one byte each.
    let mut address = 0u32;
    for (i, part) in parts[..count - 1].iter().enumerate() {
        address |= u32::from(u8::try_from(*part).ok()?) << (24 - 8 * i);
    }
    let room = u32::MAX.checked_shr(8 * (count as u32 - 1)).unwrap_or(0);
    (last <= room).then_some(Ipv4Addr::from_bits(address | last))
}

fn c_number(text: &[u8]) -> Option<u32> {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        [b'0', digits @ ..] if !digits.is_empty() => (8, digits),
        digits => (10, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0u32;
    for &digit in digits {
        let digit = char::from(digit).to_digit(radix)?;
        value = value.checked_mul(radix)?.checked_add(digit)?;
    }
    Some(value)
}

// The functions below read decimal numbers at the start of a text, and return the rest of the text, too. They return
// `None` for all other forms, some of which ipvsadm accepts. The caller reads those the general way.

/// Reads a number of at most ten digits, up to `most`. Returns `None` for any other text.
#[inline]
pub(super) fn decimal(text: &[u8], most: u32) -> Option<(u32, &[u8])> {
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

/// Reads `:PORT`. Returns `None` for any other text.
pub(super) fn decimal_port(text: &[u8]) -> Option<(u16, &[u8])> {
    decimal(text.strip_prefix(b":")?, u16::MAX.into()).map(|(port, text)| (port as u16, text))
}

/// Reads `A.B.C.D`. Returns `None` for any other text.
pub(super) fn decimal_ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (a, text) = octet(text)?;
    let (b, text) = octet(text.strip_prefix(b".")?)?;
    let (c, text) = octet(text.strip_prefix(b".")?)?;
    let (d, text) = octet(text.strip_prefix(b".")?)?;
    Some((Ipv4Addr::new(a, b, c, d), text))
}

/// Reads a number up to 255. Returns `None` for any other text. A number with a leading zero is octal, and is left to
/// [`inet_aton`].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_strtol_reads_them() {
        for (text, value) in
            [("0", 0), ("007", 7), (" 5", 5), ("\t\n\x0b 5", 5), ("+5", 5), ("-0", 0), ("2147483647", i32::MAX as u32)]
        {
            assert_eq!(strtol(text.as_bytes(), 0, i32::MAX as u32), Ok(value), "{text:?}");
        }
        for text in ["", " ", "5 ", "0x10", "1.5", "60s", "-1", "+-5", "2147483648", "99999999999999999999999"] {
            assert!(strtol(text.as_bytes(), 0, i32::MAX as u32).is_err(), "{text:?}");
        }
        assert_eq!(strtol(b"4294967295", 1, u32::MAX), Ok(u32::MAX));
        assert_eq!(strtol(b"0", 1, 5), Err(ValueError::Number(1, 5)));
    }

    #[test]
    fn addresses_as_inet_aton_reads_them() {
        for (text, address) in [
            ("10.0.0.1", [10, 0, 0, 1]),
            ("10.1", [10, 0, 0, 1]),
            ("10.2.3", [10, 2, 0, 3]),
            ("167772163", [10, 0, 0, 3]),
            ("0x0a000004", [10, 0, 0, 4]),
            ("012.0.0.5", [10, 0, 0, 5]),
            ("10.0.258", [10, 0, 1, 2]),
            ("0", [0, 0, 0, 0]),
            ("255.255.255.255", [255; 4]),
            ("0xffffffff", [255; 4]),
        ] {
            assert_eq!(inet_aton(text.as_bytes()), Some(address.into()), "{text}");
        }
        for text in [
            "",
            ".",
            "10.",
            ".1",
            "1.2.3.4.5",
            "256.0.0.1",
            "1.2.3.256",
            "10.16777216",
            "4294967296",
            "08",
            "0x",
            "1.2.3.4 ",
            " 1.2.3.4",
            "a",
        ] {
            assert_eq!(inet_aton(text.as_bytes()), None, "{text:?}");
        }
    }
}
