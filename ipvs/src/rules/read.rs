//! Words and lines → commands.

use std::fmt;

use super::check;
use super::command::Command;
use super::draft::Limits;
use super::error::{ParseError, Problem};
use super::fast_path;
use super::options::Word;
use super::resolver::Resolver;
use super::scan::{Scanner, Token};
use super::words::Words;

/// Reads the words of a command line, without the program's name.
///
/// # Errors
///
/// Fails for words that ipvsadm 1.31 refuses, with the message of ipvsadm. This includes names of hosts and ports that
/// `resolver` does not know.
///
/// ```
/// use ipvs::rules::{self, Command, Numeric};
///
/// let words: [&[u8]; 4] = [b"-At", b"192.0.2.1:80", b"-s", b"rr"];
/// let Ok(Command::Change(change)) = rules::parse(&words, &mut Numeric) else { panic!() };
/// assert_eq!(change.to_string(), "-A -t 192.0.2.1:80 -s rr");
/// ```
pub fn parse(words: &[&[u8]], resolver: &mut dyn Resolver) -> Result<Command, ParseError> {
    check::parse(words.iter().copied(), false, Limits::OF_IPVSADM, resolver).map_err(|problem| problem.error)
}

/// Reads the words of a command line as [`parse`] does, but the first word that is not an option ends the options
/// (`POSIXLY_CORRECT`). Only the program `ipvsadm` needs it.
///
/// # Errors
///
/// Fails as [`parse`] does.
pub fn parse_posix(words: &[&[u8]], resolver: &mut dyn Resolver) -> Result<Command, ParseError> {
    check::parse(words.iter().copied(), true, Limits::OF_IPVSADM, resolver).map_err(|problem| problem.error)
}

/// An iterator over the commands of a text, line by line.
///
/// Empty lines and comments are skipped. A comment extends from a word that begins with `#` to the end of the line. The
/// word `ipvsadm` is skipped, too, so that lines can be copied from a script.
///
/// ```
/// use ipvs::rules::{Lines, Numeric};
///
/// let text = b"# web\n-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r nowhere -m\n";
/// let lines: Vec<_> = Lines::new(text, &mut Numeric).collect();
/// assert_eq!(lines[0].as_ref().unwrap().number, 2);
/// assert_eq!(
///     lines[1].as_ref().unwrap_err().to_string(),
///     "line 3, column 23: illegal real server address[:port] specified: no such host",
/// );
/// ```
pub struct Lines<'t, 'r> {
    text: &'t [u8],
    line: &'t [u8],
    number: usize,
    limits: Limits,
    resolver: &'r mut dyn Resolver,
}

/// A command of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// The number of its line; the first is 1.
    pub number: usize,
    /// The command.
    pub command: Command,
}

/// An error in a line of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct LineError {
    /// The number of the line; the first is 1.
    pub number: usize,
    /// The column of the error, in bytes; the first is 1.
    pub column: usize,
    /// The line. Bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The error.
    pub error: ParseError,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.number, self.column, self.error)
    }
}

impl std::error::Error for LineError {}

impl<'t, 'r> Lines<'t, 'r> {
    /// Returns an iterator over the commands of a text. Timeouts may be as long as the kernel accepts.
    pub fn new(text: &'t [u8], resolver: &'r mut dyn Resolver) -> Self {
        Self { text, line: &[], number: 0, limits: Limits::OF_THE_KERNEL, resolver }
    }

    /// Returns an iterator over the commands of a text. Timeouts over 31 days are errors, as in ipvsadm.
    pub fn classic(text: &'t [u8], resolver: &'r mut dyn Resolver) -> Self {
        Self { limits: Limits::OF_IPVSADM, ..Self::new(text, resolver) }
    }

    /// Removes the first line from the text.
    fn take_line(&mut self) {
        let end = memchr::memchr(b'\n', self.text).unwrap_or(self.text.len());
        self.line = &self.text[..end];
        self.text = self.text.get(end + 1..).unwrap_or_default();
        self.number += 1;
    }

    /// Returns an error about the line that was read last. It points at the option that the error is about, or at its
    /// value. If the line does not have the option, it points at the word `otherwise`.
    #[cold]
    fn error(&self, error: ParseError, otherwise: usize) -> LineError {
        let word = error.option().and_then(|option| {
            find_word(self.line, error.is_about_value(), |word| match word {
                Word::Option(row, _) => row.name == option || row.long == option,
                Word::Command(_) => false,
            })
        });
        LineError {
            number: self.number,
            column: column(self.line, Words::of(self.line).nth(word.unwrap_or(otherwise))),
            text: String::from_utf8_lossy(self.line).into_owned(),
            error,
        }
    }

