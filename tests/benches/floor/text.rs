//! Numbers and addresses ↔ text.

pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(crate) fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    const BLANKS: [u8; 40] = [b' '; 40];
    if let Some(missing) = (start + width).checked_sub(out.len()) {
        out.extend_from_slice(&BLANKS[..missing]);
    }
}

pub(crate) fn left(out: &mut Vec<u8>, value: u64, width: usize) {
    let start = out.len();
    number(out, value);
    pad(out, start, width);
}

pub(crate) fn right(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = [b' '; 24];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
}

/// `10.0.0.1:80`, `[2001:db8::1]:80`; the address in 16 bytes, the port in network byte order.
pub(crate) fn endpoint(out: &mut Vec<u8>, is_v6: bool, address: &[u8], port: u16) {
    if is_v6 {
        out.push(b'[');
        v6(out, address);
        out.push(b']');
    } else {
        for (at, byte) in address[..4].iter().enumerate() {
            if at > 0 {
                out.push(b'.');
            }
            number(out, u64::from(*byte));
        }
    }
    out.push(b':');
    number(out, u64::from(port));
}

fn v6(out: &mut Vec<u8>, address: &[u8]) {
    let mut groups = [0; 8];
    for (group, bytes) in groups.iter_mut().zip(address.chunks_exact(2)) {
        *group = u16::from_be_bytes([bytes[0], bytes[1]]);
    }
    let (mut best, mut best_length) = (8, 1);
    let mut at = 0;
    while at < 8 {
        let length = groups[at..].iter().take_while(|group| **group == 0).count();
        if length > best_length {
            (best, best_length) = (at, length);
        }
        at += length.max(1);
    }
    at = 0;
    while at < 8 {
        if at == best {
            out.extend_from_slice(b"::");
            at += best_length;
            continue;
        }
        if at > 0 && at != best + best_length {
            out.push(b':');
        }
        let group = groups[at];
        let mut shift = 12;
        while shift > 0 && group >> shift == 0 {
            shift -= 4;
        }
        loop {
            out.push(b"0123456789abcdef"[usize::from(group >> shift & 15)]);
            if shift == 0 {
                break;
            }
            shift -= 4;
        }
        at += 1;
    }
}

/// Reads digits off the front.
#[inline]
pub(crate) fn take_number(text: &mut &[u8]) -> u32 {
    let mut value = 0;
    while let [digit @ b'0'..=b'9', rest @ ..] = text {
        value = value * 10 + u32::from(digit - b'0');
        *text = rest;
    }
    value
}

#[inline]
pub(crate) fn take_hex(text: &mut &[u8]) -> u32 {
    let mut value = 0;
    while let [digit, rest @ ..] = text {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => break,
        };
        value = value << 4 | u32::from(digit);
        *text = rest;
    }
    value
}

/// Reads an address and a port: is it IPv6, the address in 16 bytes, the port.
#[inline]
pub(crate) fn take_endpoint(mut text: &[u8]) -> (bool, [u8; 16], u16) {
    let mut address = [0; 16];
    let is_v6 = text[0] == b'[';
    if is_v6 {
        text = &text[1..];
        take_v6(&mut text, &mut address);
        text = &text[1..];
    } else {
        for (at, byte) in address[..4].iter_mut().enumerate() {
            if at > 0 {
                text = &text[1..];
            }
            *byte = take_number(&mut text) as u8;
        }
    }
    text = &text[1..];
    (is_v6, address, take_number(&mut text) as u16)
}

fn take_v6(text: &mut &[u8], address: &mut [u8; 16]) {
    let mut groups = [0; 8];
    let mut count = 0;
    let mut gap = None;
    if text.starts_with(b"::") {
        *text = &text[2..];
        gap = Some(0);
    }
    while text[0] != b']' {
        groups[count] = take_hex(text) as u16;
        count += 1;
        if text.starts_with(b"::") {
            gap = Some(count);
            *text = &text[2..];
        } else if text[0] == b':' {
            *text = &text[1..];
        }
    }
    let gap = gap.unwrap_or(count);
    let behind = count - gap;
    for at in 0..gap {
        address[2 * at..2 * at + 2].copy_from_slice(&groups[at].to_be_bytes());
    }
    for at in 0..behind {
        let to = 8 - behind + at;
        address[2 * to..2 * to + 2].copy_from_slice(&groups[gap + at].to_be_bytes());
    }
}
