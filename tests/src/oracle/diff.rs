//! Compares two texts as `diff -u` does.

use std::time::Duration;

use similar::TextDiff;

/// Number of unchanged lines that are shown around each change.
const CONTEXT: usize = 4;
/// Maximum number of lines of a difference that are shown.
const MAX_LINES: usize = 200;
/// Time limit of the search for the shortest difference, which is quadratic if there are no common lines.
const LIMIT: Duration = Duration::from_secs(2);

/// Returns the lines in which two texts differ, with some lines around them, at most 200 in all. Returns `None` if the
/// texts are equal.
pub fn diff(left: &str, right: &str) -> Option<String> {
    if left == right {
        return None;
    }
    let diff = TextDiff::configure().timeout(LIMIT).diff_lines(left, right);
    let text = diff.unified_diff().context_radius(CONTEXT).to_string();
    Some(text.split_inclusive('\n').take(MAX_LINES).collect())
}
