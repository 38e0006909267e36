//! The text of a line: comments, braces and includes.

/// Returns the offset of the first brace that is not quoted.
pub(super) fn first_brace(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    text.bytes().position(|byte| {
        is_quoted ^= byte == b'"';
        !is_quoted && matches!(byte, b'{' | b'}')
    })
}

/// Returns the kind and the pattern of an include.
pub(super) fn include_of(text: &str) -> Option<(Option<char>, &str)> {
    let rest = text.strip_prefix("include")?;
    let kind = rest.chars().next().filter(|kind| "rmwba".contains(*kind));
    let rest = rest.strip_prefix(|kind: char| "rmwba".contains(kind)).unwrap_or(rest);
    let pattern = rest.strip_prefix(|blank: char| blank.is_ascii_whitespace())?;
    Some((kind, pattern.trim_matches([' ', '\t'])))
}

pub(super) struct Decommented {
    pub(super) text: String,
    /// The number of blanks before the text.
    pub(super) offset: usize,
    /// True if the text is a part of the line, without changes.
    pub(super) is_exact: bool,
    pub(super) has_open_quote: bool,
}

/// Removes comments and blanks. `#` and `!` begin a comment, unless they are quoted or escaped.
pub(super) fn decomment(raw: &str) -> Decommented {
    let trimmed = raw.trim_start_matches([' ', '\t']);
    let mut text = String::with_capacity(trimmed.len());
    let (mut is_quoted, mut is_exact, mut goes_on) = (false, true, false);
    let mut comment = None;
    let mut chars = trimmed.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                is_quoted ^= comment.is_none();
                text.push(c);
            }
            '\\' => match chars.next() {
                None => goes_on = true,
                Some(escaped @ ('#' | '!')) if !is_quoted => {
                    is_exact = false;
                    text.push(escaped);
                }
                Some(escaped) => text.extend(['\\', escaped]),
            },
            '#' | '!' if !is_quoted && comment.is_none() => {
                comment = Some(text.len());
                text.push(c);
            }
            c => text.push(c),
        }
    }
    text.truncate(comment.unwrap_or(text.len()));
    text.truncate(text.trim_end_matches([' ', '\t']).len());
    if goes_on {
        text.push('\\');
    }
    Decommented { text, offset: raw.len() - trimmed.len(), is_exact, has_open_quote: is_quoted }
}
