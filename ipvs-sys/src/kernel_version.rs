//! The version of the running kernel, for behaviour that cannot be probed.

/// Returns the first two numbers of the running kernel's release: (6, 1) for `6.1.0-50-amd64`.
///
/// A missing number is `u32::MAX`, so that an unknown release counts as the newest.
#[doc(alias = "uname")]
pub fn kernel_version() -> (u32, u32) {
    parse(&rustix::system::uname().release().to_string_lossy())
}

fn parse(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(u32::MAX));
    let mut number = || numbers.next().unwrap_or(u32::MAX);
    (number(), number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_numbers() {
        for (release, numbers) in [
            ("6.1.0-50-cloud-amd64", (6, 1)),
            ("7.2-rc1", (7, 2)),
            ("10.11", (10, 11)),
            ("6", (6, u32::MAX)),
            ("unheard of", (u32::MAX, u32::MAX)),
        ] {
            assert_eq!(parse(release), numbers, "{release}");
        }
    }
}
