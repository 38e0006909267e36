//! Numbers and text in columns. Counters have at most eight digits: `123456789` is `123456K`.

/// Appends blanks until there are at least `WIDTH` bytes after `start`.
#[inline]
pub(super) fn pad<const WIDTH: usize>(out: &mut Vec<u8>, start: usize) {
    let end = out.len().max(start + WIDTH);
    // Appending a constant number and truncating compiles to one or two moves. A variable number needs a call.
    out.extend_from_slice(&[b' '; WIDTH]);
    out.truncate(end);
}

/// Appends a counter, right-aligned in nine columns of which the first is blank.
pub(super) fn counter(out: &mut Vec<u8>, number: u64, exact: bool) {
    let (number, unit) = match number {
        0..100_000_000 => return right::<9>(out, number),
        // With `--exact`, a wide number is still preceded by a blank.
        _ if exact => {
            out.push(b' ');
            return right::<8>(out, number);
        }
        100_000_000..1_000_000_000 => (number / 1000, b'K'),
        1_000_000_000..100_000_000_000 => (number / 1_000_000, b'M'),
        100_000_000_000..100_000_000_000_000 => (number / 1_000_000_000, b'G'),
        _ => (number / 1_000_000_000_000, b'T'),
    };
    right::<8>(out, number);
    out.push(unit);
}

/// Appends a number, right-aligned in `WIDTH` columns. A wider number is printed in full.
pub(super) fn right<const WIDTH: usize>(out: &mut Vec<u8>, number: u64) {
    let (mut cell, mut rest) = ([b' '; WIDTH], number);
    for digit in cell.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out.extend_from_slice(&cell);
        }
    }
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends text, left-aligned.
pub(super) fn left(out: &mut Vec<u8>, text: &[u8], width: usize) {
    out.extend_from_slice(text);
    out.resize(out.len() + width.saturating_sub(text.len()), b' ');
}

/// Appends a number, left-aligned.
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
