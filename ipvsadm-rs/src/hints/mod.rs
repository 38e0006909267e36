//! Hints: lines that state what to do, from an error and the text that caused it.
//!
//! The sentences of ipvsadm 1.31 state what failed, but seldom the reason. The classic programs print such a sentence to
//! the letter, and the hint on the next line. The verbs and the files that they read use the same hints.

mod document;
pub(crate) mod file;
mod line;
mod paste;
mod refusal;
mod similar;

use std::collections::BTreeSet;

use ipvs::{Change, Error};

use crate::terminal::exit::print_error;
use crate::terminal::text;

pub(crate) use document::in_words;
pub(crate) use line::{for_host, for_line, for_words};
pub(crate) use refusal::{NOT_LOADED, for_read, for_refusal, for_verb};

/// Returns the error of a verb with a hint on the next line.
pub(crate) fn with_hint(error: &impl std::fmt::Display, hint: Option<String>) -> anyhow::Error {
    hint.map_or_else(|| anyhow::anyhow!("{error}"), |hint| anyhow::anyhow!("{error}\n{hint}"))
}

/// Returns the message about a refused change: its line, and the reason.
pub(crate) fn refused_change(change: &Change, error: &Error) -> String {
    if error.kind().is_explained() {
        format!("error: refused: {change}: {}", error.kind())
    } else {
        format!("error: refused: {change}: {error}")
    }
}

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
