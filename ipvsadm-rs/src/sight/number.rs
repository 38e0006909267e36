//! Short numbers, for columns of tables.

/// Formats a number with at most five characters: `0`, `9999`, `12.3k`, `4.56M`. The prefixes are powers of 1000.
pub(crate) fn short(value: u64) -> String {
    const PREFIXES: [char; 6] = ['k', 'M', 'G', 'T', 'P', 'E'];
    /// Smaller numbers are exact.
    const EXACT: u64 = 10_000;
    if value < EXACT {
        return value.to_string();
    }
    let mut scaled = value as f64;
    for prefix in PREFIXES {
        scaled /= 1000.0;
        // Rounded, such a number has at most three digits.
        if scaled < 999.5 {
            let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
            return format!("{scaled:.digits$}{prefix}");
        }
    }
    value.to_string()
}

/// Formats a rate as [`short`] does. Rates below 100 have one decimal place, unless they are whole.
pub(crate) fn rate(value: f64) -> String {
    let tenths = (value * 10.0).round();
    if tenths < 1000.0 && tenths % 10.0 != 0.0 { format!("{:.1}", tenths / 10.0) } else { short(value.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0, "0"),
            (9999, "9999"),
            (10_000, "10.0k"),
            (12_345, "12.3k"),
            (99_949, "99.9k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (4_560_000, "4.56M"),
            (9_995_000, "10.0M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(value), text);
            assert!(short(value).len() <= 5, "{value}");
        }
        let digits = (0..64).map(|bit| short(1 << bit)).filter(|text| text.len() > 5);
        assert_eq!(digits.count(), 0);
    }

    #[test]
    fn small_rates_have_a_decimal_place() {
        for (value, text) in [(0.0, "0"), (0.04, "0"), (0.5, "0.5"), (2.0, "2"), (99.94, "99.9"), (99.96, "100")] {
            assert_eq!(rate(value), text);
        }
        assert_eq!(rate(12_345.6), "12.3k");
    }
}
