//! Numbers and text in columns. Counters in eight digits: `123456789` is `123456K`.

/// Append blanks until there are `WIDTH` bytes from `start` on.
#[inline]
pub(super) fn pad<const WIDTH: usize>(out: &mut Vec<u8>, start: usize) {
    let end = out.len().max(start + WIDTH);
    // As many as can be missing, then cut: a fixed number is a move or two, any number a call.
    out.extend_from_slice(&[b' '; WIDTH]);
    out.truncate(end);
}

/// Append a counter: right-aligned in nine columns, a blank first.
pub(super) fn counter(out: &mut Vec<u8>, number: u64, exact: bool) {
    let (number, unit) = match number {
        _ if exact => (number, None),
        0..100_000_000 => (number, None),
        100_000_000..1_000_000_000 => (number / 1000, Some(b'K')),
        1_000_000_000..100_000_000_000 => (number / 1_000_000, Some(b'M')),
        100_000_000_000..100_000_000_000_000 => (number / 1_000_000_000, Some(b'G')),
        _ => (number / 1_000_000_000_000, Some(b'T')),
    };
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    // In full, a wide number still keeps its distance.
    let width = if unit.is_some() || (exact && digits.len() > 8) { 8 } else { 9 };
    if exact && digits.len() > 8 {
        out.push(b' ');
    }
    right(out, digits, width);
    out.extend(unit);
}

/// Append digits, right-aligned.
pub(super) fn right(out: &mut Vec<u8>, digits: &[u8], width: usize) {
    out.resize(out.len() + width.saturating_sub(digits.len()), b' ');
    out.extend_from_slice(digits);
}

/// Append text, left-aligned.
pub(super) fn left(out: &mut Vec<u8>, text: &[u8], width: usize) {
    out.extend_from_slice(text);
    out.resize(out.len() + width.saturating_sub(text.len()), b' ');
}

/// Append a number, left-aligned.
pub(super) fn left_number(out: &mut Vec<u8>, number: u32, width: usize) {
    left(out, itoa::Buffer::new().format(number).as_bytes(), width);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(number: u64, exact: bool) -> String {
        let mut out = Vec::new();
        counter(&mut out, number, exact);
        String::from_utf8(out).expect("digits")
    }

    #[test]
    fn units_begin_where_eight_digits_end() {
        for (number, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(shown(number, false), text);
        }
    }

    #[test]
    fn exact_numbers_are_whole() {
        assert_eq!(shown(99_999_999, true), " 99999999");
        assert_eq!(shown(100_000_000, true), " 100000000");
        assert_eq!(shown(u64::MAX, true), format!(" {}", u64::MAX));
    }
}
