//! Words → commands and options, as popt reads them: bundles of letters, attached values, an optional value.

use super::error::{ParseError, Problem};
use super::options::{Value, Word};
use super::value_error::text;

/// The next piece of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    /// A command or option with its value.
    Word(Word, Option<&'a [u8]>),
    /// A word that is not a command, an option or a value.
    Loose(&'a [u8]),
}

/// An iterator over the commands and options of a line.
#[derive(Debug)]
pub(crate) struct Scanner<'a, W> {
    words: W,
    /// The number of words taken, and the last of them.
    taken: usize,
    last: &'a [u8],
    /// The rest of a bundle such as `-Lnc`.
    bundle: &'a [u8],
    /// Whether the options have ended, so that all further words are loose.
    words_only: bool,
    /// Whether the first loose word ends the options, as in POSIX.
    posix: bool,
}

impl<'a, W: Iterator<Item = &'a [u8]> + Clone> Scanner<'a, W> {
    pub(crate) fn new(words: W, posix: bool) -> Self {
        Self { words, taken: 0, last: &[], bundle: &[], words_only: false, posix }
    }

    /// Returns the number of words taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Returns the number of the word taken last.
    pub(crate) fn last(&self) -> usize {
        self.taken.saturating_sub(1)
    }

    /// Returns the word taken last.
    pub(crate) fn last_word(&self) -> &'a [u8] {
        self.last
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Token<'a>>, Box<Problem>> {
        let (word, attached) = loop {
            if let [letter, rest @ ..] = self.bundle {
                break self.letter(*letter, rest);
            }
            let Some(word) = self.take() else { return Ok(None) };
            match word {
                _ if self.words_only => return Ok(Some(Token::Loose(word))),
                b"--" => self.words_only = true,
                [b'-', b'-', long @ ..] => break name_and_value(long),
                [b'-', bundle @ ..] if !bundle.is_empty() => self.bundle = bundle,
                loose => {
                    self.words_only |= self.posix;
                    return Ok(Some(Token::Loose(loose)));
                }
            }
        };
        let Some(word) = word else { return Err(self.problem(ParseError::UnknownOption)) };
        let value = match (word.value(), attached) {
            (Value::None, None) => None,
            (Value::None, Some(_)) => return Err(self.problem(ParseError::UnwantedValue)),
            (_, Some(value)) => Some(value),
            (Value::Required(_), None) => match self.take() {
                None => return Err(self.problem(ParseError::MissingValue)),
                value => value,
            },
            (Value::Optional(_), None) => match self.words.clone().next() {
                Some([b'-', ..]) | None => None,
                Some(_) => self.take(),
            },
        };
        Ok(Some(Token::Word(word, value)))
    }

    #[inline]
    fn take(&mut self) -> Option<&'a [u8]> {
        let word = self.words.next()?;
        self.taken += 1;
        self.last = word;
        Some(word)
    }

    /// Returns the row of the next letter of the bundle (`None` if unknown), and the value attached to it (`None` if
    /// absent).
    #[inline]
    fn letter(&mut self, letter: u8, rest: &'a [u8]) -> (Option<Word>, Option<&'a [u8]>) {
        self.bundle = &[];
        let word = Word::from_letter(letter);
        let attached = match rest {
            [] => None,
            // popt drops one `=` after a letter.
            [b'=', value @ ..] => Some(value),
            bundle if word.is_some_and(|word| word.value() == Value::None) => {
                self.bundle = bundle;
                None
            }
            value => Some(value),
        };
        (word, attached)
    }

    #[inline]
    fn problem(&self, kind: fn(Box<str>) -> ParseError) -> Box<Problem> {
        problem(kind, self.last_word(), self.last())
    }
}

/// Returns the row of a long spelling (`None` if unknown), and the value attached to it (`None` if absent).
fn name_and_value(long: &[u8]) -> (Option<Word>, Option<&[u8]>) {
    match long.iter().position(|&byte| byte == b'=') {
        Some(at) => (Word::from_long(&long[..at]), Some(&long[at + 1..])),
        None => (Word::from_long(long), None),
    }
}

// The problem is boxed to keep the result of `next` small: errors are rare.
#[cold]
fn problem(kind: fn(Box<str>) -> ParseError, word: &[u8], number: usize) -> Box<Problem> {
    Box::new(Problem { error: kind(text(word)), word: number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(line: &str, posix: bool) -> Vec<String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut scanner = Scanner::new(words.iter().copied(), posix);
        let mut tokens = Vec::new();
        loop {
            let shown = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            match scanner.next() {
                Ok(None) => return tokens,
                Ok(Some(Token::Loose(word))) => tokens.push(format!("'{}'", shown(word))),
                Ok(Some(Token::Word(word, value))) => {
                    let name = match word {
                        Word::Command(row) => row.long,
                        Word::Option(row, _) => row.long,
                    };
                    tokens.push(value.map_or(name.to_owned(), |value| format!("{name}={}", shown(value))));
                }
                Err(problem) => {
                    tokens.push(format!("{} @{}", problem.error, problem.word));
                    return tokens;
                }
            }
        }
    }

    #[test]
    fn bundles_and_values() {
        assert_eq!(scan("-Lnc", false), ["list", "numeric", "connection"]);
        assert_eq!(scan("-At 10.0.0.1:80", false), ["add-service", "tcp-service=10.0.0.1:80"]);
        assert_eq!(scan("-At10.0.0.1:80", false), ["add-service", "tcp-service=10.0.0.1:80"]);
        assert_eq!(scan("-mw5 -mr x", false), ["masquerading", "weight=5", "masquerading", "real-server=x"]);
        assert_eq!(scan("-t=x -t==x -t=", false), ["tcp-service=x", "tcp-service==x", "tcp-service="]);
        assert_eq!(scan("--weight=5 --weight 6 --weight=", false), ["weight=5", "weight=6", "weight="]);
        assert_eq!(scan("-w -1 -s -p", false), ["weight=-1", "scheduler=-p"]);
        assert_eq!(scan("-list", false), ["list", "ipip", "scheduler=t"]);
    }

    #[test]
    fn optional_values() {
        assert_eq!(scan("-p", false), ["persistent"]);
        assert_eq!(scan("-p 50", false), ["persistent=50"]);
        assert_eq!(scan("-p -s", false), ["persistent", "-s: missing argument @1"]);
        assert_eq!(
            scan("-p50 -p=50 --persistent=50 -p=", false),
            ["persistent=50", "persistent=50", "persistent=50", "persistent="]
        );
        assert_eq!(scan("-p  -n", false), ["persistent=", "numeric"]);
    }

    #[test]
    fn loose_words_and_the_end_of_options() {
        assert_eq!(scan("a -L b - -n", false), ["'a'", "list", "'b'", "'-'", "numeric"]);
        assert_eq!(scan("-L -- -n --x", false), ["list", "'-n'", "'--x'"]);
        assert_eq!(scan("-L a -n", true), ["list", "'a'", "'-n'"]);
    }

    #[test]
    fn errors_have_the_number_of_the_word() {
        assert_eq!(scan("-L --lis", false), ["list", "--lis: unknown option @1"]);
        assert_eq!(scan("-Lqn", false), ["list", "-Lqn: unknown option @0"]);
        assert_eq!(scan("-n=1", false), ["-n=1: option does not take an argument @0"]);
        assert_eq!(scan("-n=", false), ["-n=: option does not take an argument @0"]);
        assert_eq!(scan("--list=3", false), ["--list=3: option does not take an argument @0"]);
        assert_eq!(scan("-A -t", false), ["add-service", "-t: missing argument @1"]);
    }
}
