//! Hints: from an error and the text that caused it, the line that says what to do.
//!
//! The sentences of ipvsadm 1.31 say what failed, seldom why. The classic programs print such a sentence to the letter,
//! and the hint on the next line. The verbs and the files that they read use the same hints.

pub(crate) mod file;
mod line;
mod paste;
mod refusal;
mod similar;

use std::collections::BTreeSet;

use crate::terminal::exit::print_error;
use crate::terminal::text;

pub(crate) use line::{for_line, for_words};
pub(crate) use refusal::{for_read, for_refusal};

/// Prints hints, each of them only once.
#[derive(Debug, Default)]
pub(crate) struct Once(BTreeSet<String>);

impl Once {
    /// Prints a hint, unless it has been printed.
    pub(crate) fn print(&mut self, hint: Option<String>) {
        if let Some(hint) = hint
            && self.0.insert(hint.clone())
        {
            print_error(&text::escaped(&hint));
        }
    }
}
