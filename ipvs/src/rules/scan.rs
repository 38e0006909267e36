//! popt's rules for words: bundles of letters, attached values, an optional value.

use super::options::{Value, Word};
use super::problem::{Problem, ProblemKind, text};

/// What stands next on a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    /// A command or option with its value.
    Word(Word, Option<&'a [u8]>),
    /// A word that is neither.
    Loose(&'a [u8]),
}

/// Takes a line apart.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    words: &'a [&'a [u8]],
    next: usize,
    /// What is left of a bundle such as `-Lnc`.
    bundle: &'a [u8],
    /// Options have ended: what follows are words.
    words_only: bool,
    /// The first word ends the options, as POSIX wants it.
    posix: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(words: &'a [&'a [u8]], posix: bool) -> Self {
        Self { words, next: 0, bundle: &[], words_only: false, posix }
    }

    /// The number of the word that was taken last.
    pub(crate) fn last(&self) -> usize {
        self.next.saturating_sub(1)
    }

    /// The word that was taken last.
    pub(crate) fn last_word(&self) -> &'a [u8] {
        self.words.get(self.last()).copied().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Token<'a>>, Box<Problem>> {
        if !self.bundle.is_empty() {
            return self.letter().map(Some);
        }
        let Some(word) = self.take() else { return Ok(None) };
        match word {
            _ if self.words_only => Ok(Some(Token::Loose(word))),
            b"--" => {
                self.words_only = true;
                self.next()
            }
            [b'-', b'-', long @ ..] => self.long(long).map(Some),
            [b'-', bundle @ ..] if !bundle.is_empty() => {
                self.bundle = bundle;
                self.letter().map(Some)
            }
            loose => {
                self.words_only |= self.posix;
                Ok(Some(Token::Loose(loose)))
            }
        }
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let word = *self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    fn long(&mut self, long: &'a [u8]) -> Result<Token<'a>, Box<Problem>> {
        let (name, attached) = match long.iter().position(|&byte| byte == b'=') {
            Some(at) => (&long[..at], Some(&long[at + 1..])),
            None => (long, None),
        };
        let word = Word::from_long(name).ok_or_else(|| self.problem(ProblemKind::UnknownOption))?;
        let value = self.value_of(word, attached)?;
        Ok(Token::Word(word, value))
    }

    fn letter(&mut self) -> Result<Token<'a>, Box<Problem>> {
        let (&letter, rest) = self.bundle.split_first().unwrap_or((&0, &[]));
        self.bundle = &[];
        let word = Word::from_letter(letter).ok_or_else(|| self.problem(ProblemKind::UnknownOption))?;
        // One `=` behind a letter belongs to neither side.
        let (equals, rest) = match rest {
            [b'=', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        if word.value() == Value::None && !equals {
            self.bundle = rest;
            return Ok(Token::Word(word, None));
        }
        let attached = (equals || !rest.is_empty()).then_some(rest);
        let value = self.value_of(word, attached)?;
        Ok(Token::Word(word, value))
    }

    fn value_of(&mut self, word: Word, attached: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Box<Problem>> {
        match (word.value(), attached) {
            (Value::None, None) => Ok(None),
            (Value::None, Some(_)) => Err(self.problem(ProblemKind::UnwantedValue)),
            (_, Some(value)) => Ok(Some(value)),
            (Value::Required(_), None) => self.take().map(Some).ok_or_else(|| self.problem(ProblemKind::MissingValue)),
            (Value::Optional(_), None) => match self.words.get(self.next) {
                Some([b'-', ..]) | None => Ok(None),
                Some(_) => Ok(self.take()),
            },
        }
    }

    // Boxed, for the way that everybody goes is the one without.
    #[cold]
    fn problem(&self, kind: impl FnOnce(super::problem::Text) -> ProblemKind) -> Box<Problem> {
        Box::new(Problem { kind: kind(text(self.last_word())), word: self.last() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::OPTIONS;
    use super::*;

    fn scan(line: &str, posix: bool) -> Vec<String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut scanner = Scanner::new(&words, posix);
        let mut tokens = Vec::new();
        loop {
            let shown = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            match scanner.next() {
                Ok(None) => return tokens,
                Ok(Some(Token::Loose(word))) => tokens.push(format!("'{}'", shown(word))),
                Ok(Some(Token::Word(word, value))) => {
                    let name = match word {
                        Word::Command(row) => row.long,
                        Word::Option(row) => OPTIONS[usize::from(row)].long,
                    };
                    tokens.push(value.map_or(name.to_owned(), |value| format!("{name}={}", shown(value))));
                }
                Err(problem) => {
                    tokens.push(format!("{} @{}", problem, problem.word));
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
    fn the_optional_value() {
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
    fn words_and_the_end_of_options() {
        assert_eq!(scan("a -L b - -n", false), ["'a'", "list", "'b'", "'-'", "numeric"]);
        assert_eq!(scan("-L -- -n --x", false), ["list", "'-n'", "'--x'"]);
        assert_eq!(scan("-L a -n", true), ["list", "'a'", "'-n'"]);
    }

    #[test]
    fn problems_name_the_word_taken_last() {
        assert_eq!(scan("-L --lis", false), ["list", "--lis: unknown option @1"]);
        assert_eq!(scan("-Lqn", false), ["list", "-Lqn: unknown option @0"]);
        assert_eq!(scan("-n=1", false), ["-n=1: option does not take an argument @0"]);
        assert_eq!(scan("-n=", false), ["-n=: option does not take an argument @0"]);
        assert_eq!(scan("--list=3", false), ["--list=3: option does not take an argument @0"]);
        assert_eq!(scan("-A -t", false), ["add-service", "-t: missing argument @1"]);
    }
}
