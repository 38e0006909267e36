//! Lines → commands: save files, and everything else that ipvsadm restores from.

use std::fmt;

use super::check;
use super::command::Command;
use super::draft::Limits;
use super::error::{Problem, ProblemKind};
use super::fast_path;
use super::resolver::Resolver;
use super::words::Words;

/// Understand the words of a command line, without the program's name.
///
/// ```
/// use ipvs::rules::{self, Command, Numeric};
///
/// let words: [&[u8]; 4] = [b"-At", b"192.0.2.1:80", b"-s", b"rr"];
/// let Ok(Command::Change(change)) = rules::parse(&words, &mut Numeric) else { panic!() };
/// assert_eq!(change.to_string(), "-A -t 192.0.2.1:80 -s rr");
/// ```
pub fn parse(words: &[&[u8]], resolver: &mut dyn Resolver) -> Result<Command, Problem> {
    check::parse(words.iter().copied(), false, Limits::OF_IPVSADM, resolver)
}

/// As [`parse`]; the first word that is no option ends the options, as with `POSIXLY_CORRECT`.
#[doc(hidden)]
pub fn parse_posix(words: &[&[u8]], resolver: &mut dyn Resolver) -> Result<Command, Problem> {
    check::parse(words.iter().copied(), true, Limits::OF_IPVSADM, resolver)
}

/// The commands of a text, line by line.
///
/// Lines without words and comments are left out. A comment is a word that begins with `#`, and what follows it. A word
/// `ipvsadm` is read over wherever it stands, so that a line may be copied from a script.
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

/// A command, and the number of its line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// The first line is 1.
    pub number: usize,
    /// What it says.
    pub command: Command,
}

/// A line that cannot be understood.
#[derive(Clone, Debug, PartialEq)]
pub struct LineError {
    /// The first line is 1.
    pub number: usize,
    /// Where in the line, in bytes; the first is 1.
    pub column: usize,
    /// The line.
    pub text: String,
    /// What is wrong with it.
    pub problem: ProblemKind,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.number, self.column, self.problem)
    }
}

impl std::error::Error for LineError {}

impl<'t, 'r> Lines<'t, 'r> {
    /// Read a text. Timeouts may be as long as the kernel takes them.
    pub fn new(text: &'t [u8], resolver: &'r mut dyn Resolver) -> Self {
        Self { text, line: &[], number: 0, limits: Limits::OF_THE_KERNEL, resolver }
    }

    /// Read a text as ipvsadm does, for which no timeout is longer than 31 days.
    pub fn classic(text: &'t [u8], resolver: &'r mut dyn Resolver) -> Self {
        Self { limits: Limits::OF_IPVSADM, ..Self::new(text, resolver) }
    }

    /// The line that was read last.
    pub(super) fn line(&self) -> &'t [u8] {
        self.line
    }

    /// Take a line off the text.
    fn take_line(&mut self) {
        let end = memchr::memchr(b'\n', self.text).unwrap_or(self.text.len());
        self.line = &self.text[..end];
        self.text = self.text.get(end + 1..).unwrap_or_default();
        self.number += 1;
    }

    #[cold]
    fn error(&self, Problem { kind, word }: Problem) -> LineError {
        LineError {
            number: self.number,
            column: column(self.line, Words::of(self.line).nth(word)),
            text: String::from_utf8_lossy(self.line).into_owned(),
            problem: kind,
        }
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
                // Nothing is said.
                Err(_) if Words::of(self.line).next().is_none() => {}
                Err(problem) => return Some(Err(self.error(problem))),
            }
        }
        None
    }
}

/// Where a word of the line stands; without a word, where one is missing.
fn column(line: &[u8], word: Option<&[u8]>) -> usize {
    let Some(word) = word else { return line.trim_ascii_end().len() + 1 };
    // The word is a part of the line: their distance in memory is the column.
    word.as_ptr().addr().saturating_sub(line.as_ptr().addr()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Numeric, read_config};

    /// 35 days and more: no kernel minds, ipvsadm does.
    #[test]
    fn files_may_say_what_the_kernel_holds() {
        let text = b"--set 3000000 1 1\n-A -t 192.0.2.1:80 -s rr -p 3000000\n";
        assert!(Lines::new(text, &mut Numeric).all(|line| line.is_ok()));
        assert!(Lines::classic(text, &mut Numeric).all(|line| line.is_err()));
        let read = read_config(text, &mut Numeric).expect("reads").config;
        assert_eq!(read.services[0].service.persistence, Some(3_000_000));
        let words: [&[u8]; 7] = [b"-A", b"-t", b"192.0.2.1:80", b"-s", b"rr", b"-p", b"3000000"];
        assert!(parse(&words, &mut Numeric).is_err());
        assert!(read_config(b"--set 21474837 1 1\n-A -t 192.0.2.1:80 -s rr -p 4294968\n", &mut Numeric).is_err());
    }
}
