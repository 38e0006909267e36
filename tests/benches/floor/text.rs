//! Writes and reads numbers and addresses as text.

/// The texts `0.` to `255.` and their lengths.
static SMALL: [([u8; 4], usize); 256] = {
    let mut texts = [([b'.'; 4], 2); 256];
    let mut number = 0;
    while number < texts.len() {
        let (a, b, c) = (number as u8 / 100 + b'0', number as u8 / 10 % 10 + b'0', number as u8 % 10 + b'0');
        texts[number] = match number {
            0..10 => ([c, b'.', 0, 0], 2),
            10..100 => ([b, c, b'.', 0], 3),
            _ => ([a, b, c, b'.'], 4),
        };
        number += 1;
    }
    texts
};

pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    if number < 256 {
        let (text, length) = SMALL[number as usize];
        start_of(out, text, length - 1);
    } else {
        self::number(out, number / 100);
        out.extend_from_slice(&[(number / 10 % 10) as u8 + b'0', (number % 10) as u8 + b'0']);
    }
}

/// Appends the first bytes of a text. A copy of a fixed length is cheaper than one of a few bytes.
fn start_of<const SIZE: usize>(out: &mut Vec<u8>, text: [u8; SIZE], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(&text);
    out.truncate(end);
}

pub(crate) fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    let end = out.len().max(start + width);
    // Enough, because no caller needs more than 32 blanks.
    out.extend_from_slice(&[b' '; 32]);
    out.truncate(end);
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

/// Appends `10.0.0.1:80` or `[2001:db8::1]:80`. The address has 16 bytes, of which IPv4 uses the first four.
pub(crate) fn endpoint(out: &mut Vec<u8>, is_v6: bool, address: &[u8], port: u16) {
    if is_v6 {
        out.push(b'[');
        v6(out, address);
        out.push(b']');
    } else {
        let (mut text, mut end) = ([0; 16], 0);
        for byte in &address[..4] {
            let (digits, length) = SMALL[usize::from(*byte)];
            text[end..end + 4].copy_from_slice(&digits);
            end += length;
        }
        start_of(out, text, end - 1);
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
        let length = (4 - group.leading_zeros() / 4).max(1);
        let shifted = group << (16 - 4 * length);
        let digit = |place: u16| b"0123456789abcdef"[usize::from(shifted >> (12 - 4 * place) & 15)];
        start_of(out, [digit(0), digit(1), digit(2), digit(3)], length as usize);
        at += 1;
    }
}

/// Reads a decimal number and removes it from the text.
#[inline]
pub(crate) fn take_number(text: &mut &[u8]) -> u32 {
    let mut value = 0;
    while let [digit @ b'0'..=b'9', rest @ ..] = text {
        value = value * 10 + u32::from(digit - b'0');
        *text = rest;
    }
    value
}

/// Converts up to eight hexadecimal digits at once.
#[inline]
pub(crate) fn hex(digits: u64) -> u32 {
    // The low nibble of a digit is its value; that of a letter is 9 less. Only letters have bit 6.
    let nibbles = (digits & 0x0F0F_0F0F_0F0F_0F0F) + 9 * (digits >> 6 & 0x0101_0101_0101_0101);
    let bytes = (nibbles | nibbles >> 4) & 0x00FF_00FF_00FF_00FF;
    let pairs = (bytes | bytes >> 8) & 0x0000_FFFF_0000_FFFF;
    (pairs | pairs >> 16) as u32
}

#[inline]
fn take_hex(text: &mut &[u8]) -> u32 {
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

/// Reads an address and a port. Returns whether the address is IPv6, the address in 16 bytes, and the port.
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
    let after = count - gap;
    for at in 0..gap {
        address[2 * at..2 * at + 2].copy_from_slice(&groups[at].to_be_bytes());
    }
    for at in 0..after {
        let to = 8 - after + at;
        address[2 * to..2 * to + 2].copy_from_slice(&groups[gap + at].to_be_bytes());
    }
}
