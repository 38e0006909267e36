//! The limit of the input.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use crate::terminal::text::escaped;

/// The environment variable with the limit, for programs without the option `--max-input`.
pub(crate) const VARIABLE: &str = "IPVSADM_MAX_INPUT";

/// The maximum size of a file, in bytes. Endless input would otherwise be read until no memory is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit(
    /// 0 means no limit.
    u64,
);

const UNITS: [(char, u64); 3] = [('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

impl Default for Limit {
    /// 256 MiB, which is several million lines.
    fn default() -> Self {
        Self(256 << 20)
    }
}

impl FromStr for Limit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix([*unit, unit.to_ascii_lowercase()])?, *bytes)))
            .unwrap_or((text, 1));
        // Otherwise, a sign would be allowed.
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let size = number.parse().ok().filter(|_| is_number).and_then(|number: u64| number.checked_mul(unit));
        size.map(Self).ok_or("not a number of bytes, optionally followed by K, M or G")
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes)) {
            Some((unit, bytes)) => write!(f, "{} {unit}iB", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl Limit {
    /// Returns the limit in the environment variable, or the default.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(Self::default()) };
        let text = text.to_string_lossy();
        let shown = escaped(&text);
        text.parse().map_err(|error| format!("invalid value {shown} of the environment variable {VARIABLE}: {error}"))
    }

    /// Reads everything into `bytes`. Fails if it is longer than the limit.
    pub(crate) fn read_to_end(self, source: impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
        source.take(self.most()).read_to_end(bytes)?;
        self.check(bytes.len(), "the input")
    }

    /// Reads a line without its newline. Returns `None` at the end of the input. Fails if the line is longer than the
    /// limit.
    pub(crate) fn read_line(self, source: impl BufRead) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        if source.take(self.most()).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.check(line.len(), "the line")?;
        line.pop_if(|last| *last == b'\n');
        Ok(Some(line))
    }

    /// Returns the number of bytes to read. One more than the limit shows that there are more.
    fn most(self) -> u64 {
        self.0.checked_sub(1).map_or(u64::MAX, |_| self.0.saturating_add(1))
    }

    /// Fails if `what`, which has this length, is longer than the limit.
    pub(crate) fn check(self, length: usize, what: &str) -> io::Result<()> {
        if u64::try_from(length).is_ok_and(|length| length < self.most()) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{what} is longer than {self}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("0", 0, "0 GiB"),
            ("17", 17, "17 bytes"),
            ("4K", 4096, "4 KiB"),
            ("256M", 256 << 20, "256 MiB"),
            ("1g", 1 << 30, "1 GiB"),
        ] {
            assert_eq!(text.parse(), Ok(Limit(bytes)));
            assert_eq!(Limit(bytes).to_string(), shown);
        }
        for text in ["", "K", "-1", "+1", "1T", "1KM", "1 K", "99999999999G", "0x10"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
        assert_eq!(Limit::default().to_string(), "256 MiB");
    }

    #[test]
    fn longer_input_is_refused() {
        let read = |limit, mut input: &[u8]| {
            let mut bytes = Vec::new();
            Limit(limit).read_to_end(&mut input, &mut bytes).map(|()| bytes.len())
        };
        assert_eq!(read(5, b"12345").expect("short"), 5);
        assert_eq!(read(0, b"12345").expect("no limit"), 5);
        assert_eq!(read(4, b"12345").expect_err("long").to_string(), "the input is longer than 4 bytes");
        assert!(Limit(1000).read_to_end(io::repeat(b'x'), &mut Vec::new()).is_err());
    }

    #[test]
    fn longer_lines_are_refused() {
        let mut input: &[u8] = b"123\n\n12\n1234\n";
        let limit = Limit(4);
        let mut line = || limit.read_line(&mut input);
        for expected in ["123", "", "12"] {
            assert_eq!(line().expect("short").as_deref(), Some(expected.as_bytes()));
        }
        assert_eq!(line().expect_err("long").to_string(), "the line is longer than 4 bytes");
        assert_eq!(Limit(0).read_line(&b"1234"[..]).expect("no limit").as_deref(), Some(&b"1234"[..]));
        assert_eq!(Limit(0).read_line(&b""[..]).expect("the end"), None);
    }
}
