//! `ipvsadm-rs complete`: prints the words that can follow a command line, for the scripts in `dist/completions`.

use std::ffi::OsString;

use clap::Args;

use crate::complete::{Paths, complete};
use crate::context::{Context, code};

/// Print the words that can follow a command line, for the completions of shells
///
/// The first line is the kind of the word: `words`, `files` or `directories`. The shell completes files and directories.
/// Each further line has a word and, after a tab, its description.
#[derive(Args, Debug)]
pub(super) struct Complete {
    /// Program to be called: ipvsadm, ipvsadm-save, ipvsadm-restore or ipvsadm-rs
    program: String,
    /// The words after the program, up to the cursor; the last one is completed
    #[arg(last = true)]
    words: Vec<OsString>,
}

impl Complete {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let answer = complete(&self.program, self.words, super::command());
        let kind = match answer.paths {
            None => "words",
            Some(Paths::Files) => "files",
            Some(Paths::Directories) => "directories",
        };
        // An error cannot be reported: it would appear within the command line.
        let _ = context.write(|out| {
            writeln!(out, "{kind}")?;
            answer.candidates.iter().try_for_each(|candidate| writeln!(out, "{}\t{}", candidate.word, candidate.help))
        });
        Ok(code::DONE)
    }
}
