//! The keys in the bytes from a terminal.
//!
//! termion has a parser, too, which panics on some bytes.

use termion::event::Key;
use vte::{Params, Parser, Perform};

const ESCAPE: u8 = 0x1b;

/// Returns whether the bytes end with the start of a sequence: `ESC`, `ESC O`, or `ESC [` with numbers.
pub(super) fn is_unfinished(bytes: &[u8]) -> bool {
    let Some(start) = bytes.iter().rposition(|byte| *byte == ESCAPE) else { return false };
    match &bytes[start + 1..] {
        [] | [b'O'] => true,
        [b'[', rest @ ..] => rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b';'),
        _ => false,
    }
}

/// Returns the keys that a terminal sent. Other sequences are skipped.
pub(super) fn parse(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Keys::default();
    let mut parser = Parser::new();
    for (byte, next) in bytes.iter().zip(bytes.iter().skip(1).map(Some).chain([None])) {
        if *byte == ESCAPE && matches!(next, None | Some(&ESCAPE)) {
            keys.found.push(Key::Esc);
        } else {
            parser.advance(&mut keys, &[*byte]);
        }
    }
    keys.found
}

#[derive(Default)]
struct Keys {
    found: Vec<Key>,
    /// Whether the next character belongs to a sequence that begins with `ESC O`.
    is_shifted: bool,
}

/// Returns the key of the last character of a sequence. ctlseqs(ms) of xterm, "PC-Style Function Keys"
fn named(last: char) -> Option<Key> {
    Some(match last {
        'A' => Key::Up,
        'B' => Key::Down,
        'C' => Key::Right,
        'D' => Key::Left,
        'F' => Key::End,
        'H' => Key::Home,
        'M' => Key::Char('\n'),
        'Z' => Key::BackTab,
        _ => return None,
    })
}

impl Perform for Keys {
    fn print(&mut self, character: char) {
        match character {
            character if std::mem::take(&mut self.is_shifted) => self.found.extend(named(character)),
            '\x7f' => self.found.push(Key::Backspace),
            character => self.found.push(Key::Char(character)),
        }
    }

    fn execute(&mut self, byte: u8) {
        self.found.extend(match byte {
            b'\r' | b'\n' => Some(Key::Char('\n')),
            b'\t' => Some(Key::Char('\t')),
            1..=26 => Some(Key::Ctrl(char::from(byte - 1 + b'a'))),
            _ => None,
        });
    }

    fn csi_dispatch(&mut self, parameters: &Params, _: &[u8], _: bool, last: char) {
        let number = parameters.iter().next().and_then(<[u16]>::first).copied();
        self.found.extend(match (last, number) {
            ('~', Some(1 | 7)) => Some(Key::Home),
            ('~', Some(4 | 8)) => Some(Key::End),
            ('~', Some(5)) => Some(Key::PageUp),
            ('~', Some(6)) => Some(Key::PageDown),
            (last, _) => named(last),
        });
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        self.is_shifted = byte == b'O';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parsed() {
        let enter = Key::Char('\n');
        assert_eq!(
            parse(b"q/\r\x7f\x03\t"),
            [Key::Char('q'), Key::Char('/'), enter, Key::Backspace, Key::Ctrl('c'), Key::Char('\t')]
        );
        assert_eq!(parse(b"\x1b[A\x1b[6~\x1bOB\x1b[1~\x1b"), [Key::Up, Key::PageDown, Key::Down, Key::Home, Key::Esc]);
        assert_eq!(parse("\u{1b}\u{1b}[Bä日".as_bytes()), [Key::Esc, Key::Down, Key::Char('ä'), Key::Char('日')]);
        // A function key, and a key with a modifier.
        assert_eq!(parse(b"\x1b[15~\x1b[1;5Aq"), [Key::Up, Key::Char('q')]);
        for (bytes, unfinished) in [
            (&b"q"[..], false),
            (b"\x1b", true),
            (b"\x1b[", true),
            (b"\x1b[5", true),
            (b"\x1b[5~", false),
            (b"\x1bO", true),
        ] {
            assert_eq!(is_unfinished(bytes), unfinished, "{bytes:?}");
        }
    }

    /// Any bytes from a terminal are keys, or are skipped.
    #[test]
    fn no_bytes_panic() {
        for first in 0..=255 {
            for second in 0..=255 {
                for prefix in [&b""[..], b"\x1b", b"\x1b[", b"\x1b[<", b"\x1b]", b"\x1bP", b"\xe6"] {
                    parse(&[prefix, &[first, second, b'q']].concat());
                }
            }
        }
    }
}