    /// Returns an error about the line that was read last. It points at the option that the error is about, or at the
    /// command.
    #[cold]
    pub(super) fn error_of_command(&self, error: ParseError) -> LineError {
        let command = find_word(self.line, false, |word| matches!(word, Word::Command(_)));
        self.error(error, command.unwrap_or(0))
    }
}

impl fmt::Debug for Lines<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Iterator for Lines<'_, '_> {
    type Item = Result<Line, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.text.is_empty() {
            self.take_line();
            if let Some(change) = fast_path::added_server(self.line) {
                return Some(Ok(Line { number: self.number, command: Command::Change(change) }));
            }
            match check::parse(Words::of(self.line), false, self.limits, self.resolver) {
                Ok(command) => return Some(Ok(Line { number: self.number, command })),
                // An empty line or a comment.
                Err(_) if Words::of(self.line).next().is_none() => {}
                Err(Problem { error, word }) => return Some(Err(self.error(error, word))),
            }
        }
        None
    }
}

/// Returns the number of the first word of the line for which `is_it` is true. With `or_value`, returns the number of
/// its value instead, if that is a separate word. Returns `None` if the line has no such word.
fn find_word(line: &[u8], or_value: bool, is_it: impl Fn(Word) -> bool) -> Option<usize> {
    let mut scanner = Scanner::new(Words::of(line), false);
    while let Ok(Some(token)) = scanner.next() {
        match token {
            Token::Word(word, value) if is_it(word) => {
                // The value may be a word of its own.
                let is_apart = value.is_some_and(|value| std::ptr::eq(value, scanner.last_word()));
                return Some(scanner.last() - usize::from(is_apart && !or_value));
            }
            Token::Word(..) | Token::Loose(_) => {}
        }
    }
    None
}

/// Returns the column of a word of the line, or the end of the line for a missing word.
pub(super) fn column(line: &[u8], word: Option<&[u8]>) -> usize {
    let Some(word) = word else { return line.trim_ascii_end().len() + 1 };
    // The word is a slice of the line, so their distance in memory is the column.
    word.as_ptr().addr().saturating_sub(line.as_ptr().addr()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Numeric, read_config};

    /// Kernels accept timeouts of 35 days and more, ipvsadm does not.
    #[test]
    fn files_may_have_timeouts_up_to_the_kernels_limit() {
        let text = b"--set 3000000 1 1\n-A -t 192.0.2.1:80 -s rr -p 3000000\n";
        assert!(Lines::new(text, &mut Numeric).all(|line| line.is_ok()));
        assert!(Lines::classic(text, &mut Numeric).all(|line| line.is_err()));
        let read = read_config(text, &mut Numeric).expect("reads").config;
        assert_eq!(read.services[0].service.persistence, Some(3_000_000));
        let words: [&[u8]; 7] = [b"-A", b"-t", b"192.0.2.1:80", b"-s", b"rr", b"-p", b"3000000"];
        assert!(parse(&words, &mut Numeric).is_err());
        assert!(read_config(b"--set 21474837 1 1\n-A -t 192.0.2.1:80 -s rr -p 4294968\n", &mut Numeric).is_err());
    }

    #[test]
    fn errors_point_at_the_word_they_are_about() {
        let table = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n";
        for (line, marked) in [
            ("-a -t 192.0.2.1:80 -r 224.0.0.1 -m", "224.0.0.1"),
            ("-a -t192.0.2.1:80 -r10.0.0.9 -my 5", "5"),
            ("-A -t 192.0.2.1:80 -s wrr", "192.0.2.1:80"),
            ("-a -t 192.0.2.9:80 -r 10.0.0.9 -m", "192.0.2.9:80"),
            ("-e -t 192.0.2.1:80 -r 10.0.0.9 -m", "10.0.0.9"),
            ("-A -w 3 -t 192.0.2.8:80", "-w"),
            ("-A --weight=3 -t 192.0.2.8:80", "--weight=3"),
            ("-A -M 99 -t [2001:db8::1]:80 -p --netmask=5", "--netmask=5"),
            ("-A -t 192.0.2.8:80 -b sh-port", "sh-port"),
            ("-A -t 192.0.2.8:80 -o", "-o"),
            ("-A -t 192.0.2.8:0", "192.0.2.8:0"),
            ("  ipvsadm -L -n", "-L"),
            ("--stop-daemon master", "--stop-daemon"),
        ] {
            let errors = read_config(format!("{table}{line}\n").as_bytes(), &mut Numeric).expect_err(line);
            let column = line.find(marked).map(|at| at + 1);
            assert_eq!((errors.len(), Some(errors[0].column)), (1, column), "{line}: {}", errors[0]);
        }
        // A line without a service: the column is that of the end, before trailing blanks.
        let errors = read_config(b"-A -s rr  \n", &mut Numeric).expect_err("no service");
        assert_eq!(errors[0].column, 9);
    }
}
