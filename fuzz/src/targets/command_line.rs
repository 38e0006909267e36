//! Command lines: words separated by NUL, as in /proc/PID/cmdline.

use ipvs::Change;
use ipvs::rules::program::parse_posix;
use ipvs::rules::{Command, Numeric, parse, write_change};

/// Parses the words of a command line.
pub fn command_line(bytes: &[u8]) -> bool {
    let words: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let mut parsed = false;
    for read in [parse(&words, &mut Numeric), parse_posix(&words, &mut Numeric)] {
        parsed |= read.is_ok();
        match read {
            Ok(Command::Change(change)) => line_parses_again(&change, &words),
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    parsed
}

/// Checks that a parsed change can be written as a line, and that the line parses as the same change. Names with blanks
/// and invisible characters are skipped, because the language has no quotes.
fn line_parses_again(change: &Change, words: &[&[u8]]) {
    let (_, _) = (change.validate(), change.warnings());
    let line = line(change);
    if !words.iter().all(|word| word.iter().all(u8::is_ascii_graphic)) {
        return;
    }
    match parse(&line.split(|byte| *byte == b' ').collect::<Vec<_>>(), &mut Numeric) {
        Ok(Command::Change(again)) => assert_eq!(self::line(&again), line),
        other => panic!("{}: {other:?}", String::from_utf8_lossy(&line)),
    }
}

fn line(change: &Change) -> Vec<u8> {
    let mut line = Vec::new();
    write_change(&mut line, change);
    line
}
