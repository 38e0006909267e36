//! Rules files: their lines, and the tables that they describe.

use ipvs::rules::{Lines, Numeric, parse, read_config};
use ipvs::testing::saved;

use super::holds;

/// Reads a rules file.
pub fn restore_lines(text: &[u8]) -> bool {
    let count = text.split(|byte| *byte == b'\n').count();
    for line in Lines::new(text, &mut Numeric) {
        match line {
            Ok(line) => assert!((1..=count).contains(&line.number)),
            Err(error) => {
                assert!((1..=count).contains(&error.number) && error.column >= 1, "{error:?}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
    for line in text.split(|byte| *byte == b'\n') {
        parses_as_its_words(line);
    }
    let Ok(read) = read_config(text, &mut Numeric) else { return false };
    let once = saved::rules_of(&read.config);
    match read_config(&once, &mut Numeric) {
        Ok(again) => assert_eq!(saved::rules_of(&again.config), once),
        Err(errors) => panic!("{}\n{errors:?}", String::from_utf8_lossy(&once)),
    }
    holds(saved::in_rules(&read.config)) && read.lines > 0
}

/// Checks that a line parses as the same command as its words on a command line.
fn parses_as_its_words(line: &[u8]) {
    let words: Vec<&[u8]> = line
        .split(|byte| b" \t\r".contains(byte))
        .take_while(|word| !word.starts_with(b"#"))
        .filter(|word| !word.is_empty() && *word != b"ipvsadm")
        .collect();
    let of_words = parse(&words, &mut Numeric);
    match Lines::classic(line, &mut Numeric).next() {
        None => assert!(words.is_empty()),
        Some(Ok(line)) => assert_eq!(of_words, Ok(line.command)),
        Some(Err(error)) => assert_eq!(of_words, Err(error.error)),
    }
}
