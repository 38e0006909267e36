//! Text from outside (names, arguments, file contents, packets) on its way to a terminal or into a message.
//!
//! Control characters could move the cursor, set the title or hide text. Bidirectional controls and characters without
//! a glyph could make a text look like another. All of these are escaped: `\n`, `\x1b`, `\u{202e}`. Bytes that are not
//! UTF-8 are written as `\xNN`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use std::os::unix::ffi::OsStrExt;

/// Returns a text as part of a line: all hidden characters are escaped.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    bytes(text.as_bytes(), |_| false)
}

/// Returns a text as one word of the shell. It is quoted unless all its characters are letters, digits or in `plain`.
pub(crate) fn shell_word(text: &str, plain: &[u8]) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || plain.contains(&byte)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Returns bytes as part of a line.
pub(crate) fn data(data: &[u8]) -> Cow<'_, str> {
    bytes(data, |_| false)
}

/// Returns a path as part of a line.
pub(crate) fn path(path: &Path) -> Cow<'_, str> {
    bytes(path.as_os_str().as_bytes(), |_| false)
}

/// Returns a line of a file. Tabs are kept.
pub(crate) fn line(line: &[u8]) -> Cow<'_, str> {
    bytes(line, |c| c == '\t')
}

/// Returns a text of several lines, such as a message. Line breaks and tabs are kept.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    terminal(text.as_bytes())
}

/// Returns output for a terminal. Line breaks and tabs are kept.
pub(crate) fn terminal(output: &[u8]) -> Cow<'_, str> {
    bytes(output, |c| matches!(c, '\n' | '\t'))
}

/// Returns output for a terminal, with its colours. Line breaks, tabs, and sequences that set the style are kept.
pub(crate) fn styled(output: &[u8]) -> Cow<'_, str> {
    let Some(mut at) = memchr::memchr(ESCAPE, output) else { return terminal(output) };
    let (mut out, mut rest) = (String::with_capacity(output.len() + 16), output);
    loop {
        let style = style_length(&rest[at..]);
        out.push_str(&terminal(&rest[..at]));
        // A style consists of ASCII characters. Any other escape character is escaped.
        out.push_str(&if style > 0 { String::from_utf8_lossy(&rest[at..at + style]) } else { r"\x1b".into() });
        rest = &rest[at + style.max(1)..];
        match memchr::memchr(ESCAPE, rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.push_str(&terminal(rest));
    Cow::Owned(out)
}

const ESCAPE: u8 = 0x1b;

/// Returns the length of the sequence at the start that sets colours and weights (`ESC [ numbers m`), or 0.
fn style_length(text: &[u8]) -> usize {
    let Some(numbers) = text.strip_prefix(b"\x1b[") else { return 0 };
    let length = numbers.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    if numbers.get(length) == Some(&b'm') { 2 + length + 1 } else { 0 }
}

fn bytes(text: &[u8], is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_clean = |byte: &u8| matches!(byte, b' '..=b'~') || is_kept(char::from(*byte)) && byte.is_ascii();
    if let Ok(text) = std::str::from_utf8(text)
        && text.as_bytes().iter().all(is_clean)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_kept(c) || is_visible(c) { out.push(c) } else { push_escape(&mut out, c) }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

fn push_escape(out: &mut String, c: char) {
    // Writing to a string does not fail.
    let _ = match c {
        '\n' | '\r' | '\t' => write!(out, "{}", c.escape_default()),
        c if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c)),
        c => write!(out, "{}", c.escape_unicode()),
    };
}

/// Returns whether a character has a glyph, or is a blank. Other white space, such as U+2028, counts as hidden.
fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // `str::escape_debug` escapes control and format characters, line separators and unassigned characters. It also
    // escapes a combining character, but only at the start of a text.
    let mut text = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut text[1..]).len();
    std::str::from_utf8(&text[..length]).is_ok_and(|text| text.escape_debug().count() == 2)
}

/// Returns a JSON text with hidden characters written as `\uXXXX`. JSON escapes only those below U+0020 itself. Its
/// meaning does not change, because other characters than ASCII occur only in strings.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let is_clean = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
    if text.as_bytes().iter().all(is_clean) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c == '\n' || is_visible(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped() {
        for (text, shown) in [
            ("rules-1.txt", "rules-1.txt"),
            ("a b", "a b"),
            (r#"C:\x "é" 日本 ä"#, r#"C:\x "é" 日本 ä"#),
            ("o\u{308}", "o\u{308}"),
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\u{1b}[2J\u{7}", r"\x1b[2J\x07"),
            ("\0\u{7f}", r"\x00\x7f"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("\u{202e}txt.\u{2066}", r"\u{202e}txt.\u{2066}"),
            ("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}"),
            ("\u{200b}\u{200d}\u{feff}\u{ad}", r"\u{200b}\u{200d}\u{feff}\u{ad}"),
            ("\u{e0041}", r"\u{e0041}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        assert_eq!(bytes(b"\xff\x1b\xc3", |_| false), r"\xff\x1b\xc3");
    }

    #[test]
    fn clean_text_is_not_copied() {
        assert!(matches!(escaped("192.0.2.1:80"), Cow::Borrowed(_)));
        assert!(matches!(lines("one\n\ttwo\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_and_tabs_are_kept() {
        assert_eq!(lines("a\n\tb\u{1b}\rc"), "a\n\tb\\x1b\\rc");
        assert_eq!(line(b"a\n\tb\xfe"), "a\\n\tb\\xfe");
    }

    #[test]
    fn styles_are_kept() {
        let text = "\u{1b}[1mTCP\u{1b}[0m\u{1b}[2J\u{1b}[1;31mx\u{1b}\u{1b}[m\n";
        assert_eq!(styled(text.as_bytes()), "\u{1b}[1mTCP\u{1b}[0m\\x1b[2J\u{1b}[1;31mx\\x1b\u{1b}[m\n");
        assert_eq!(styled(b"\x1b["), "\\x1b[");
        assert_eq!(styled(b"plain\x07"), "plain\\x07");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"a\u{7f}\u{202e}": ["\u{1b}\n", "\u{e0041}", "ä", 1]});
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        let shown = json(&text);
        assert!(shown.contains(r"\u007f\u202e") && shown.contains(r"\udb40\udc41"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }
}
