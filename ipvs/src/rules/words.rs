//! A line → its words.

/// An iterator over the words of a line, without comments and the word `ipvsadm`. Blanks, tabs, CR and LF separate
/// words. Quotes have no special meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'t> {
    rest: &'t [u8],
}

impl<'t> Words<'t> {
    pub(super) fn of(line: &'t [u8]) -> Self {
        Self { rest: line }
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t [u8];

    #[inline]
    fn next(&mut self) -> Option<&'t [u8]> {
        while !self.rest.is_empty() {
            let (word, rest) = self.rest.split_at(end_of_word(self.rest));
            self.rest = rest.get(1..).unwrap_or_default();
            match word {
                [] | b"ipvsadm" => {}
                // A comment, up to the end of the line.
                [b'#', ..] => self.rest = &[],
                word => return Some(word),
            }
        }
        None
    }
}

fn end_of_word(text: &[u8]) -> usize {
    let mut end = 0;
    // Checks eight bytes at once while all are greater than a blank, as nearly all bytes of a text are.
    for eight in text.as_chunks().0 {
        match leading_above_blank(u64::from_le_bytes(*eight)) {
            8 => end += 8,
            some => {
                end += some;
                break;
            }
        }
    }
    end + text[end..].iter().position(|byte| separates_words(*byte)).unwrap_or(text.len() - end)
}

/// Returns the number of consecutive bytes, from the lowest, that are greater than a blank: 0 to 8.
fn leading_above_blank(bytes: u64) -> usize {
    let all = |byte: u8| u64::from_ne_bytes([byte; 8]);
    // The top bit of a byte becomes set where the subtraction borrows. A borrow changes only higher bytes, which do not
    // matter.
    let others = bytes.wrapping_sub(all(b' ' + 1)) & !bytes & all(0x80);
    others.trailing_zeros() as usize / 8
}

fn separates_words(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&str> {
        Words::of(line.as_bytes()).map(|word| std::str::from_utf8(word).expect("text")).collect()
    }

    /// Words of every length, with every byte in the word, and with different bytes after it.
    #[test]
    fn ends_of_words() {
        for end in 0..40 {
            for rest in [&b""[..], b" ", b"\t", b"\r-a -b -c -d", b" \xff\xff\xff\xff\xff\xff\xff\xff"] {
                for byte in (0..=255).filter(|byte| !separates_words(*byte)) {
                    let text = [&vec![byte; end][..], rest].concat();
                    assert_eq!(end_of_word(&text), end, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn words_of_lines() {
        for (line, expected) in [
            ("", &[][..]),
            (" \t\r", &[]),
            ("-A  -t\tx \r", &["-A", "-t", "x"]),
            ("-A -t x", &["-A", "-t", "x"]),
            ("ipvsadm -A ipvsadm -t ipvsadm", &["-A", "-t"]),
            ("ipvsadm", &[]),
            ("# ipvsadm -A", &[]),
            ("-A #-t x", &["-A"]),
            ("-A -t x#y", &["-A", "-t", "x#y"]),
            ("-A \u{1}\u{b} -t", &["-A", "\u{1}\u{b}", "-t"]),
            ("'a b'", &["'a", "b'"]),
        ] {
            assert_eq!(words(line), expected, "{line:?}");
        }
    }
}
