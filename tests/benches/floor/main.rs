//! The lower bound: a program that does only the necessary work.
//!
//! It has no checks, messages or names, and panics on a line that it does not expect. Changes are sent in batches, and
//! each service has one dump. It has no dependencies, since the benchmark compiles it with rustc alone.

mod connections;
mod kernel;
mod listing;
mod rules;
mod text;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["-R"] => rules::restore(),
        ["-C"] => rules::flush(),
        ["-A", ..] => rules::one(&words.join(" ")),
        ["-Ln"] => listing::list(listing::Kind::Plain),
        ["-Ln", "--stats", "--exact"] => listing::list(listing::Kind::Stats),
        ["-Sn"] => listing::list(listing::Kind::Rules),
        ["-Lnc"] => connections::list(),
        _ => panic!("{words:?}"),
    }
}
