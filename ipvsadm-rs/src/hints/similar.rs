//! Names that resemble a misspelled one.

/// Returns the candidate that is most similar to a word, or `None` if none is similar.
pub(super) fn similar<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    /// A transposition, or one letter too many, too few or wrong. Short names differ entirely at two.
    const DISTANCE: usize = 1;
    /// Words of at least this length may have two such errors.
    const LONG: usize = 6;
    let most = if word.chars().count() >= LONG { DISTANCE + 1 } else { DISTANCE };
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_misspelled_names() {
        let known = ["rr", "wrr", "wlc", "sh", "lblc", "lblcr"];
        for (word, expected) in
            [("RR", Some("rr")), ("wlcc", Some("wlc")), ("lbclr", Some("lblcr")), ("random", None), ("", None)]
        {
            assert_eq!(similar(word, known), expected, "{word}");
        }
        assert_eq!(similar("persistant", ["persistent", "pe"]), Some("persistent"));
    }
}
