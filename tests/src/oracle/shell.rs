//! Runs a command line as typed at a prompt, with a time limit.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::command::{Raw, memory_file, run_raw};

/// Output and exit status of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its standard output; bytes that are not UTF-8 are written as `\xff`.
    pub stdout: String,
    /// Its standard error, in the same form.
    pub stderr: String,
    /// The end as text: `exit 2`, `signal 11`, or `not done in time`.
    pub end: String,
}

impl Outcome {
    pub(super) fn of(raw: &Raw) -> Outcome {
        let end = raw.status.map(|status| match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        });
        let end = end.unwrap_or_else(|| "not done in time".to_owned());
        Outcome { stdout: text(&raw.stdout), stderr: text(&raw.stderr), end }
    }
}

/// Returns bytes as text in which each is visible: `\xff`, `\0`.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text.replace('\0', "\\0")
}

/// Runs a line in the network namespace of the calling thread.
///
/// `/bin/sh` runs it only if it needs a shell: in a guest, a shell takes as long as the command that it starts.
pub fn run(line: &str, limit: Duration) -> Result<Outcome> {
    let (mut command, mut stdin, mut stdout) = (shell(line), Stdio::null(), None);
    if let Some(plain) = Plain::read(line) {
        command = Command::new(&plain.words[0]);
        command.args(&plain.words[1..]);
        if let Some(text) = &plain.here {
            stdin = memory_file(text.as_bytes())?.into();
        }
        match plain.from.map(File::open).transpose() {
            Ok(Some(file)) => stdin = file.into(),
            Ok(None) => {}
            // The shell prints its own message for a missing file.
            Err(_) => command = shell(line),
        }
        stdout = plain.to.map(File::create).transpose()?.map(Stdio::from);
    }
    Ok(Outcome::of(&run_raw(&mut command, stdin, stdout, limit)?))
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line);
    command
}

/// A line that needs no shell: words, perhaps quoted, and at most one file or heredoc for input and one file for
/// output.
#[derive(Debug, Default, PartialEq)]
struct Plain {
    words: Vec<String>,
    here: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl Plain {
    fn read(line: &str) -> Option<Plain> {
        let (line, rest) = line.split_once('\n').unwrap_or((line, ""));
        let mut plain = Plain::default();
        let mut words = Words { rest: line };
        while let Some(word) = words.next()? {
            match word {
                Word::Quoted(word) => plain.words.push(word),
                // The next word is the name of a file.
                Word::From => plain.from = Some(words.file()?),
                Word::To => plain.to = Some(words.file()?),
                Word::Here => {
                    let (end, text) = (words.file()?, rest);
                    plain.here = Some(text.strip_suffix(&end)?.to_owned());
                }
            }
        }
        let first = plain.words.first()?;
        let is_program = first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        // Built into the shell; the program of that name, if there is one, differs.
        let is_builtin = ["exec", "printf", "echo", "ulimit", "true", "false"].contains(&first.as_str());
        (is_program && !is_builtin && rest.is_empty() == plain.here.is_none()).then_some(plain)
    }
}

enum Word {
    Quoted(String),
    From,
    To,
    Here,
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn file(&mut self) -> Option<String> {
        match self.next()?? {
            Word::Quoted(word) => Some(word),
            _ => None,
        }
    }

    /// Returns the next word, `Some(None)` at the end, and `None` if the line needs a shell.
    fn next(&mut self) -> Option<Option<Word>> {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if self.rest.is_empty() {
            return Some(None);
        }
        for (sign, word) in [("<<", Word::Here), ("<", Word::From), (">", Word::To)] {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Some(Some(word));
            }
        }
        let mut word = String::new();
        let mut characters = self.rest.char_indices();
        loop {
            let Some((at, c)) = characters.next() else {
                self.rest = "";
                break;
            };
            match c {
                ' ' | '\t' => {
                    self.rest = &self.rest[at..];
                    break;
                }
                '\'' | '"' => loop {
                    match characters.next()? {
                        (_, end) if end == c => break,
                        (_, '$' | '`' | '\\') if c == '"' => return None,
                        (_, other) => word.push(other),
                    }
                },
                '$' | '`' | '\\' | '|' | '&' | ';' | '(' | ')' | '<' | '>' | '*' | '?' | '#' | '~' | '{' | '}' => {
                    return None;
                }
                other => word.push(other),
            }
        }
        Some(Some(Word::Quoted(word)))
    }
}
