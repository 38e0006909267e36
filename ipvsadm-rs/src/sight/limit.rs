//! The value of `--limit`.

/// Parses the maximum number of rows. 0 means no limit.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let limit = text.parse().map_err(|_| "expected a number of rows")?;
    Ok(if limit == 0 { usize::MAX } else { limit })
}
