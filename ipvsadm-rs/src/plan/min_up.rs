//! `--min-up`: the number of servers of a service that stay in service.

use std::str::FromStr;

/// The number of servers that a service keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MinUp {
    Servers(usize),
    Percent(usize),
}

impl FromStr for MinUp {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a number of servers, or 0% to 100%";
        let (number, make): (_, fn(usize) -> Self) = match text.strip_suffix('%') {
            Some(number) => (number, Self::Percent),
            None => (text, Self::Servers),
        };
        match number.parse() {
            Ok(percent) if text.ends_with('%') && percent > 100 => Err(EXPECTED),
            Ok(number) => Ok(make(number)),
            Err(_) => Err(EXPECTED),
        }
    }
}

impl MinUp {
    /// Returns the number of servers that must be up, of a service with this many.
    pub(crate) fn of(self, servers: usize) -> usize {
        match self {
            Self::Servers(number) => number,
            Self::Percent(percent) => (servers * percent).div_ceil(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MinUp;

    #[test]
    fn min_up_is_a_number_or_a_percentage() {
        let of = |text: &str, servers| text.parse::<MinUp>().expect(text).of(servers);
        assert_eq!((of("2", 10), of("50%", 10), of("50%", 3), of("0%", 3), of("100%", 3)), (2, 5, 2, 0, 3));
        for text in ["", "%", "x", "-1", "101%", "1.5"] {
            assert!(text.parse::<MinUp>().is_err(), "{text}");
        }
    }
}
