//! Text that was copied from a web page, a word processor or a shell script.

use ipvs::rules::program::COMMANDS;

/// Returns the hint for the words of a line that contain such text. `None` for words as people type them.
pub(super) fn for_words(words: &[&[u8]]) -> Option<String> {
    let texts: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
    texts
        .iter()
        .find_map(|word| for_characters(word))
        .or_else(|| for_start(texts.first()?, texts.get(1).map_or("", |word| word)))
        .or_else(|| for_backslash(texts.iter().map(AsRef::as_ref)))
}

/// Returns the hint for characters that look like a hyphen, a blank or a quotation mark.
fn for_characters(word: &str) -> Option<String> {
    if let Some(rest) = word.strip_prefix('\u{feff}') {
        return Some(format!("The text before `{rest}' is a byte order mark (U+FEFF). Save the file without it."));
    }
    let first = word.chars().next()?;
    if let Some(name) = name_of_dash(first) {
        let rest = word.trim_start_matches(|c| name_of_dash(c).is_some() || c == '-');
        let name_of_option = rest.split('=').next().unwrap_or(rest);
        let hyphens = if name_of_option.len() > 2 { "--" } else { "-" };
        return Some(format!(
            "`{word}' begins with {name} (U+{:04X}), not with a hyphen. Type `{hyphens}{rest}'.",
            u32::from(first)
        ));
    }
    word.chars().find_map(|c| {
        let code = u32::from(c);
        if let Some(name) = name_of_blank(c) {
            return Some(format!("`{}' contains {name} (U+{code:04X}). Type an ordinary blank.", word.escape_debug()));
        }
        matches!(c, '\u{2018}'..='\u{201f}').then(|| {
            format!("`{word}' contains a typographic quotation mark (U+{code:04X}). A rule needs no quotation marks.")
        })
    })
}

fn name_of_dash(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{2010}' | '\u{2011}' => "a typographic hyphen",
        '\u{2013}' => "an en dash",
        '\u{2014}' => "an em dash",
        '\u{2012}' | '\u{2015}' => "a dash",
        '\u{2212}' => "a minus sign",
        '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => "a wide hyphen",
        _ => return None,
    })
}

fn name_of_blank(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{a0}' | '\u{202f}' => "a no-break space",
        '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}' => "a typographic space",
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => "an invisible character",
        _ => return None,
    })
}

/// Returns the hint for a line that begins like one of a shell, instead of with `ipvsadm` or a command.
fn for_start(first: &str, second: &str) -> Option<String> {
    let is_program = |word: &str| word == "ipvsadm" || word.ends_with("/ipvsadm");
    let variable = first.trim_matches(|c: char| "${}\"".contains(c));
    if matches!(first, "sudo" | "doas" | "$" | "exec") || first.ends_with("/ipvsadm") {
        let second = if is_program(second) && !is_program(first) { format!(" {second}") } else { String::new() };
        return Some(format!("Omit `{first}{second}'. A rule begins with its command, such as -A, or with `ipvsadm`."));
    }
    if first.starts_with('$') && variable.eq_ignore_ascii_case("ipvsadm") {
        return Some(format!("Omit `{first}'. A rule begins with its command, such as -A, or with `ipvsadm`."));
    }
    if first.starts_with('$') {
        return Some("A rules file has no variables. Write the values themselves.".into());
    }
    let long = COMMANDS.iter().find(|command| command.long == first)?.long;
    Some(format!("Commands begin with hyphens: --{long}"))
}

/// Returns the hint for a backslash that is meant to continue a line.
fn for_backslash<'w>(mut words: impl DoubleEndedIterator<Item = &'w str>) -> Option<String> {
    let last = words.next_back()?;
    if last.ends_with('\\') {
        return Some(
            "A backslash does not continue a line here, only in a shell. Write the whole rule on one line.".into(),
        );
    }
    // The shell passes an escaped blank as a part of the word.
    let is_escaped_blank = |word: &str| word.starts_with([' ', '\t']) && word.trim_start().starts_with('-');
    words.chain([last]).find(|word| is_escaped_blank(word) || *word == " ").map(|_| {
        "A blank follows a backslash, and became a part of a word. Write the whole command on one line, without the \
         backslash."
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(line: &str) -> Option<String> {
        for_words(&line.split('|').map(str::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn explains_text_from_elsewhere() {
        for (line, part) in [
            ("\u{2013}A|-t|192.0.2.1:80", "`\u{2013}A' begins with an en dash (U+2013), not with a hyphen. Type `-A'."),
            ("-L|\u{2014}stats", "an em dash (U+2014), not with a hyphen. Type `--stats'."),
            ("\u{2013}\u{2013}list", "Type `--list'."),
            ("\u{2212}\u{2212}mcast-port=5", "Type `--mcast-port=5'."),
            ("-A|-t\u{a0}192.0.2.1:80", "`-t\\u{a0}192.0.2.1:80' contains a no-break space (U+00A0)"),
            ("-A|-t|192.0.2.1:80\u{200b}", "an invisible character (U+200B)"),
            ("\u{feff}-A", "The text before `-A' is a byte order mark (U+FEFF)"),
            ("-A|-s|\u{201c}rr\u{201d}", "a typographic quotation mark (U+201C)"),
            ("-A|-t|192.0.2.1:80|\\", "A backslash does not continue a line"),
            ("-A|-s|rr\\", "A backslash does not continue a line"),
            ("-A|-t|192.0.2.1:80| |-s|rr", "A blank follows a backslash"),
            ("-A| -s|rr", "A blank follows a backslash"),
            ("sudo|ipvsadm|-A", "Omit `sudo ipvsadm'."),
            ("sudo|/sbin/ipvsadm|-A", "Omit `sudo /sbin/ipvsadm'."),
            ("/usr/sbin/ipvsadm|-A", "Omit `/usr/sbin/ipvsadm'."),
            ("$IPVSADM|-A", "Omit `$IPVSADM'."),
            ("${VIP}|-A", "A rules file has no variables."),
            ("list", "Commands begin with hyphens: --list"),
        ] {
            let found = hint(line).unwrap_or_default();
            assert!(found.contains(part), "{line}: {found}");
        }
        for line in ["-A|-t|192.0.2.1:80|-s|rr", "-A|-s|\u{e4}", "", "-a|-t|x|-r|y\\z", "foo"] {
            assert_eq!(hint(line), None, "{line}");
        }
    }
}
