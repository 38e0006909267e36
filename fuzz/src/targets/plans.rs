//! Plans from one table to another, made step by step on a table in memory.

use ipvs::plan::{Departing, Options};
use ipvs::rules::{Command, Lines, Numeric, read_config};
use ipvs::testing::promises::{self, is_possible};
use ipvs::testing::random;
use ipvs::{Config, Director, Model, Selector};

use super::holds;
use crate::tables::{is_seed, random_value};

/// The line between the two tables of a text. Options of the plan follow it.
pub(crate) const DESIRED: &str = "# desired:";

/// Takes two tables and options, which are random or from a text. Checks all properties of the plan.
///
/// A text has the lines of the current table, the line `# desired: --only tcp --drain`, and the lines of the desired
/// table.
pub fn plans(bytes: &[u8]) -> bool {
    let mut director = Model::new();
    let (desired, options) = if is_seed(bytes) {
        let values = (random::two_tables(), random::options());
        let Some(((current, desired), options)) = random_value(&values, bytes) else { return false };
        random::fill(&mut director, &current);
        (desired, options)
    } else {
        let (current, rest) = split(bytes, DESIRED.as_bytes());
        let (words, desired) = split(rest, b"\n");
        take_lines(&mut director, current);
        let Some(desired) = table(desired) else { return false };
        let current = Config::from(&director.state().expect("a model"));
        (desired, options(words, &current))
    };
    if !is_possible(&director.state().expect("a model"), &desired, &options) {
        return false;
    }
    holds(promises::kept(&mut director, &desired, &options))
}

/// Returns the bytes before the separator, and those after it.
fn split<'t>(text: &'t [u8], separator: &[u8]) -> (&'t [u8], &'t [u8]) {
    match text.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (&text[..at], &text[at + separator.len()..]),
        None => (text, b""),
    }
}

/// Submits each line that is a valid change.
fn take_lines(director: &mut Model, text: &[u8]) {
    for line in Lines::new(text, &mut Numeric) {
        if let Ok(line) = line
            && let Command::Change(change) = line.command
            && change.validate().is_ok()
        {
            // A refused change is not part of the table.
            let _refused = director.submit(&[change]).expect("valid");
        }
    }
}

/// Reads a table. Without invalid lines, it is the table of a rules file. Otherwise it is the table that results from
/// the valid lines. `None` if no kernel has the schedulers or engines in it.
fn table(text: &[u8]) -> Option<Config> {
    let config = read_config(text, &mut Numeric).map(|read| read.config).unwrap_or_else(|_| {
        let mut director = Model::new();
        take_lines(&mut director, text);
        Config::from(&director.state().expect("a model"))
    });
    let without_daemons = Config { daemons: None, ..config.clone() };
    Model::new().submit(&random::steps(&without_daemons)).expect("valid").is_empty().then_some(config)
}

/// Reads options in the form of the program, and `--former`: the services of the current table were applied before.
/// Invalid words are skipped.
fn options(words: &[u8], current: &Config) -> Options {
    let mut options = Options::default();
    let text = String::from_utf8_lossy(words);
    let mut words = text.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let mut selector = || words.next().and_then(|word| word.parse::<Selector>().ok());
        match word {
            "--only" => options.scope.only.extend(selector()),
            "--protect" => options.scope.protect.extend(selector()),
            "--listed-only" => options.scope.listed = true,
            "--former" => {
                options.scope.listed = true;
                options.scope.former = current.services.iter().map(|service| service.service.key).collect();
            }
            "--keep-weights" => options.keep_weights = true,
            "--drain" => options.departing = Departing::Drain,
            "--drain-then-delete" => options.departing = Departing::DrainThenDelete,
            "--reorder" => options.reorder = true,
            _ => {}
        }
    }
    options
}
